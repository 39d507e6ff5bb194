"""What a package's method said when it was asked, remembered for as long as the package stays as it is."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import adbench
from adbench.backbone.config import Architecture
from adbench.cells import answers
from adbench.cells.methods import Asked, resolve_method
from adbench.config.schema import Overrides
from adbench.system.session import Session
from tests.adbench.plugins.packages import OWN, install

SHAPE = Architecture(12, 128, 14, 64, 4, 64, 32)


def test_an_answer_of_a_package_depends_on_all_its_files_and_its_version(
    site: Path, tmp_path: Path, no_stale_modules: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"strange/__init__.py": "", "strange/own.py": OWN, "strange/table.json": "[]"}
    install(site, "strangers", {"methods": ["strange = strange.own:Own"]}, files)
    monkeypatch.setattr(adbench, "IMPORTED", time.time_ns() + 10**12)  # no file counts as changed since then
    cache, one = tmp_path / "cache", Asked("strange", "short", Overrides(), "phantom-clip", SHAPE)
    method = resolve_method(*one)
    answers.keep([method], cache, Session())

    def known() -> bool:
        return answers.answer(one, cache, Session(offline=True)) is not None

    remembered = answers.answer(one, cache, Session(offline=True))
    assert remembered is not None
    assert (remembered.source, remembered.source_hash) == (method.source, method.source_hash)
    assert remembered.source == "package:strangers"
    for file in files:
        (site / file).write_text(files[file] + "\n")
        assert not known(), file
        (site / file).write_text(files[file])
        assert known(), file
    (site / "strangers-1.0.dist-info").rename(site / "strangers-1.1.dist-info")
    assert not known()
