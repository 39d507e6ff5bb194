"""`adbench new-method`: the package that it writes, and the tutorial that begins with it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from adbench.commands import new_method as scaffold
from adbench.errors import AdbenchError
from tests.adbench.plugins.packages import OWN

PAGE = Path(__file__).parents[3] / "docs" / "your-own-method.md"


@pytest.mark.parametrize("name", ["9lives", "Nearest", "two__bars", "class", "a-b", "../up", "", "clip"])
def test_a_name_that_cannot_be_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(AdbenchError, match="adbench-medical registers" if name == "clip" else "cannot be the name"):
        scaffold.new_method(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("spelling", ["spade", "Sp ADe", "", "Batch", "F", "None", "Sp-ADe", "../Up"])
def test_a_class_that_cannot_be_is_refused(tmp_path: Path, spelling: str) -> None:
    with pytest.raises(AdbenchError, match=f"--class {re.escape(spelling)} cannot be the class of a method"):
        scaffold.new_method("spade", tmp_path, spelling)
    assert list(tmp_path.iterdir()) == []


def test_a_class_may_have_a_papers_spelling(adbench, tmp_path: Path) -> None:
    answer = adbench("new-method", "spade", "--into", tmp_path, "--class", "SpADe")
    assert answer.code == 0, answer.err
    assert "class SpADe(Method[Params]):" in (tmp_path / "spade" / "adbench_spade" / "method.py").read_text()
    assert 'spade = "adbench_spade:SpADe"' in (tmp_path / "spade" / "pyproject.toml").read_text()
    for path in tmp_path.rglob("*.py"):
        compile(path.read_text(), path, "exec")
        assert "Spade" not in path.read_text()


def test_what_is_about_the_example_is_marked_as_such(tmp_path: Path) -> None:
    """Whoever changes `score` finds no other text that has become wrong."""
    for path in scaffold.new_method("nearest_patch2", tmp_path).rglob("*"):
        if path.suffix in (".md", ".yaml", ".toml") or path.name == "__init__.py":
            assert not re.search("distance|neighbour|nearest (?!_)|bank", path.read_text()), path
    test = (tmp_path / "nearest_patch2" / "tests" / "test_nearest_patch2.py").read_text()
    assert "Replace this test together with `score`" in test.partition("support patch")[0]


def test_a_folder_that_exists_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "nearest").mkdir()
    with pytest.raises(AdbenchError, match="exists already"):
        scaffold.new_method("nearest", tmp_path)
    assert list(tmp_path.rglob("*")) == [tmp_path / "nearest"]


def test_a_skeleton_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(AdbenchError, match="No space left"):
        scaffold.new_method("nearest", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_skeleton_is_linted_code_without_leftovers(tmp_path: Path) -> None:
    folder = scaffold.new_method("nearest_patch2", tmp_path)
    for path in folder.rglob("*"):
        text = str(path.relative_to(tmp_path)) + (path.read_text() if path.is_file() else "")
        assert "my_method" not in text.replace("your-own", "")
        assert "MyMethod" not in text
    code = (folder / "adbench_nearest_patch2" / "method.py").read_text()
    assert "class NearestPatch2(Method[Params]):" in code
    assert 50 <= len(code.splitlines()) <= 75
    settings = Path(__file__).parents[3] / "pyproject.toml"
    for words in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *words, "--config", str(settings), "--no-cache", folder.name]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        wrong = [line for line in done.stdout.splitlines() if re.match(r"[A-Z]+\d+ ", line) and "D103" not in line]
        assert not wrong, done.stdout
        assert words == ["check"] or done.returncode == 0, done.stdout


# One process for all commands: importing torch takes longer than any of them.
DRIVER = """
import shlex, sys
from adbench.commands import cli
for line in sys.stdin:
    sys.argv = shlex.split(line)
    print("###", line, end="", flush=True)
    try:
        cli.main()
    except SystemExit as stop:
        if stop.code:
            raise
import pytest
print("### pytest")
words = ["-q", "-p", "no:cacheprovider", "--rootdir", "nearest", "-c", "nearest/pyproject.toml", "nearest"]
sys.exit(pytest.main(words))
"""


def test_the_tutorial_leads_from_an_empty_folder_to_the_leaderboard(
    adbench, tmp_path: Path, tiny: Path, monkeypatch
) -> None:
    lines = "".join(re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.S)).splitlines()
    done_here = ["adbench new-method nearest", "pip install --no-build-isolation --no-deps --editable ./nearest"]
    assert [line for line in lines if line in done_here] == done_here
    empty, site = tmp_path / "empty", tmp_path / "site"
    empty.mkdir()
    saved = re.findall(r"```python\n(# (\w+\.py)\n.*?)```", PAGE.read_text(), re.S)
    assert [name for _, name in saved] == ["mean.py", "probe.py"]
    for code, name in saved:
        (empty / name).write_text(code)
    monkeypatch.chdir(empty)
    assert adbench("new-method", "nearest").code == 0
    # Into a folder of its own: the environment of the tests stays as it is.
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--disable-pip-version-check"]
    pip += ["--no-build-isolation", "--no-deps", "--target", str(site), "./nearest"]
    done = subprocess.run(pip, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "importable" not in done.stderr, "setuptools misses a folder in `packages`"

    typed = [line + (f" data_root={tiny} gallery=0" if " run " in line else "") for line in lines]
    typed = [line for line in typed if line not in done_here]
    env = os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    command = [sys.executable, "-c", DRIVER]
    done = subprocess.run(command, input="\n".join(typed) + "\n", capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    said = {part.partition("\n")[0]: part for part in done.stdout.split("### ")[1:]}
    assert [*said] == [*typed, "pytest"]
    (line,) = (line for line in said["adbench list methods"].splitlines() if line.startswith("nearest "))
    assert line.split()[1] == "nearest", "the title of the YAML is in the package"
    assert line.endswith("[adbench-nearest]")
    for name in ("nearest", "mean.py:Mean", "probe.py:Probe"):
        assert re.search(r"(\d+) of \1 checks passed", said[f"adbench check-method {name}"]), name
    assert re.search(r"│ Mean +│ .*\n.*│ Mean +│ ", said["adbench leaderboard"])
    assert re.search(r"│ nearest +│.*│ \d", said["adbench leaderboard runs"])
    assert "2 passed" in said["pytest"]
    by_file, by_module = (said[line] for line in typed[-2:])
    assert "reused" not in by_file
    assert "recorded already, reused" in by_module, "the same source is the same cell"
    found = [json.loads(path.read_text()) for path in (empty / "runs").glob("*/record.json")]
    made = {content["facts"]["method"]: content for content in found}
    assert made["nearest"]["facts"]["source"] == "package:adbench-nearest"
    assert made["nearest"]["packages"]["adbench-nearest"] == "0.1.0"
    assert made["Nearest"]["facts"]["source"].startswith("file:")


def test_check_method_prints_a_table_and_fails_with_one(adbench, own: Path) -> None:
    own.write_text(OWN.replace(".norm(dim=1)", ".norm()").replace("* self.params.scale", "* self.params.scale * [1]"))
    answer = adbench("check-method", "own.py:Own")
    assert answer.code == 1
    assert re.search(r"batch alone +failed", answer.out)
    assert re.search(r"memory +not run", answer.out)
    assert re.search(
        r"expected +scores from images.*\n +seen +\w+Error.*own\.py:\d+.*\n +look at +Own\.score", answer.out
    )
    assert adbench("check-method", "own.py:Own", "shots=4").code == 2
    assert "method.X=VALUE" in adbench("check-method", "own.py:Own", "shots=4").err
    assert "did you mean 'clip'" in adbench("check-method", "clipp").err
    answer = adbench("check-method", "clip", "method.temperatur=1")
    assert (answer.code, "did you mean 'temperature'" in answer.err, answer.out) == (2, True, "")
