"""A good record, made once, and a copy of it for each test to change."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

import adbench as ad
from adbench.commands.phantom import draw_phantoms
from adbench.records.check import key_of
from adbench.records.hashes import hashes_of
from adbench.records.record import to_json
from adbench.verify.examine import examine
from adbench.verify.keys import ONE_BY_ONE, TOGETHER

OF_KEYS = {  # the tables that came with a key
    "image_histograms": ("image_histograms.parquet",), "held_out": ("held_out.parquet", "held_out_pixels.parquet"),
    "lesions": ("lesions.parquet", "false_positives.parquet"),
}  # fmt: skip


@dataclass(frozen=True)
class Tampered:
    """A copy of a good record, which lies under its key in a folder of its own."""

    path: Path

    @property
    def content(self) -> dict[str, Any]:
        """What its record.json holds."""
        return dict(json.loads((self.path / "record.json").read_text()))

    def write(self, content: dict[str, Any]) -> None:
        """Write record.json."""
        (self.path / "record.json").write_text(to_json(content))

    def edit(self, place: str, value: Any) -> None:
        """Change one value of record.json, as in `metrics.image_auroc`; a callable gets the old one."""
        content = self.content
        *parents, leaf = place.split(".")
        holder = content
        for parent in parents:
            holder = holder[parent]
        holder[leaf] = value(holder[leaf]) if callable(value) else value
        self.write(content)

    def table(self, name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
        """Change one of the tables."""
        change(pd.read_parquet(self.path / name)).to_parquet(self.path / name, index=False)

    def rehash(self) -> None:
        """Write the hashes of the files as they are now, as a careful forger does."""
        content = self.content
        self.write(content | {"files": hashes_of(self.path, content)})


def as_of(record: Tampered, *known: str) -> Tampered:
    """Make of it what an older adbench wrote, which knew `threads=` and of the keys that came later these alone."""
    content = record.content
    content["facts"] |= {"threads": 1, "decoding": 2}
    content["resolved"] |= {"threads": 1}
    for key in ("cores", "deterministic", "compile", "features_gb"):
        del content["resolved"][key]
    for key in {*ONE_BY_ONE, *TOGETHER} - {*known}:
        del content[key]
        for name in OF_KEYS.get(key, ()):
            (record.path / name).unlink()
    content["key"] = key_of(content["facts"])
    file = record.path / "method.safetensors"
    save_file(load_file(file), file, {"method": "patchcore", "cell": content["key"]})
    record.write(content)
    older = Tampered(record.path.rename(record.path.with_name(content["key"])))
    if "files" in content:
        older.rehash()
    return older


def findings(record: Tampered) -> list[str]:
    """Write the hashes of a changed record again, and return what `adbench verify` finds all the same."""
    record.rehash()
    report = examine(record.path)
    assert report is not None
    return [one.sentence for one in report.findings]


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a few phantoms: what is scored again fits into one batch, and held-out images give thresholds."""
    root = tmp_path_factory.mktemp("phantoms")
    draw_phantoms(root, "brainmri", {"train": 2, "valid": 60, "test": 24})
    return root


@pytest.fixture(scope="session")
def good(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The record of a cell on them, with one picture of a kind."""
    runs = tmp_path_factory.mktemp("good")
    record = ad.run(method="patchcore", shots=2, gallery=1, eval_size=96, data_root=phantoms, runs=runs)
    assert isinstance(record, ad.Record)
    return record.path


@pytest.fixture
def tampered(good: Path, tmp_path: Path) -> Tampered:
    return Tampered(shutil.copytree(good, tmp_path / "runs" / good.name))
