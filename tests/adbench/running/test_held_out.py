"""Held-out images in records: scored as any image is, opened before the fit, never one of the test split."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import adbench as ad
from adbench.cells.datamodule import DataModule
from adbench.cells.holdout import folds
from adbench.cells.resolve import resolve
from adbench.config.words import parse
from adbench.method import Batch
from adbench.metrics.keys import to_floats, to_keys
from adbench.records.files import HELD_OUT, HELD_OUT_PIXELS
from adbench.records.held_out import held_out
from adbench.records.record import Record
from adbench.training.fit import device_of, fit, new_method
from adbench.training.selection import rows


@pytest.fixture
def run(tiny: Path, tmp_path: Path) -> Callable[..., Record]:
    count = iter(range(100))

    def call(**keys: object) -> Record:
        found = ad.run(data_root=tiny, gallery=0, runs=tmp_path / f"runs{next(count)}", **keys)
        assert isinstance(found, Record)
        return found

    return call


def test_a_zero_shot_method_scores_the_whole_split_as_any_other_image(run, tiny: Path) -> None:
    record = run(method="clip")
    head, table = record.content["held_out"], record.held_out()
    assert head == {
        "source": "valid", "split": "the valid split of brainmri", "images": 12, "patients": 4, "normal": 6,
        "abnormal": 6, "of": 12, "in_test": 0, "shift": head["shift"], "why": None,
    }  # fmt: skip
    fitted = ad.load(record)
    files = [tiny / "Brain" / "valid" / ("Ungood" if label else "good") / "img" / Path(name).name
             for name, label in zip(table["image"], table["label"], strict=True)]  # fmt: skip
    scores = fitted.score(files)
    assert table["score"].tolist() == scores.image.tolist(), "bit for bit"
    pixels = record.held_out_pixels()
    assert pixels["pixels"].sum() == 6 * 240 * 240, "of normal images, at evaluation size"
    largest = table.loc[table["label"] == 0, "map_max"].to_numpy(np.float32)
    assert pixels["bin"][-1] == (to_keys(largest) >> head["shift"]).max()
    found = held_out(record)
    assert found.upper[-1] == to_floats(np.array([(pixels["bin"][-1] + 1) << head["shift"]]))[0] > largest.max()
    assert record.content["seconds"]["held_out"] >= 0


def test_held_out_images_change_no_figure_and_none_has_none(run) -> None:
    one, other = run(method="patchcore", shots=1), run(method="patchcore", shots=1, operating="none")
    assert one.metrics == other.metrics
    pd.testing.assert_frame_equal(one.predictions(), other.predictions())
    assert other.content["held_out"]["why"] == "operating=none: no images were held out"
    assert other.held_out() is None
    assert not (other.path / HELD_OUT).exists()
    assert one.key != other.key
    assert one.content["held_out"]["images"] == 12 - 3, "without the support's patient"


def test_a_copy_of_a_test_image_is_left_out_whatever_its_file(run, tiny: Path) -> None:
    with Image.open(next((tiny / "Brain" / "test" / "good" / "img").iterdir())) as image:
        image.save(tiny / "Brain" / "valid" / "good" / "img" / "99999_1.png", compress_level=0)
    head = run(method="clip").content["held_out"]
    assert (head["images"], head["of"], head["in_test"]) == (12, 13, 1)


def test_a_held_out_image_that_cannot_be_read_stops_the_run_before_the_fit(adbench, tiny: Path, tmp_path) -> None:
    broken = sorted((tiny / "Brain" / "valid" / "Ungood" / "img").iterdir())[-1]
    broken.write_bytes(broken.read_bytes()[:60])
    words = ["method=clip", f"data_root={tiny}", f"runs={tmp_path / 'runs'}"]
    answer = adbench("run", *words)
    assert answer.code == 3
    assert broken.name in answer.err
    assert adbench("run", *words, "operating=none", "gallery=0").code == 0


def test_a_transductive_method_holds_none_out_and_says_why(run) -> None:
    record = run(method="mvfa", shots=1, overrides={"method.fusion": "transductive", "method.epochs": 1})
    assert "mvfa is transductive: a score depends on the images" in record.content["held_out"]["why"]
    assert record.held_out() is None


def test_in_a_cross_validation_each_image_is_scored_by_a_method_that_did_not_see_it(run, tiny: Path) -> None:
    record = run(method="patchcore", shots=4, operating="support_cv")
    head, table = record.content["held_out"], record.held_out()
    assert (head["source"], head["images"], head["normal"], head["of"]) == ("support_cv", 4, 4, 4)
    assert record.held_out_pixels()["pixels"].sum() == 4 * 240 * 240
    cell = resolve(parse(["method=patchcore", "shots=4", "operating=support_cv", f"data_root={tiny}"])[0])
    data = DataModule.of_cell(cell)
    data.setup()
    groups = folds(cell.training_sets, "patchcore", "operating")
    device = device_of(cell.config)
    method = new_method(cell, device)
    fit(method, rows(data.support, groups != groups[0]), cell.config, device)
    images = rows(data.support, groups == groups[0]).images
    batch = Batch.of(method, images, "brainmri", "Brain")
    assert table["score"][np.flatnonzero(groups == groups[0])].tolist() == method.score(batch).image.tolist()


@pytest.mark.slow
def test_a_cross_validation_trains_up_to_the_epoch_that_is_scored(run) -> None:
    record = run(method="madclip", shots=4, operating="support_cv", selection="fixed:1", overrides={"method.epochs": 2})
    head = record.content["held_out"]
    assert (head["normal"], head["abnormal"]) == (4, 4)
    assert np.isfinite(record.held_out()["score"]).all()
    assert (record.path / HELD_OUT_PIXELS).is_file()


def test_a_record_is_shown_without_the_images(adbench, tiny: Path, tmp_path: Path) -> None:
    assert adbench("run", "method=clip", f"data_root={tiny}", "gallery=0", f"runs={tmp_path / 'runs'}").code == 0
    shutil.rmtree(tiny)
    assert adbench("show", next((tmp_path / "runs").iterdir())).code == 0, "a record needs no images"
