"""Records of just what a leaderboard reads, and readers of its tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from adbench.board.compare import Comparison, judged, measured
from adbench.board.leaderboard import collect, table
from adbench.config.words import defaults
from adbench.metrics import roc_auc
from adbench.records.record import SCHEMA

PATIENTS, EACH = 30, 3  # of a `study`: so many patients with so many images each


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
    more = {k: (content.get(k) or {}) | value if isinstance(value, dict) else value for k, value in changes.items()}
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


# The same for a process of its own: python -c BELIEVING leaderboard FOLDER
BELIEVING = (
    "from adbench.verify import memory; memory.in_processes = lambda check, records, *_: [None for _ in records]; "
    "from adbench.commands.cli import main; main()"
)


@contextmanager
def believing() -> Iterator[None]:
    """Take figures as they stand: those of these records are made up. tests/adbench/verify says what is checked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adbench.verify.memory.in_processes", lambda check, records, *_: [None for _ in records])
        yield


@pytest.fixture(autouse=True)
def believed() -> Iterator[None]:
    with believing():
        yield


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


@pytest.fixture
def study(write_record):
    """Write records with predictions: `study(runs, method, draws, shift)`; abnormal images score `shift` higher."""
    rng = np.random.default_rng(0)
    owner = np.repeat(np.arange(PATIENTS), EACH)
    labels = (owner % 3 > 0) & (np.arange(len(owner)) % EACH > 0)
    base = rng.normal(size=len(owner)) + rng.normal(size=PATIENTS)[owner]

    def write(runs: Path, method: str, draws=(0, 1, 2), shift: float = 1.0, patients: int = PATIENTS, **changes):
        drawn = {}
        kept = owner < patients
        for draw in draws:
            own = np.random.default_rng([len(method), draw if isinstance(draw, int) else 9])
            signal = shift + 0.1 * own.normal()
            scores = (base + signal * labels + 0.5 * own.normal(size=len(owner))).astype(np.float32)
            source = f"draw:{draw}" if isinstance(draw, int) else draw
            key = f"{method}-{draw}-{changes.get('dataset', 'brainmri')}".replace(":", "-")
            auroc = roc_auc(scores[kept], labels[kept])
            write_record(runs, key, auroc, method=method, source=source, test_images=int(kept.sum()), **dict(changes))
            pd.DataFrame({
                "image": [f"test/{i:03d}" for i in range(len(owner))], "label": labels.astype(np.int8), "score": scores,
                "map_max": scores, "map_mean": scores, "patient": pd.array([f"p{p}" for p in owner], dtype="string"),
                "subgroup": pd.array([None] * len(owner), dtype="string"),
            })[kept].to_parquet(runs / key / "predictions.parquet", index=False)  # fmt: skip
            drawn[draw] = scores[kept]
        return drawn, labels[kept], owner[kept]

    return write


def compare(rows: Any, metric: str, samples: Any, against: str | None = None, margin: float = 1.0) -> list[Comparison]:
    """Compare rows by one metric, as `adbench compare` does."""
    return judged(measured(rows, metric, samples, against), margin)
