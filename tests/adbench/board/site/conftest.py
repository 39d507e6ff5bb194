"""Whole records made up on disk, the site over them, and its pages as a browser would find them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from adbench.board import leaderboard, published
from adbench.board.site.build import write
from adbench.config import words as config
from adbench.metrics import Histogram, image_metrics, pixel_metrics
from adbench.records.record import SCHEMA
from tests.adbench.board.conftest import believing

TAGS_WITHOUT_END = {"meta", "link", "img", "br", "input"}


def _make_record(
    runs: Path, key: str, method: str = "patchcore", dataset: str = "brainmri", shots: int = 4, draw: int = 0,
    data: str = "phantom", overlap: int = 0, pictures: int = 2, masks: bool = True, image: str = "test/{}.png",
    hashed: str = "d", images: int = 12, last: dict[str, float] | None = None, **resolved: Any,
) -> Path:  # fmt: skip
    """A whole record of some test images, every second one abnormal, its figures computed from its scores."""
    rng = np.random.default_rng(list(key.encode()))
    labels = np.arange(images) % 2
    scores = rng.normal(labels * 1.5, 1).astype(np.float32)
    table = pd.DataFrame({"image": [image.format(i) for i in range(images)], "label": labels, "score": scores})
    table = table.assign(map_max=scores, map_mean=scores, patient=None)
    half, metrics = {}, image_metrics(scores, labels)
    folder = runs / key
    folder.mkdir(parents=True)
    histogram = None
    if masks:
        hist = Histogram()
        truth = np.zeros((images, 8, 8), bool)
        truth[labels == 1, 2:5, 2:5] = True
        hist.update(rng.normal(truth * 1.0, 1).astype(np.float32), truth)
        for name, one in pixel_metrics(hist).items():
            metrics[name], half[name] = one.value, one.half_width
        columns = hist.to_arrays()
        histogram = {name: int(columns[name]) for name in ("shift", "n_regions")}
        pd.DataFrame({n: c for n, c in columns.items() if c.ndim}).to_parquet(folder / "histogram.parquet", index=False)
    table.to_parquet(folder / "predictions.parquet", index=False)
    (folder / "method.safetensors").touch()
    if pictures:
        (folder / "gallery").mkdir()
        for kind in ("miss", "false_alarm", "hit"):
            for number in range(1, pictures + 1):
                picture = Image.new("RGB", (240 * (2 + masks), 280), (number * 40, 30, 30))
                picture.save(folder / "gallery" / f"{kind}_{number:02d}.png")
        picture.save(folder / "gallery" / "overview.png")
    asked = config.defaults() | {"method": method, "dataset": dataset, "shots": shots, "draw": draw, "overrides": {}}
    asked |= resolved
    facts = {"method": method, "dataset": dataset, "data": hashed * 64, "dataset_facets": {}, "weights": "w" * 64}
    facts |= {"params": {"epochs": 3}, "support": key, "seed": asked["seed"], "train_on": None}
    about = {"title": "A set", "modality": "MRI", "organ": "brain", "masks": masks, "fingerprint": hashed * 64}
    content = {
        "schema": SCHEMA, "key": key, "status": "complete", "data": data, "overlap": overlap, "resolved": asked,
        "given": [f"method={method}"], "facts": facts, "protocol": "few_shot", "histogram": histogram,
        "support": {"source": f"draw:{draw}", "shots": shots, "normal": ["valid/a.png"], "abnormal": [], "hash": key},
        "dataset": about | {"licence": "free", "source": "drawn"}, "notes": [], "metrics": metrics,
        "half_widths": half, "capability": {"maps": True}, "backbone": {"name": asked["backbone"]},
        "parameters": {"trainable": 1, "total": 2}, "seconds": {"fit": 1.0}, "peak_memory": {"host_bytes": 1e9},
        "images_per_second": 5.0, "gflops_per_image": 1.0, "test_images": images, "device": {"type": "cpu"},
        "selection": {"rule": asked["selection"], "last": last},
        "code": {"version": "0", "commit": None, "dirty": None}, "packages": {"torch": "2"}, "finished": "2026",
    }  # fmt: skip
    (folder / "record.json").write_text(json.dumps(content))
    return folder


def _build_site(runs: Path, folder: Path, papers: bool = False) -> Path:
    """Write the site of all records in a folder."""
    with believing():
        records = leaderboard.collect([runs]).records
    long = leaderboard.table(records)
    return write(records, published.added(long) if papers else long, folder, leaderboard.FIGURES)


class Page(HTMLParser):
    """What a browser would find in a page: elements with their attributes, ids, text; unbalanced tags are an error."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self.open, self.elements, self.text = path, [], [], ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert not self.open, f"{path.name}: never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in TAGS_WITHOUT_END:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{self.path.name}: </{tag}>"

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, **wanted: str) -> list[dict[str, str]]:
        return [a for t, a in self.elements if t == tag and all(a.get(k) == v for k, v in wanted.items())]


def _sections_of(page: Page) -> list[str]:
    return re.split(r"\n(?=Phantom data|Real data|Published figures)", page.text)


@pytest.fixture(scope="session")
def make_record() -> Callable[..., Any]:
    return _make_record


@pytest.fixture(scope="session")
def build_site() -> Callable[..., Any]:
    return _build_site


@pytest.fixture(scope="session")
def read_page() -> Callable[..., Any]:
    return Page


@pytest.fixture(scope="session")
def sections_of() -> Callable[..., Any]:
    return _sections_of


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantom and real records, several draws and shots, a leak, a zero-shot method, no masks in one set."""
    runs = tmp_path_factory.mktemp("records")
    for number, (shots_, draw) in enumerate([(2, 0), (2, 1), (4, 0), (4, 1)]):
        _make_record(runs, f"a{number}", shots=shots_, draw=draw)
    _make_record(runs, "b0", method="clip", shots=0)
    _make_record(runs, "b1", method="clip", shots=0, dataset="oct17", masks=False)
    _make_record(runs, "c0", dataset="oct17", masks=False)
    _make_record(runs, "d0", method="mvfa", selection="oracle", last={"image_auroc": 0.25, "pixel_auroc": 0.5})
    real = {"method": "madclip", "shots": 16, "data": "real", "backbone": "ViT-L-14-336"}
    _make_record(runs, "e0", pictures=0, **real)
    _make_record(runs, "e1", overlap=2, **real)
    return runs


@pytest.fixture(scope="session")
def site(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build_site(runs, tmp_path_factory.mktemp("out") / "site", papers=True).parent


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[str, Page]:
    return {str(path.relative_to(site)): Page(path) for path in sorted(site.rglob("*.html"))}
