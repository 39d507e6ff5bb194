"""Forged tables of held-out images: `adbench verify` names each, with all hashes written again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from tests.adbench.verify.conftest import Tampered, findings

ROWS, PIXELS, PREDICTIONS = "held_out.parquet", "held_out_pixels.parquet", "predictions.parquet"
Change = Callable[[pd.DataFrame], pd.DataFrame]


def of_the_test(record: Tampered, columns: list[str]) -> Change:
    """Give the first held-out images names or patients of test images, of the same class."""
    tested = pd.read_parquet(record.path / PREDICTIONS)
    tested = tested[tested["label"] == 0][columns].reset_index(drop=True)

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[frame.index[:3], columns] = tested[:3].to_numpy()
        return frame

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.assign(label=1 - f["label"]), "held_out.normal is 26, and held_out.parquet has 30"),
        (lambda f: f.assign(label=1 - f["label"]), "its name says otherwise"),
        (lambda f: f[:20], "it has 20 rows, not 56"),
        (lambda f: f.assign(patient="one"), "held_out.patients is 24, and held_out.parquet has 1"),
        (lambda f: f.assign(map_max=np.float32(np.nan)), "held_out.parquet lacks values of map_max"),
        (lambda f: f.assign(map_max=f["map_max"] * 2), "the highest bin of held_out_pixels.parquet is not that of"),
        (lambda f: f.assign(image="train" + f["image"].str.removeprefix("valid")), "and held_out.split is"),
    ],
)  # fmt: skip
def test_rows_that_contradict_the_record_are_named(tampered: Tampered, change: Change, said: str) -> None:
    tampered.table(ROWS, change)
    assert any(said in sentence for sentence in findings(tampered))


@pytest.mark.parametrize("name", [ROWS, PIXELS, "lesions.parquet", "false_positives.parquet"])
def test_a_table_that_cannot_be_read_is_named_once(tampered: Tampered, name: str) -> None:
    (tampered.path / name).write_bytes(b"no table")
    (sentence,) = findings(tampered)
    assert f"{name} can't be read" in sentence


def test_held_out_images_of_the_test_split_are_a_leak(tampered: Tampered) -> None:
    tampered.table(ROWS, of_the_test(tampered, ["image"]))
    assert any("is held out and tested (one of 3 held-out images)" in one for one in findings(tampered))


def test_held_out_patients_of_the_test_split_are_a_leak(tampered: Tampered) -> None:
    tampered.table(ROWS, of_the_test(tampered, ["patient"]))
    assert any("is a patient of held-out images and of test images" in one for one in findings(tampered))


def test_held_out_images_of_the_support_are_named(tampered: Tampered) -> None:
    taken = tampered.content["support"]["normal"][0]
    tampered.table(ROWS, lambda f: f.assign(image=[taken, *f["image"][1:]]))
    assert findings(tampered) == [f"{taken} is held out and in the support (one of 1 held-out images)"]


def test_unknown_patients_are_never_the_same(tampered: Tampered) -> None:
    unknown = {"patient": pd.array([None] * 56, dtype="string")}
    tampered.table(ROWS, lambda f: f.assign(**unknown))
    tampered.table(PREDICTIONS, lambda f: f.assign(patient=unknown["patient"][: len(f)]))
    tampered.edit("held_out.patients", 56)
    assert findings(tampered) == []


def test_pixels_of_other_maps_are_named(tampered: Tampered) -> None:
    tampered.table(PIXELS, lambda f: f.assign(pixels=f["pixels"] + 1))
    assert any("held_out_pixels.parquet counts" in one for one in findings(tampered))


def test_what_operating_holds_out_is_what_the_record_says(tampered: Tampered) -> None:
    tampered.edit("resolved.operating", "none")
    assert 'held_out.source is "valid" with 56 images, and resolved.operating is "none"' in findings(tampered)
    tampered.edit("held_out.source", "support_cv")
    tampered.edit("resolved.operating", "support_cv")
    assert any("names other images than support" in one for one in findings(tampered))
