"""Edits of a good record: `adbench verify` names each, and none of them is on a leaderboard."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import adbench as ad
from adbench.records.check import key_of
from adbench.verify.examine import examine, first_finding
from adbench.verify.facts import unproven_backbone
from tests.adbench.verify.conftest import Tampered

Edit = Callable[[Tampered], object]
PREDICTIONS, BINS, BY_IMAGE = "predictions.parquet", "histogram.parquet", "image_histograms.parquet"
LESIONS = "lesions.parquet"


def set_to(place: str, value: Any) -> Edit:
    return lambda record: record.edit(place, value)


def rehashed(edit: Edit) -> Edit:
    """An edit after which the hashes are written again: the sentences must come from what contradicts it."""

    def both(record: Tampered) -> None:
        edit(record)
        record.rehash()

    return both


def table(name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Edit:
    return lambda record: record.table(name, change)


def first_row(column: str, value: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[frame.index[0], column] = value(frame[column].iloc[0]) if callable(value) else value
        return frame

    return change


def of_another_cell(record: Tampered) -> None:
    """Facts, key and folder of another seed, with these figures."""
    content = record.content
    content["facts"]["batch_size"] = content["resolved"]["batch_size"] = 16
    content["key"] = key_of(content["facts"])
    record.write(content)
    record.rehash()
    record.path.rename(record.path.with_name(content["key"]))


def swapped(first: str, second: str) -> Edit:
    def swap(record: Tampered) -> None:
        a, b = record.path / first, record.path / second
        aside = a.read_bytes()
        a.write_bytes(b.read_bytes())
        b.write_bytes(aside)

    return swap


def flipped(name: str) -> Edit:
    def flip(record: Tampered) -> None:
        data = bytearray((record.path / name).read_bytes())
        data[len(data) // 2] ^= 1
        (record.path / name).write_bytes(data)

    return flip


def removed(name: str) -> Edit:
    return lambda record: (record.path / name).unlink()


def learned_from_test(record: Tampered) -> None:
    """A support of test images, which was clean before."""
    content = record.content
    tested = pd.read_parquet(record.path / PREDICTIONS)
    content["support"]["normal"] = tested["image"][tested["label"] == 0].tolist()[:2]
    content["seen"][0]["split"] = "test"
    record.write(content)


def unlisted(record: Tampered) -> None:
    shutil.copyfile(record.path / "gallery" / "hit_01.png", record.path / "gallery" / "hit_02.png")


def better_scores(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(score=(frame["score"] + frame["label"]).astype(np.float32))


def on_the_highest(frame: pd.DataFrame) -> pd.Series:
    """The weight of all regions of an image, on its highest abnormal pixel."""
    abnormal = frame[frame["positive"] > 0]
    highest = abnormal.groupby("image").tail(1).index
    total = frame.groupby("image")["region_weight"].transform("sum")
    return total.where(frame.index.isin(highest), 0.0)


def up(value: float) -> float:
    return value + 0.05 if value < 0.9 else value - 0.05


EDITS: dict[str, tuple[Edit, str]] = {
    # figures, alone and with new hashes
    "image AUROC": (set_to("metrics.image_auroc", 0.99), "metrics.image_auroc is 0.99, and the tables give"),
    "image AUROC, hashed": (rehashed(set_to("metrics.image_auroc", up)), "metrics.image_auroc is"),
    "image AP": (rehashed(set_to("metrics.image_ap", up)), "metrics.image_ap is"),
    "image F1": (rehashed(set_to("metrics.image_f1_max", up)), "metrics.image_f1_max is"),
    "image accuracy": (rehashed(set_to("metrics.image_accuracy", 1.0)), "metrics.image_accuracy is 1, and the tables"),
    "pixel AUROC": (rehashed(set_to("metrics.pixel_auroc", up)), "metrics.pixel_auroc is"),
    "pixel AP": (rehashed(set_to("metrics.pixel_ap", up)), "metrics.pixel_ap is"),
    "pixel F1": (rehashed(set_to("metrics.pixel_f1_max", up)), "metrics.pixel_f1_max is"),
    "pixel AUPRO": (rehashed(set_to("metrics.pixel_aupro", up)), "metrics.pixel_aupro is"),
    "a figure less": (rehashed(set_to("metrics.pixel_ap", None)), "metrics.pixel_ap is nothing, and the tables give"),
    "a half-width": (rehashed(set_to("half_widths.pixel_ap", 0.4)), "half_widths.pixel_ap is 0.4"),
    # what no table proves
    "a time": (set_to("seconds.fit", 0.1), "record.json is not as it was written"),
    "a speed": (set_to("images_per_second", 1e6), "record.json is not as it was written"),
    "the date": (set_to("finished", "2019-01-01T00:00:00Z"), "record.json is not as it was written"),
    "a note": (set_to("notes", ["all is well"]), "record.json is not as it was written"),
    # facts
    "facts": (set_to("facts.batch_size", 16), "key is not the hash of its facts"),
    "another cell": (of_another_cell, "method.safetensors is of the cell"),
    "facets": (rehashed(set_to("dataset.mask_threshold", 5)), "differ in mask_threshold"),
    "weights": (rehashed(set_to("backbone.weights_hash", "0" * 64)), "facts.weights is"),
    "stand-in": (rehashed(set_to("backbone.stand_in", False)), "backbone.stand_in is false"),
    "real data": (rehashed(set_to("data", "real")), "its counts say False"),
    "published": (rehashed(set_to("dataset.published", True)), "dataset.published is True"),
    "capability": (rehashed(set_to("capability.stochastic", False)), "capability.stochastic is false, and patchcore"),
    "transductive": (rehashed(set_to("capability.transductive", True)), "capability.transductive is true"),
    # seen, support, overlap, selection
    "test images in the support": (rehashed(learned_from_test), "a leak cannot stand as clean"),
    "seen another split": (rehashed(set_to("seen", lambda seen: [seen[0] | {"split": "train"}])), "seen says 2 images"),
    "seen fewer": (rehashed(set_to("seen", lambda seen: [seen[0] | {"images": 1}])), "seen counts 1 images"),
    "seen nothing": (rehashed(set_to("seen", [])), "seen counts 0 images"),
    "more shots": (rehashed(set_to("support.normal", lambda ids: ids[:1])), "support.normal names 1 images"),
    "another draw": (rehashed(set_to("support.source", "draw:3")), 'support.source is "draw:3"'),
    "overlap": (rehashed(set_to("overlap", 99)), "overlap is 99, and only 2 images were learned from"),
    "an epoch": (rehashed(set_to("selection.epoch", 7)), "selection.epoch is 7"),
    "a curve": (rehashed(set_to("selection.curve", {"1": 0.5})), "selection.curve has 1 epochs"),
    # tables
    "rows cut": (table(PREDICTIONS, lambda frame: frame[:10]), "10 rows, not 24"),
    "rows cut everywhere": (
        rehashed(lambda r: (r.table(PREDICTIONS, lambda frame: frame[frame.index != 3]), r.edit("test_images", 23))),
        "dataset.counts says",
    ),
    "a label": (rehashed(table(PREDICTIONS, first_row("label", lambda label: 1 - label))), "its name says otherwise"),
    "two images exchanged": (
        rehashed(table(PREDICTIONS, lambda f: f.assign(image=[*f["image"][-1:], *f["image"][1:-1], *f["image"][:1]]))),
        "its name says otherwise",
    ),
    "scores": (rehashed(table(PREDICTIONS, better_scores)), "metrics.image_auroc is"),
    "map_max": (rehashed(table(PREDICTIONS, first_row("map_max", 1e6))), "map_max of"),
    "map_mean": (rehashed(table(PREDICTIONS, first_row("map_mean", -1e6))), "map_mean of"),
    "bins": (rehashed(table(BINS, first_row("positive", lambda n: n + 10))), "histogram.parquet counts"),
    "bins of an image": (rehashed(table(BY_IMAGE, first_row("negative", lambda n: n + 1))), "image_histograms.parquet"),
    "regions": (rehashed(set_to("histogram.n_regions", 3)), "histogram.n_regions is 3"),
    "AUPIMO of a normal image": (
        rehashed(table(PREDICTIONS, lambda f: f.assign(aupimo_loose=f["aupimo_loose"].where(f["label"] == 1, 1.0)))),
        "and the image is normal",
    ),
    "AUPIMO": (
        rehashed(table(PREDICTIONS, lambda f: f.assign(aupimo_loose=f["aupimo_loose"].where(f["label"] == 0, 1.0)))),
        "image_histograms.parquet allows",
    ),
    "AUPIMO of too few": (
        rehashed(table(PREDICTIONS, lambda f: f.assign(aupimo=f["aupimo_loose"]))), "there are too few normal pixels",
    ),
    "areas": (rehashed(table(PREDICTIONS, first_row("lesion_area", 7))), "lesion_area of"),
    "region weights": (
        rehashed(table(BY_IMAGE, lambda f: f.assign(region_weight=on_the_highest(f)))), "its lesions make it",
    ),
    "half a lesion": (rehashed(table(BY_IMAGE, lambda f: f.assign(region_weight=f["region_weight"] / 2))), "add up to"),
    "lesions, one less": (
        rehashed(lambda r: (r.table(LESIONS, lambda f: f[1:]), r.edit("lesions.number", lambda number: number - 1))),
        "lesions.parquet has",
    ),
    "a lesion, larger": (rehashed(table(LESIONS, first_row("area", lambda area: area + 1))), "and its lesion_area is"),
    "a lesion, higher": (rehashed(table(LESIONS, first_row("score", 1e6))), "has no abnormal pixel"),
    # files
    "tables exchanged": (swapped(BINS, BY_IMAGE), "histogram.parquet was changed"),
    "a byte of the parameters": (flipped("method.safetensors"), "method.safetensors was changed"),
    "no parameters": (removed("method.safetensors"), "incomplete"),
    "a picture": (flipped("gallery/hit_01.png"), "gallery/hit_01.png was changed"),
    "pictures exchanged": (swapped("gallery/hit_01.png", "gallery/miss_01.png"), "gallery/hit_01.png was changed"),
    "a picture less": (rehashed(removed("gallery/miss_01.png")), "gallery/ lacks miss_01.png"),
    "a picture more": (unlisted, "gallery/hit_02.png is there, and the record doesn't name it"),
    "a hash less": (set_to("files", lambda kept: {n: v for n, v in kept.items() if n != BINS}), "keeps no hash of it"),
}  # fmt: skip


def test_the_good_record_agrees(good: Path) -> None:
    report = examine(good)
    assert report is not None
    assert report.findings == []
    assert report.done == ["record", "files", "facts", "standing", "tables", "figures"]
    assert first_finding(ad.read_all(good)[0]) is None


def test_there_are_enough_edits() -> None:
    assert len(EDITS) >= 40


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_is_named(tampered: Tampered, name: str) -> None:
    edit, said = EDITS[name]
    edit(tampered)
    (folder,) = tampered.path.parent.iterdir()
    report = examine(folder)
    assert report is not None
    assert [one.sentence for one in report.findings if said in one.sentence], report.findings


def test_no_edit_is_on_a_leaderboard(good: Path, tmp_path: Path, adbench: Any, monkeypatch: Any) -> None:
    """With the exception of what a method declares: to ask it would import it, and torch, for each leaderboard."""
    monkeypatch.setattr("adbench.commands.leaderboard.PROCESSES", 1)
    for number, (name, (edit, _)) in enumerate(EDITS.items()):
        if name not in ("capability", "transductive"):
            runs = tmp_path / f"{number:02d}"
            edit(Tampered(shutil.copytree(good, runs / good.name)))
    board = tmp_path / "board.json"
    answer = adbench("leaderboard", good.parent, *sorted(p for p in tmp_path.iterdir() if p.is_dir()), "--json", board)
    assert answer.code == 4
    more = re.search(r"And (\d+) more", answer.err)
    assert more
    named = answer.err.count("doesn't agree with itself") + answer.err.count("Remove")
    assert named + int(more[1]) >= len(EDITS) - 2
    rows = [row for row in json.loads(board.read_text()) if row["metric"] == "image_auroc"]
    assert {row["n"] for row in rows} == {1}


def test_a_backbone_without_yaml_here_is_said_to_be_unproven() -> None:
    assert unproven_backbone({"backbone": {"name": "their-clip"}}).endswith("there is no their-clip.yaml here")
    assert {unproven_backbone({"backbone": {"name": name}}) for name in ("phantom-clip", "own")} == {""}
