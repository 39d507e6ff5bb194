"""Whether a histogram can be that of a map, if scores move by no more than a tolerance."""

from __future__ import annotations

import numpy as np
import pytest

from adbench.metrics.moved import Moved, moved, tied_pairs
from adbench.metrics.per_image import Contributions, ImageHistograms
from adbench.metrics.table import Table

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(40, 40)).astype(np.float32)
MASK = np.zeros((40, 40), bool)
MASK[5:12, 5:12] = MASK[20:23, 20:23] = True


def kept(scores: np.ndarray, mask: np.ndarray = MASK, bins: int = 64) -> Contributions:
    collected = ImageHistograms(bins)
    collected.update(0, scores[None], mask[None])
    return collected.total()


def test_scores_that_move_by_less_than_the_tolerance_are_never_found() -> None:
    for bins in (2, 16, 64, 4096):
        for tolerance in (1e-3, 0.1, 1.0):
            noise = RNG.uniform(-tolerance, tolerance, SCORES.shape) * 0.999
            assert moved(kept(SCORES, bins=bins), (SCORES + noise).astype(np.float32), MASK, tolerance, 0) is None


@pytest.mark.parametrize(("column", "where"), [("negative", ~MASK), ("positive", MASK)])
def test_scores_of_one_class_that_move_by_more_are_found(column: str, where: np.ndarray) -> None:
    found = moved(kept(SCORES), SCORES + np.float32(0.5) * where, MASK, 0.1, 1e-3)
    assert isinstance(found, Moved)
    assert found.column == column
    assert not found.least <= found.kept <= found.most


def test_few_pixels_may_move_by_any_amount() -> None:
    strays = SCORES.copy()
    strays[0, :2] = 30
    assert moved(kept(SCORES, bins=4096), strays, MASK, 0.1, 1e-3) is not None
    assert moved(kept(SCORES, bins=4096), strays, MASK, 0.1, 2 / (~MASK).sum()) is None


def test_weights_of_other_regions_are_found() -> None:
    scores = np.where(MASK, 2, 0).astype(np.float32)
    scores[20:23, 20:23] = 1  # the small lesion, which a forger would rather find
    swapped = kept(scores)
    weight = swapped.region_weight.copy()
    weight[swapped.positive > 0] = [0.2, 1.8]
    found = moved(Contributions(*[*vars(swapped).values()][:5], weight, swapped.regions), scores, MASK, 0.1, 1e-3)
    assert found is not None
    assert (found.column, found.kept, found.most) == ("region_weight", 1.8, pytest.approx(1))


def test_a_constant_map_is_all_ties_and_a_map_of_different_scores_has_none() -> None:
    def table(scores: list[float]) -> Table:
        ones = np.ones(len(scores), np.int64)
        keys = np.array(scores, np.float32).view(np.int32)
        return Table(0, keys, 2 * ones, ones, np.ones(len(scores)), ones == 0)

    assert tied_pairs(table([0.5, np.nextafter(np.float32(0.5), 1)]), 1e-6) == 1
    assert tied_pairs(table([0.0, 0.5]), 1e-6) == 0.5
    assert tied_pairs(table([0.0]), 1e-6) == 1
