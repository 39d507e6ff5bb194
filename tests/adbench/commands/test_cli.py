from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest


def test_help_imports_no_torch() -> None:
    code = (
        "import sys; sys.argv = ['adbench', '--help']\n"
        "from adbench.commands import cli\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'pandas', 'numpy', 'matplotlib', 'open_clip', 'omegaconf'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for command in ("run", "score", "list", "leaderboard", "data", "version"):
        assert command in done.stdout


@pytest.mark.parametrize("code", [0, 3])
def test_a_command_ends_at_once_and_only_after_what_it_left_to_the_end(code: int) -> None:
    program = f"""
import atexit, sys, weakref
from adbench.commands import cli
class Kept:
    def __del__(self): print("freed")
kept = Kept()
def main():
    atexit.register(print, "left to the end")
    weakref.finalize(kept, print, "finalised")
    sys.stdout.write("printed ")
    sys.exit({code})
cli.main = main
cli.program()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout.startswith("printed ")
    assert set(done.stdout.removeprefix("printed ").splitlines()) == {"left to the end", "finalised"}


def test_a_command_that_breaks_off_ends_with_its_traceback() -> None:
    program = "from adbench.commands import cli\ndef main(): raise KeyError('own')\ncli.main = main\ncli.program()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.endswith("KeyError: 'own'\n")


def test_keys_are_those_of_the_file(adbench) -> None:
    answer = adbench("run", "--keys")
    assert answer.out == (Path(__file__).parents[3] / "configs" / "run.yaml").read_text()


@pytest.mark.parametrize("what", ["methods", "datasets", "backbones"])
def test_lists(adbench, what: str) -> None:
    out = adbench("list", what).out
    name = {"methods": "madclip", "datasets": "brainmri", "backbones": "phantom-clip"}[what]
    (line,) = (line for line in out.splitlines() if line.strip("│ ").split()[0] == name)
    assert len(line) > len(name) + 20, "a title stands beside the name"


def test_listing_something_else_is_one_sentence(adbench) -> None:
    answer = adbench("list", "method")
    assert answer.code == 2
    assert "did you mean 'methods'" in answer.err


def test_version_names_the_packages(adbench) -> None:
    out = adbench("version").out
    assert out.startswith("adbench ")
    for name in ("torch", "open_clip_torch", "pytorch-lightning"):
        assert name in out


def test_the_other_adbench_is_pointed_at(adbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "adbench-0.1.11.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: adbench\nVersion: 0.1.11\n")
    assert "tabular" not in adbench("version").err
    monkeypatch.syspath_prepend(str(tmp_path))
    err = adbench("version").err
    assert "'adbench' 0.1.11 (tabular anomaly detection)" in err
    assert "pip uninstall adbench" in err


def test_phantoms_are_drawn_where_asked_and_read_back(adbench, tmp_path: Path) -> None:
    answer = adbench("data", "phantom", "--root", tmp_path / "phantoms", "--dataset", "liverct", "--test", "20")
    assert answer.code == 0, answer.err
    assert (tmp_path / "phantoms" / "Liver" / "test" / "Ungood" / "anomaly_mask").is_dir()
    assert len(list((tmp_path / "phantoms" / "Liver" / "test" / "good" / "img").iterdir())) == 10
    words = ["method=clip", "dataset=liverct", f"data_root={tmp_path / 'phantoms'}", f"runs={tmp_path / 'runs'}"]
    answer = adbench("run", *words)
    assert answer.code == 0, answer.err
    assert "data: phantom" in answer.out, "drawn images are never taken for real ones"


def test_phantoms_of_a_group_are_drawn(adbench, tmp_path: Path) -> None:
    few = ("--train", "0", "--valid", "2", "--test", "2")
    answer = adbench("data", "phantom", "--root", tmp_path, "--dataset", "bmad_masked,his", *few)
    assert answer.code == 0, answer.err
    assert {path.name for path in tmp_path.iterdir()} == {"Brain", "Liver", "Retina_RESC", "Histopathology"}


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ("new-method nearest --into FILE", "place with --into DIR"),
        ("data phantom --root FILE/there --dataset his", "folder with --root DIR"),
        ("data check brainmri --out FILE/x.json", "file with --out FILE"),
        ("support show dataset=brainmri shots=1 --out FILE/x.png", "file with --out FILE"),
    ],
)
def test_what_cannot_be_written_names_the_option_that_was_typed(
    adbench, tmp_path: Path, words: str, option: str
) -> None:
    (tmp_path / "FILE").write_text("no folder")
    answer = adbench(*words.replace("FILE", str(tmp_path / "FILE")).split())
    assert answer.code == 2
    assert re.search(rf"cannot write \S+: .+\. [A-Z][a-z ]+ or choose another {option}\.$", answer.err.strip())


def test_errors_of_the_phantom_command(adbench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot write" in adbench("data", "phantom", "--root", tmp_path / "file", "--dataset", "his").err
    assert "did you mean 'brainmri'" in adbench("data", "phantom", "--root", tmp_path, "--dataset", "brain").err
