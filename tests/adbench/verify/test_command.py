"""`adbench verify`: what it prints, and what it finds with the data."""

from __future__ import annotations

import inspect
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

import adbench as ad
from adbench.metrics.keys import to_floats
from adbench.metrics.overlap import LOOSE
from adbench.records.record import read
from adbench.running.cell import STAGES, run_cell
from adbench.running.rescore import chosen
from adbench.verify.figures import figures_of
from adbench.verify.keys import ONE_BY_ONE
from adbench.verify.regions import overlap_bounds
from tests.adbench.verify.conftest import Tampered, as_of

PREDICTIONS, BY_IMAGE = "predictions.parquet", "image_histograms.parquet"


def consistent(record: Tampered) -> None:
    """Write the figures that the tables give, and the hashes: nothing in the record contradicts anything else."""
    read_back = read(record.path)
    found, halves = figures_of(read_back, read_back.predictions(), read_back.histogram())
    record.write(record.content | {"metrics": found, "half_widths": halves})
    record.rehash()


def raised(record: Tampered) -> None:
    record.table(PREDICTIONS, lambda frame: frame.assign(score=(frame["score"] + frame["label"]).astype(np.float32)))


def raised_a_little(record: Tampered) -> None:
    """Every second abnormal image gets the score of the best one."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        some = (frame["label"] == 1) & (np.arange(len(frame)) % 2 == 0)
        return frame.assign(score=frame["score"].where(~some, frame["score"].max()))

    record.table(PREDICTIONS, change)


def maps_moved(record: Tampered) -> None:
    """Another mean of each map, within what its histogram allows."""
    record.table(PREDICTIONS, lambda f: f.assign(map_mean=np.nextafter(f["map_mean"], np.float32(0), dtype=np.float32)))


def other_parameters(record: Tampered) -> None:
    """A memory bank that the support doesn't give, under the name of the cell."""
    file = record.path / "method.safetensors"
    changed = {name: value + np.float32(0.01) for name, value in load_file(file).items()}
    save_file(changed, file, {"method": "patchcore", "cell": record.content["key"]})


def other_pixels(record: Tampered) -> None:
    """A normal pixel of an image moves to another of its bins, in both histograms."""
    parts = pd.read_parquet(record.path / "image_histograms.parquet")
    whole = pd.read_parquet(record.path / "histogram.parquet")
    content = record.content
    shift = content["image_histograms"]["shift"]
    keys = (whole["keys"].to_numpy(np.uint32) ^ np.uint32(0x80000000)).view(np.int32) >> shift
    rows = parts.index[(parts["image"] == 0) & (parts["negative"] > 2)][:2]
    for row, change in zip(rows, (-1, 1), strict=True):
        parts.loc[row, "negative"] += change
        (at,) = np.flatnonzero((keys == parts.loc[row, "bin"]) & (whole["negative"].to_numpy() > 0))[:1]
        whole.loc[at, "negative"] += change
    parts.to_parquet(record.path / "image_histograms.parquet", index=False)
    whole.to_parquet(record.path / "histogram.parquet", index=False)


def better_pixels(record: Tampered) -> None:
    """The abnormal pixels of each image are its highest ones, in all tables."""
    parts, shift = pd.read_parquet(record.path / BY_IMAGE), record.content["image_histograms"]["shift"]
    by_image = parts.groupby("image")
    total, area = parts["positive"] + parts["negative"], by_image["positive"].transform("sum")
    rest = by_image[["positive", "negative"]].transform(lambda column: column[::-1].cumsum()[::-1]).sum(axis=1) - total
    positive = (area - rest).clip(0, total)
    weight = positive * by_image["region_weight"].transform("sum") / area.clip(1)
    parts = parts.assign(positive=positive, negative=total - positive, region_weight=weight)
    parts.astype({"positive": "int32", "negative": "int32"}).to_parquet(record.path / BY_IMAGE, index=False)
    whole = parts.groupby("bin", as_index=False)[["positive", "negative", "region_weight"]].sum()
    keys = (whole.pop("bin").to_numpy(np.int64) << shift).astype(np.int32).view(np.uint32) ^ np.uint32(0x80000000)
    whole.assign(keys=keys, mixed=False).to_parquet(record.path / "histogram.parquet", index=False)
    record.edit("histogram.shift", shift)
    highest = parts.groupby("image")["bin"].max().to_numpy(np.int64) << shift
    record.table("lesions.parquet", lambda frame: frame.assign(score=to_floats(highest[frame["image"]])))
    best_overlap(record)


def best_overlap(record: Tampered) -> None:
    """The highest AUPIMO that the histograms of the record allow."""
    parts = read(record.path).contributions()
    assert parts is not None

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        best = overlap_bounds(parts, frame["label"].to_numpy() == 0, *LOOSE)[1]
        return frame.assign(aupimo_loose=np.where(frame["aupimo_loose"].isna(), np.nan, best))

    record.table(PREDICTIONS, change)


def weights_moved(record: Tampered) -> None:
    """Of an image with lesions of different areas, some weight moves between two bins, in both histograms."""
    lesions = pd.read_parquet(record.path / "lesions.parquet")
    image = lesions.groupby("image")["area"].nunique().idxmax()
    parts, whole = (pd.read_parquet(record.path / name) for name in (BY_IMAGE, "histogram.parquet"))
    shift = record.content["image_histograms"]["shift"]
    keys = (whole["keys"].to_numpy(np.uint32) ^ np.uint32(0x80000000)).view(np.int32) >> shift
    own = parts[(parts["image"] == image) & (parts["positive"] > 0)]
    area = lesions[lesions["image"] == image]["area"]
    assert area.nunique() > 1
    down = (own["region_weight"] - own["positive"] / area.max()).idxmax()
    up = (own["positive"] / area.min() - own["region_weight"]).drop(down).idxmax()
    at = {row: whole["region_weight"].where(keys == own["bin"][row], -1).idxmax() for row in (down, up)}
    room = own["region_weight"][down] - own["positive"][down] / area.max(), whole["region_weight"][at[down]]
    amount = min(*room, own["positive"][up] / area.min() - own["region_weight"][up]) / 2
    assert amount > 1e-6
    for row, change in ((down, -amount), (up, amount)):
        parts.loc[row, "region_weight"] += change
        whole.loc[at[row], "region_weight"] += change
    parts.to_parquet(record.path / BY_IMAGE, index=False)
    whole.to_parquet(record.path / "histogram.parquet", index=False)


REWRITES = (raised, raised_a_little, maps_moved, other_parameters, other_pixels, best_overlap, weights_moved)


def test_a_consistent_rewrite_passes_without_data_and_is_found_by_scoring_again(
    good: Path, phantoms: Path, tmp_path: Path, adbench: Any
) -> None:
    runs = []
    for rewrite in (*REWRITES, better_pixels):
        record = Tampered(shutil.copytree(good, tmp_path / rewrite.__name__ / good.name))
        rewrite(record)
        consistent(record)
        answer = adbench("verify", record.path.parent)
        assert answer.code == 0, answer.out
        runs.append(record.path.parent)
    answer = adbench("verify", runs[0])
    assert "not checked: whether the tables are what the method gives" in answer.out
    assert "--rescore all finds it" in answer.out
    answer = adbench("verify", good.parent, *runs, f"data_root={phantoms}", "--rescore", "all", "--json")
    assert answer.code == 1
    found = {Path(one["record"]).parent.name: one for one in json.loads(answer.out)["records"]}
    assert found.pop(good.parent.name)["findings"] == []
    for name, one in found.items():
        assert {finding["check"] for finding in one["findings"]} >= {"scores"}, (name, one)


def test_pixel_figures_are_compared_though_the_record_names_another_kind_of_machine(
    good: Path, phantoms: Path, tmp_path: Path, adbench: Any
) -> None:
    runs: list[Path] = []
    for rewrite in (lambda _: None, better_pixels):
        record = Tampered(shutil.copytree(good, tmp_path / str(len(runs)) / good.name))
        rewrite(record)
        record.edit("device.model", "a processor of somebody else")
        consistent(record)
        runs.append(record.path.parent)
    answer = adbench("verify", *runs, f"data_root={phantoms}", "--rescore", "all", "--json")
    honest, pixels = ([finding["sentence"] for finding in one["findings"]] for one in json.loads(answer.out)["records"])
    assert honest == []
    (note,) = (note for note in json.loads(answer.out)["records"][0]["notes"] if note.startswith("scores:"))
    assert "the histogram of each map, with the weights of its regions, if scores move by up to 0.001" in note
    assert "the pixel figures within 0.5 points" in note
    assert note.endswith("as the record names another kind of machine")
    for said in (
        "image_histograms.parquet has another histogram of", "metrics.pixel_auroc is", "lesions.parquet says",
        "aupimo_loose of",
    ):  # fmt: skip
        assert any(said in sentence for sentence in pixels), (said, pixels)


def test_the_data_say_what_a_record_conceals(tampered: Tampered, phantoms: Path, adbench: Any) -> None:
    """Everything else agrees: patients, images that were learned from, overlap."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(patient=[f"p{number}" for number in range(len(frame))])

    tampered.table(PREDICTIONS, change)
    tampered.edit("support.normal", ["valid/normal/a.png", "valid/normal/b.png"])
    tampered.edit("overlap", 2)
    tampered.rehash()
    assert adbench("verify", tampered.path).code == 0
    answer = adbench("verify", tampered.path, f"data_root={phantoms}")
    assert answer.code == 1
    for said in ("support.normal names valid/normal/a.png", "overlap is 2, and 0 images", 'says patient "p0" in row 1'):
        assert said in answer.out


def test_a_table_for_each_record_and_a_sentence_for_each_finding(good: Path, tampered: Tampered, adbench: Any) -> None:
    tampered.edit("metrics.image_auroc", 0.99)
    out = tampered.path.parent.parent / "found.json"
    answer = adbench("verify", good.parent, tampered.path.parent, "--out", out)
    assert answer.code == 1
    assert answer.out.count("patchcore on brainmri, few_normal_shot, 2 shots, draw 0, seed 0") == 2
    assert "FINDING figures: metrics.image_auroc is 0.99, and the tables give" in answer.out
    assert "FINDING" in answer.out.partition("records of one cell with different figures")[0].splitlines()[-1]
    assert "2 records verified, 3 findings." in answer.out
    content = json.loads(out.read_text())
    assert content["findings"] == 3
    assert [one["checks"]["figures"] for one in content["records"]] == ["ok", "1 finding"]
    assert content["records"][0]["checks"]["scores"] == "not checked"
    assert any("the data: content, labels" in sentence for sentence in content["not_checked"])


@pytest.mark.parametrize("damage", ["a table less", "cut", "no record.json"])
def test_what_cant_be_read_is_a_finding_and_the_other_records_are_checked(
    good: Path, tampered: Tampered, adbench: Any, damage: str
) -> None:
    broken = shutil.copytree(good, tampered.path.parent / "0123456789abcdef0123")
    if damage == "a table less":
        (broken / "lesions.parquet").unlink()
    elif damage == "cut":
        (broken / "record.json").write_text("{")
    else:
        (broken / "record.json").unlink()
    tampered.edit("metrics.image_auroc", 0.99)
    answer = adbench("verify", tampered.path.parent)
    assert answer.code == 1
    assert "FINDING record: " in answer.out
    assert broken.name in answer.out
    assert "FINDING figures: metrics.image_auroc is 0.99" in answer.out
    answer = adbench("verify", tampered.path.parent, "--json")
    assert answer.code == 1
    found = {Path(one["record"]).name: one["checks"]["record"] for one in json.loads(answer.out)["records"]}
    assert found == {broken.name: "1 finding", good.name: "ok"}


def test_a_record_of_an_older_adbench_is_read_and_what_was_not_checked_is_said(
    tampered: Tampered, adbench: Any
) -> None:
    older = as_of(tampered, *ONE_BY_ONE, "held_out", "lesions")
    answer = adbench("verify", older.path)
    assert answer.code == 0
    assert "not checked: its files: the record keeps no hashes of them" in answer.out
    older.edit("metrics.image_ap", 0.99)
    assert adbench("verify", older.path).code == 1
    assert "doesn't agree with itself" in adbench("leaderboard", older.path).err


@pytest.mark.parametrize("was", [True, False])
def test_a_record_that_calls_the_feature_cache_true_or_false_agrees(
    tampered: Tampered, phantoms: Path, adbench: Any, was: bool
) -> None:
    tampered.edit("resolved.feature_cache", was)
    tampered.rehash()
    answer = adbench("verify", tampered.path, f"data_root={phantoms}")
    assert answer.code == 0, answer.out
    assert ad.load(tampered.path).config.feature_cache == ("disk" if was else "off")


def test_words_that_cant_be_used_are_named(good: Path, adbench: Any) -> None:
    for words, said in (
        (("--rescore", "0"), "--rescore 0 is not possible: a number of test images from 1, or all"),
        (("--rescore", "some", "data_root=phantom"), "--rescore some is not possible"),
        (("--rescore", "3"), "--rescore needs the images"),
        (("--retrain",), "--retrain needs the images"),
        (("device=cpu",), "device= has no effect without data_root=DIR"),
        (("shots=3",), "unknown key 'shots'"),
        (("data_root=",), "data_root= needs a value"),
        (("data_root=phantom", "backbone.weights=gone.safetensors"), "backbone.weights=gone.safetensors is not a file"),
        (("data_root=phantom", "backbone.text=gone"), "backbone.text=gone is not a folder"),
        (("data_root=nowhere",), "data_root=nowhere is not a folder"),
        (("data_root=phantom", "method=clip"), "method=clip has no effect: the records' methods are registered"),
        (("data_root=phantom", "device=cuda"), "device=cuda is not possible: torch sees no CUDA device"),
    ):
        answer = adbench("verify", good, *words)
        assert answer.code in (2, 3), words
        assert said in answer.err


def test_data_that_are_not_there_are_a_finding(good: Path, tmp_path: Path, adbench: Any) -> None:
    answer = adbench("verify", good, f"data_root={tmp_path}")
    assert answer.code == 1
    assert "FINDING data: it can't be compared with the data:" in answer.out


def test_images_are_chosen_by_hash_alone() -> None:
    names = [f"test/normal/{number}.png" for number in range(50)]
    first = chosen("0123", names, 5)
    assert len({*first}) == 5
    assert first != chosen("4567", names, 5)
    assert {names[row] for row in first} == {names[::-1][row] for row in chosen("0123", names[::-1], 5)}


@pytest.mark.slow
def test_parameters_of_another_support_are_found_by_training_alone(
    phantoms: Path, tmp_path: Path, adbench: Any
) -> None:
    """Tables, figures and parameters of draw 1 in the record of draw 0: the saved parameters do give these scores."""
    words = {"method": "patchcore", "shots": 2, "operating": "none", "gallery": 1, "eval_size": 96}
    draws = [ad.run(**words, draw=draw, data_root=phantoms, runs=tmp_path / f"runs{draw}") for draw in (0, 1)]
    own, other = (draw for draw in draws if isinstance(draw, ad.Record))
    assert adbench("verify", own.path, f"data_root={phantoms}", "--retrain").code == 0
    tampered = Tampered(own.path)
    for table in other.path.glob("*.parquet"):
        shutil.copyfile(table, tampered.path / table.name)
    about = {"method": "patchcore", "cell": tampered.content["key"]}
    parameters = load_file(other.path / "method.safetensors")
    save_file(parameters, tampered.path / "method.safetensors", about)
    keys = ("histogram", "image_histograms", "lesions")
    tampered.write(tampered.content | {name: other.content[name] for name in keys})
    consistent(tampered)
    assert adbench("verify", tampered.path, f"data_root={phantoms}", "--rescore", "all").code == 0
    answer = adbench("verify", tampered.path, f"data_root={phantoms}", "--retrain")
    assert answer.code == 1
    assert "FINDING training: score of" in answer.out


def test_the_stages_of_a_cell_are_known() -> None:
    source = inspect.getsource(run_cell)
    assert tuple(re.findall(r'watch\.stage\("(\w+)"\)', source)) == STAGES


METHOD = """
from dataclasses import dataclass

import torch

from adbench import Capability, Method, Scores


class {name}(Method):
    @dataclass
    class Params:
        pass

    @classmethod
    def capability(cls, params, architecture):
        return Capability(support="none", pooled=True, maps=False)

    def score(self, batch):
        return Scores(batch.features.pooled.norm(dim=-1) * {factor})
"""


def test_each_file_that_is_named_checks_the_records_that_it_made(phantoms: Path, tmp_path: Path, adbench: Any) -> None:
    names, runs = ("One", "Two", "Three"), tmp_path / "runs"
    for factor, name in enumerate(names, 1):
        (tmp_path / f"{name}.py").write_text(METHOD.format(name=name, factor=factor))
        words = (f"method={tmp_path / f'{name}.py'}:{name}", f"data_root={phantoms}", f"runs={runs}", "gallery=0")
        assert adbench("run", *words).code == 0
    one, two, three = (f"{tmp_path / f'{name}.py'}:{name}" for name in names)
    with_two = ("verify", runs, f"data_root={phantoms}", "--rescore", "all", f"method={one},{two}")
    answer = adbench(*with_two)
    assert answer.code == 0, answer.out
    assert answer.out.count("scored again: the same bits") == 2
    assert "Three is no registered method, and what a record names is never run" in answer.out
    assert "3 records verified, 1 of them not compared with the data, 0 findings." in answer.out
    assert "3 records verified, 0 findings." in adbench(*with_two[:-1], f"{with_two[-1]},{three}").out
    (tmp_path / "Three.py").write_text(METHOD.format(name="Three", factor=7))
    edited = adbench(*with_two[:-1], f"method={three}")
    assert edited.code == 2
    assert "made none of these records" in edited.err
    for command in (("score", runs / "x", phantoms), ("serve", runs / "x")):
        (folder,) = [path.parent for path in runs.glob("*/record.json") if '"One"' in path.read_text()]
        given = [folder if word == runs / "x" else word for word in command]
        refused = adbench(*given, f"method={one},{two}")
        assert refused.code == 2, refused.err
        assert "one configuration is needed" in refused.err
