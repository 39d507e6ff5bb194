"""Packages and methods of strangers, written to disk for tests."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

OWN = """
from __future__ import annotations
from dataclasses import dataclass
from adbench import Batch, Capability, Method, Scores


@dataclass
class Params:
    scale: float = 1.0


class Own(Method):
    Params = Params

    @classmethod
    def capability(cls, params, architecture):
        return Capability("none", pooled=True, maps=False)

    def prepare(self, support):
        pass

    def score(self, batch):
        return Scores(batch.features.pooled.norm(dim=1) * self.params.scale)
"""
DATASET = "title: Scans\nobject_name: scan\n"


def install(folder: Path, package: str, points: dict[str, list[str]], files: dict[str, str] | None = None) -> None:
    """Write what pip leaves of a package: modules, data and metadata."""
    for name, text in (files or {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    groups = [f"[adbench.{group}]\n" + "\n".join(lines) for group, lines in points.items()]
    (info / "entry_points.txt").write_text("\n".join(groups) + "\n")


def pip_install(printed: str, folder: Path, site: Path) -> None:
    """Install into `site` what a page prints: blocks that begin with a comment, the path of the file."""
    for text, name in files_printed(printed):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (project,) = folder.glob("*/pyproject.toml")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--disable-pip-version-check"]
    pip += ["--no-build-isolation", "--no-deps", "--target", str(site), str(project.parent)]
    done = subprocess.run(pip, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def files_printed(text: str) -> list[tuple[str, str]]:
    """Return content and path of each file that a page prints."""
    return re.findall(r"```\w+\n(# (\w+/\S+)\n.*?)```", text, re.S)


def defined_in_a_notebook(monkeypatch: pytest.MonkeyPatch, code: str) -> Any:
    """Execute code as a notebook's cell does, in a `__main__` that is no file, and return its class `Own`."""
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec(compile(code, "<cell 1>", "exec", dont_inherit=True), vars(main))
    return vars(main)["Own"]


def only(runs: Path) -> tuple[Path, dict]:
    (path,) = (path for path in runs.iterdir() if (path / "record.json").is_file())
    return path, json.loads((path / "record.json").read_text())
