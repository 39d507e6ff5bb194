"""Display names: of what adbench ships, of others' packages, and of what is not installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from adbench.board import names
from adbench.board.names import display_name
from adbench.config.layers import load_yaml
from adbench.errors import AdbenchError
from adbench.plugins import registry


@pytest.mark.parametrize("kind", ["method", "dataset"])
def test_all_that_adbench_ships_has_one(kind: registry.Kind) -> None:
    without = [name for name, file in registry.config_files(kind).items() if "display_name" not in load_yaml(file)]
    assert without == (["folder"] if kind == "dataset" else [])


def test_a_package_brings_its_own_in_its_yaml(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "padim.yaml"
    file.write_text("title: a method\ndisplay_name: PaDiM\n")
    names._known.cache_clear()
    monkeypatch.setattr(registry, "config_file", lambda kind, name: file if name == "padim" else None)
    assert display_name("method", "padim") == "PaDiM"
    assert display_name("method", "other") == "other"
    names._known.cache_clear()


def test_what_is_not_installed_keeps_its_name() -> None:
    with pytest.raises(AdbenchError):
        registry.config_file("method", "not_here")
    assert display_name("method", "not_here") == "not_here"
    assert display_name("dataset", "folder (5 folds)") == "folder (5 folds)"
