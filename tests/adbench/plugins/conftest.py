"""Fixtures: installed packages of strangers, and a method in a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adbench.config import groups
from adbench.plugins import registry
from tests.adbench.plugins.packages import OWN, install


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on Python's path, and a registry that looks again."""
    folder = tmp_path / "site"
    folder.mkdir()
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(folder))
    registry.entries.cache_clear()
    registry._shipped.cache_clear()
    groups.group.cache_clear()
    yield folder
    registry.entries.cache_clear()
    registry._shipped.cache_clear()
    groups.group.cache_clear()
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A method in a file of the current folder."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "own.py"
    file.write_text(OWN)
    return file


@pytest.fixture
def wreck(site: Path) -> Path:
    """A package whose every part is broken in its own way."""
    files = {
        "wreck/__init__.py": "raise SystemExit('no licence')\n",
        "wreck_configs/__init__.py": "",
        "wreck_configs/run.yaml": "method: [\n",
        "wreck_configs/method/wreck.yaml": "- no mapping\n",
        "wreck_configs/method/clip.yaml": "title: [\n",
        "wreck_configs/dataset/wreck.yaml": "title: [\n",
        "wreck_configs/dataset/brainmri.yaml": "title: [\n",
        "wreck_configs/backbone/wreck.yaml": "title: [\n",
        "wreck_configs/backbone/phantom-clip.yaml": "title: [\n",
        "wreck_configs/group/wreck.yaml": "dataset: 3\n",
        "wreck_configs/executor/wreck.yaml": "title: [\n",
        "wreck_configs/executor/local.yaml": "title: [\n",
    }
    points = {
        "methods": ["wreck = wreck:Method", "twice = wreck:A", "strange = not an entry point"],
        "datasets": ["wreck = wreck.data:Set", "twice = wreck:A"],
        "executors": ["wreck = wreck:Executor", "twice = wreck:A"],
        "configs": ["wreck = wreck_configs", "gone = wreck_no_such_module", "strange = :"],
    }
    install(site, "wreckage", points, files)
    install(site, "second", {group: ["twice = second:B"] for group in ("methods", "datasets", "executors")})
    (site / "nameless-1.0.dist-info").mkdir()
    (site / "nameless-1.0.dist-info" / "entry_points.txt").write_text("[adbench.methods]\nnameless = wreck:Method\n")
    return site
