"""What methods said when they were asked, remembered: the same cells and keys, asked anew where anything changed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import adbench
from adbench.backbone.config import Architecture
from adbench.cells import answers
from adbench.cells.methods import Asked, ResolvedMethod, resolve_method
from adbench.config import layers
from adbench.config.schema import Overrides
from adbench.config.words import parse
from adbench.plugins import sources
from adbench.sweeps.sweep import tasks_of
from adbench.system.session import Session
from tests.adbench.plugins.packages import OWN

SHAPE = Architecture(12, 128, 14, 64, 4, 64, 32)
IMPORTS = """
import sys
from adbench.commands import cli
try:
    cli.main()
finally:
    heavy = ("torch", "pytorch_lightning", "torchvision", "torchmetrics", "open_clip", "timm", "transformers")
    print("imported:", *(name for name in heavy if name in sys.modules))
"""
ASKS = """
import sys
from adbench.config.words import parse
from adbench.sweeps.sweep import tasks_of
tasks_of(parse(sys.argv[1:]))
"""


@pytest.fixture(autouse=True)
def _settled(no_stale_modules: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file of these tests counts as changed after this process began."""
    monkeypatch.setattr(adbench, "IMPORTED", time.time_ns() + 10**12)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, on Python's path: a method in a file, its YAML, and a module that it imports."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "beyond.py").write_text("MAPS = False\n")
    (tmp_path / "own.py").write_text(OWN + "import beyond\n")
    (tmp_path / "adbench_configs" / "method").mkdir(parents=True)
    (tmp_path / "adbench_configs" / "method" / "own.yaml").write_text("title: Own\nparams: {scale: 2.0}\n")
    yield tmp_path
    sys.modules.pop("beyond", None)


def asked(name: str, schedule: str = "short", shape: Architecture = SHAPE, **words: object) -> Asked:
    return Asked(name, schedule, Overrides(words), "phantom-clip", shape)


def keep(one: Asked, cache: Path) -> ResolvedMethod:
    method = resolve_method(*one)
    answers.keep([method], cache, Session())
    return method


def known(one: Asked, cache: Path) -> bool:
    """Whether a new session, as of another command, has the answer."""
    return answers.answer(one, cache, Session(offline=True)) is not None


def test_all_registered_methods_have_the_same_cells_asked_and_remembered(tiny: Path, tmp_path: Path) -> None:
    words = ["method=" + ",".join(layers.standalone()), f"data_root={tiny}", "shots=2", "seed=0,1", "gallery=0"]
    configs = parse([*words, "backbone=phantom-clip", f"cache={tmp_path / 'cache'}", f"runs={tmp_path / 'runs'}"])
    new = tasks_of(configs)
    remembered = tasks_of(configs, offline=True)
    assert len(new) == len(remembered) == 2 * len(layers.standalone())
    for one, other in zip(new, remembered, strict=True):
        assert one.cell, f"{one.config.method}: {one.error}"
        assert other.cell
        assert one.cell.method.said is None, "a run asks the method itself"
        assert other.cell.method.said is not None, f"{one.config.method} was not remembered"
        for name in (
            "key",
            "facts",
            "config",
            "capability",
            "notes",
            "source_hash",
            "manifest",
            "protocol",
            "backbone",
        ):
            assert getattr(one.cell, name) == getattr(other.cell, name), (one.config.method, name)
        assert repr(one.cell.capability) == repr(other.cell.capability), "tuples stay tuples"
        assert one.cell.method.level_maps == other.cell.method.level_maps
        assert (one.cell.method_class, one.cell.params) == (other.cell.method_class, other.cell.params)


def test_a_plan_of_remembered_methods_imports_no_torch(tiny: Path, tmp_path: Path) -> None:
    words = ["method=madclip,mvfa,patchcore", f"data_root={tiny}", "shots=1,2", "seed=0,1", "gallery=0"]
    words += [f"cache={tmp_path / 'cache'}", f"runs={tmp_path / 'runs'}"]

    def python(code: str, *arguments: str) -> str:
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout

    *first, imports = python(IMPORTS, "plan", *words).splitlines()
    assert "torch" in imports.split(), "nothing is remembered yet, and a plan remembers nothing"
    python(ASKS, *words)
    *second, imports = python(IMPORTS, "plan", *words).splitlines()
    assert imports == "imported:"
    assert first == second
    assert "12 cells: 0 recorded already, 12 to run" in second


def test_an_answer_is_asked_anew_where_a_source_changes(folder: Path, tmp_path: Path) -> None:
    cache, one = tmp_path / "cache", asked("own.py:Own")
    assert not known(one, cache)
    keep(one, cache)
    assert known(one, cache)
    for file, text in (
        ("own.py", OWN + "import beyond  # other words\n"),
        ("beyond.py", "MAPS = True\n"),
        ("adbench_configs/method/own.yaml", "title: Own\nparams: {scale: 3.0}\n"),
    ):
        before, stat = (folder / file).read_text(), (folder / file).stat()
        (folder / file).write_text(text)
        os.utime(folder / file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert not known(one, cache), file
        (folder / file).write_text(before)
        assert known(one, cache), f"{file}: its content counts, not its time"
    (folder / "beyond.py").unlink()
    assert not known(one, cache)


def test_an_answer_belongs_to_what_was_asked(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    keep(asked("own.py:Own", scale=1), cache)
    assert known(asked("own.py:Own", scale=1), cache)
    for other in (
        asked("own.py:Own"), asked("own.py:Own", scale=1.5), asked("own.py:Own", scale=True),
        asked("own.py:Own", "paper", scale=1), asked("own.py:Own", shape=Architecture(24, 128, 14, 64), scale=1),
        asked("clip", scale=1),
    ):  # fmt: skip
        assert not known(other, cache), other


def test_an_answer_depends_on_the_source_of_adbench_and_on_what_is_installed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, one, harness = tmp_path / "cache", asked("clip"), tmp_path / "harness"
    (harness / "deep").mkdir(parents=True)
    (harness / "deep" / "source.py").write_text("A = 1\n")
    real = sources._own()
    monkeypatch.setattr(sources, "_own", lambda: (*real, str(harness)))
    keep(one, cache)
    assert known(one, cache)
    (harness / "deep" / "source.py").write_text("A = 2\n")
    assert not known(one, cache)
    (harness / "deep" / "source.py").write_text("A = 1\n")
    assert known(one, cache)
    (folder / "library-2.0.dist-info").mkdir()
    assert not known(one, cache), "another package was installed"


def test_what_may_have_changed_since_it_was_imported_is_not_remembered(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, one = tmp_path / "cache", asked("own.py:Own")
    monkeypatch.setattr(adbench, "IMPORTED", (folder / "own.py").stat().st_ctime_ns)
    keep(one, cache)
    assert not (cache / answers.FILE).exists()


def test_a_method_that_reads_a_file_is_not_remembered(tmp_path: Path) -> None:
    cache, name = tmp_path / "cache", f"{Path(__file__).with_name('reads_a_file.py')}:ReadsAFile"
    (tmp_path / "table").write_text("1")
    for one, kept in ((asked(name, table=str(tmp_path / "table")), False), (asked(name), True)):
        keep(one, cache)
        assert known(one, cache) == kept


def test_a_damaged_memory_is_made_again(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache, one = tmp_path / "cache", asked("clip")
    keep(one, cache)
    file = cache / answers.FILE
    file.write_bytes(file.read_bytes().replace(b"short", b"shirt").replace(b"none", b"both"))
    assert not known(one, cache)
    assert f"{file} is damaged" in capsys.readouterr().err
    keep(one, cache)
    assert known(one, cache)


def test_a_memory_that_cannot_be_written_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no folder")
    keep(asked("clip"), tmp_path / "cache")
    assert (tmp_path / "cache").read_text() == "no folder"
