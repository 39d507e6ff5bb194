"""Records of just what a leaderboard reads, and readers of its tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from adbench.board.leaderboard import collect, table
from adbench.config.words import defaults
from adbench.records.record import SCHEMA


def _write_record(runs: Path, key: str, auroc: float, **changes: object) -> None:
    """A record of just what a leaderboard reads."""
    resolved = {
        "method": "madclip",
        "backbone": "ViT-L-14-336",
        "schedule": "paper",
        "selection": "last",
        "overrides": {},
    }
    resolved |= {name: changes.pop(name) for name in list(changes) if name in resolved}
    resolved |= {"dataset": changes.get("dataset", "brainmri"), "shots": changes.get("shots", 16)}
    resolved = defaults() | resolved
    last = changes.pop("last", None)
    support = {"shots": changes.pop("shots", 16), "source": changes.pop("source", "draw:0")}
    support |= {"normal": [], "abnormal": []}
    facts = {
        "method": resolved["method"],
        "dataset": changes.pop("dataset", "brainmri"),
        "data": changes.pop("dataset_content", "d"),
        "dataset_facets": {},
        "weights": changes.pop("weights", "w"),
    }
    facts |= {"params": changes.pop("params", {}), "support": changes.pop("manifest", key)}
    facts |= {"seed": changes.pop("seed", 0)}
    facts |= {"train_on": changes.pop("train_on", None)}
    about = {"title": "A set", "modality": "MRI", "organ": "brain", "source": "x", "licence": "x", "masks": True}
    about["fingerprint"] = facts["data"]
    content = {
        "schema": SCHEMA, "key": key, "status": "complete", "data": "real", "overlap": 0, "resolved": resolved,
        "facts": facts, "protocol": "few_shot", "support": support | {"hash": facts["support"]},
        "histogram": None, "selection": {"rule": resolved["selection"], "last": last}, "given": [], "notes": [],
        "dataset": about | {"category": changes.pop("category", None)}, "backbone": {"name": resolved["backbone"]},
        "capability": {"maps": True}, "half_widths": {}, "test_images": 2, "device": {}, "packages": {},
        "code": {"version": "0", "commit": None, "dirty": None}, "finished": "2026",
        "metrics": {"image_auroc": auroc, "pixel_auroc": changes.pop("pixel", None)},
        "seconds": {"fit": 10.0}, "images_per_second": 5.0, "peak_memory": {"host_bytes": 2e9}, "gflops_per_image": 1.0,
        "parameters": {"trainable": 100},
    }  # fmt: skip
    folder = runs / key
    folder.mkdir(parents=True)
    more = {k: content.get(k, {}) | value if isinstance(value, dict) else value for k, value in changes.items()}
    (folder / "record.json").write_text(json.dumps(content | more))
    for name in ("predictions.parquet", "method.safetensors"):
        (folder / name).touch()


def _board(*runs: Path, **options: bool) -> pd.DataFrame:
    return table(collect(runs).records, **options)


def _image_auroc(long: pd.DataFrame) -> pd.DataFrame:
    """The lines of image AUROC."""
    return long[long["metric"] == "image_auroc"]


def _markdown_rows(text: str, metric: str = "image AUROC") -> dict[str, list[str]]:
    """The lines of one metric's table in Markdown by their first cell, in their order."""
    table = text.partition(f"#### {metric}, ")[2].partition("\n####")[0]
    lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return {name: rest for name, *rest in lines}


@pytest.fixture(scope="session")
def write_record() -> Callable[..., Any]:
    return _write_record


@pytest.fixture(scope="session")
def board() -> Callable[..., Any]:
    return _board


@pytest.fixture(scope="session")
def image_auroc() -> Callable[..., Any]:
    return _image_auroc


@pytest.fixture(scope="session")
def markdown_rows() -> Callable[..., Any]:
    return _markdown_rows
