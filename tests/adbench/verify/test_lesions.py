"""Forged lesions, false positives and masks: `adbench verify` names each, with all hashes written again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from tests.adbench.verify.conftest import Tampered, findings

LESIONS, COUNTS, PREDICTIONS = "lesions.parquet", "false_positives.parquet", "predictions.parquet"
Change = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (LESIONS, lambda f: f.assign(score=np.float32(1e9)), "has the score 1e+09, above its image's map_max"),
        (LESIONS, lambda f: f.assign(score=np.float32(-1e9)), "where the histogram of its map has no abnormal pixel"),
        (LESIONS, lambda f: f.assign(image=np.int32(0)), "has a lesion in test/normal/0027_0.png, which is normal"),
        (LESIONS, lambda f: f.assign(area=f["area"] + 1), "pixels, and its lesion_area is"),
        (COUNTS, lambda f: f.assign(regions=np.int32(0)), "is normal without false positives at a threshold that"),
        (COUNTS, lambda f: f.assign(regions=f["regions"] + 1), "has false positives at a threshold above its map_max"),
        (COUNTS, lambda f: f.assign(regions=f["regions"] + (f["regions"] > 0) * 2000), "normal pixels that reach it"),
        (COUNTS, lambda f: f.assign(threshold=-5.0), "counts at the threshold -5, and held-out normal pixels give"),
        (COUNTS, lambda f: f.assign(threshold=[9.0, *f["threshold"][1:]]), "other thresholds for one image than for"),
        (COUNTS, lambda f: f[::-1], "has not every test image at every threshold, in their order"),
        (COUNTS, lambda f: f.assign(specificity=1 - f["specificity"]), "don't rise with their specificity"),
        (PREDICTIONS, lambda f: f.assign(lesion_area=3 * f["label"]), "is 3, and image_histograms.parquet counts"),
        (PREDICTIONS, lambda f: f.assign(lesion_area=100), "is normal, and its lesion_area is 100"),
        (PREDICTIONS, lambda f: f.drop(columns="lesion_area"), "has no column lesion_area, and its dataset has masks"),
    ],
)
def test_a_table_that_contradicts_another_is_named(tampered: Tampered, name: str, change: Change, said: str) -> None:
    tampered.table(name, change)
    assert any(said in sentence for sentence in findings(tampered))


def test_lesions_that_are_left_out_are_named(tampered: Tampered) -> None:
    tampered.table(LESIONS, lambda f: f.nlargest(4, "score").sort_index())
    tampered.edit("lesions.number", 4)
    found = findings(tampered)
    regions = tampered.content["histogram"]["n_regions"]
    assert f"lesions.parquet has 4 lesions, and histogram.n_regions is {regions}" in found
    assert any("has 0 lesions of" in one for one in found)


def test_thresholds_that_are_left_out_are_named(tampered: Tampered) -> None:
    (tampered.path / COUNTS).unlink()
    tampered.edit("lesions.thresholds", 0)
    assert findings(tampered) == ["lesions.thresholds is 0, and the held-out normal images give 2"]


@pytest.mark.parametrize(
    ("masks", "said"),
    [
        ({"images": 0}, "masks.images is 0, and 12 of 24 test images are abnormal: each has a mask"),
        ({"images": 25}, "masks.images is 25"),
        ({"kept_regions": 0, "images_with_kept_regions": 1}, "masks.kept_regions is 0, and masks.images_with"),
        ({"images_with_kept_regions": 13}, "masks.images_with_kept_regions 13"),
    ],
)
def test_masks_that_the_test_images_cannot_have_are_named(tampered: Tampered, masks: dict[str, int], said: str) -> None:
    tampered.edit("masks", lambda counted: counted | masks)
    assert any(said in sentence for sentence in findings(tampered))


def test_no_masks_are_named_where_the_dataset_has_some(tampered: Tampered) -> None:
    tampered.edit("masks", None)
    assert findings(tampered) == ["masks is null, and its dataset has masks"]


def test_an_empty_mask_is_accepted_where_the_run_accepted_it(tampered: Tampered) -> None:
    """Of an image that is abnormal without an abnormal pixel the rest of the record says so too."""
    at = int(pd.read_parquet(tampered.path / LESIONS)["image"].iloc[-1])

    def emptied(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[at, "lesion_area"] = 0
        return frame

    tampered.table(PREDICTIONS, emptied)
    assert any("is abnormal without an abnormal pixel" in one for one in findings(tampered))
    tampered.edit("dataset.empty_masks", "allow")
    assert not any("is abnormal without an abnormal pixel" in one for one in findings(tampered))
