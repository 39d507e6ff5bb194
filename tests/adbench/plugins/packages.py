"""Packages and methods of strangers, written to disk for tests."""

from __future__ import annotations

import json
from pathlib import Path

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


def only(runs: Path) -> tuple[Path, dict]:
    (path,) = (path for path in runs.iterdir() if (path / "record.json").is_file())
    return path, json.loads((path / "record.json").read_text())
