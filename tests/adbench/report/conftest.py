"""Two seeds of one method on small images, with several of each patient, and a page as a browser finds it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from adbench import api
from adbench.metrics import image_metrics
from adbench.records.check import key_of
from adbench.records.record import Record, read
from tests.adbench.board.conftest import believing

Table = Callable[[pd.DataFrame], pd.DataFrame]


def _copied(source: Path, runs: Path, changes: dict[str, Any], table: Table | None = None, **facts: Any) -> Record:
    """Copy a record with changed fields and predictions; with other facts it is that of another cell."""
    content = json.loads((source / "record.json").read_text()) | changes
    content["facts"] |= facts
    content["resolved"] |= {name: value for name, value in facts.items() if name in content["resolved"]}
    content["key"] = key_of(content["facts"])
    folder = runs / content["key"]
    shutil.copytree(source, folder)
    if table is not None:
        changed = table(pd.read_parquet(folder / "predictions.parquet"))
        changed.to_parquet(folder / "predictions.parquet", index=False)
        content["metrics"] |= image_metrics(changed["score"], changed["label"])
    (folder / "record.json").write_text(json.dumps(content))
    return read(folder)


def _draw(root: Path) -> None:
    """Images of 32 x 32 noise as in BMAD's README, two of each patient; a bright square is a lesion, large or small."""
    rng = np.random.default_rng(0)
    for split, first in (("valid", 0), ("test", 500)):
        for label, folder in enumerate(("good", "Ungood")):
            base = root / "Brain" / split / folder
            for name in ("img", "anomaly_mask") if label else ("img",):
                (base / name).mkdir(parents=True)
            for i in range(24):
                name = f"{first + 100 * label + i // 2:05d}_{60 + i}.png"
                pixels = rng.integers(0, 140, (32, 32), dtype=np.uint8)
                if label:
                    mask = np.zeros((32, 32), np.uint8)
                    mask[8 : 10 + i // 2, 10:18] = 255
                    pixels[mask > 0] = rng.integers(80, 250)
                    Image.fromarray(mask).save(base / "anomaly_mask" / name)
                Image.fromarray(pixels).save(base / "img" / name)


@pytest.fixture(autouse=True)
def believed() -> Iterator[None]:
    """Take records with changed values as they stand."""
    with believing():
        yield


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """Records of PatchCore on 48 test images, half of them abnormal: a run, and a made-up second seed."""
    root, runs = tmp_path_factory.mktemp("noise"), tmp_path_factory.mktemp("records")
    _draw(root)
    first = api.run(method="patchcore", shots=1, data_root=str(root), runs=str(runs), gallery=2)
    _copied(first.path, runs, {}, lambda table: table.assign(score=table["score"] + table["label"] / 50), seed=1)
    return runs


@pytest.fixture
def record(drawn: Path, tmp_path: Path) -> Callable[..., Record]:
    """Copy a record, to be changed: `record(fields of record.json, function of the predictions, facts)`."""

    def copy(changes: dict[str, Any] | None = None, predictions: Table | None = None, **facts: Any) -> Record:
        source = min(path for path in drawn.iterdir() if (path / "record.json").is_file())
        return _copied(source, tmp_path / "copies", changes or {}, predictions, **facts)

    return copy


class Page(HTMLParser):
    """A page: the text of its sections, and the sources of its pictures, links, scripts and style sheets."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.parts: dict[str, str] = {"": ""}
        self.sources: list[str] = []
        self.ids: list[str] = []
        self.here, self.tag = "", ""
        self.feed(path.read_text(encoding="utf-8"))
        self.parts = {name: " ".join(text.split()) for name, text in self.parts.items()}
        self.text = " ".join(self.parts.values())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tag = tag
        self.sources += [value for name, value in attrs if name in ("src", "href") and value]
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag == "h2":
            self.here = dict(attrs).get("id") or self.here
        self.parts[self.here] = self.parts.get(self.here, "") + " "

    def handle_endtag(self, tag: str) -> None:
        self.tag = ""

    def handle_data(self, data: str) -> None:
        if self.tag != "style":
            self.parts[self.here] += data


@pytest.fixture(scope="session")
def page_of() -> Callable[[Path], Page]:
    return Page
