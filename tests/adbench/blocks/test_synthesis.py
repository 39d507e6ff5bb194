from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from adbench.blocks import synthesis
from adbench.blocks.shapes import Convex

CORNER = np.array([3, 4])


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def plain(value: int, size: int = 64) -> np.ndarray:
    return np.full((3, size, size), value, np.uint8)


def noise(size: int = 64) -> np.ndarray:
    return np.repeat(rng(9).integers(60, 200, (1, size, size)).astype(np.uint8), 3, axis=0)


TASKS = {
    "cutmix": synthesis.cutmix([noise(), plain(240)]),
    "moved": synthesis.moved(),
    "identity": synthesis.identity,
    "cutpaste": synthesis.cutpaste([noise(), plain(240)]),
    "poisson": synthesis.cutpaste([noise()], "poisson"),
    "gauss": synthesis.gauss,
    "source": synthesis.source,
}


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_a_pure_function_of_image_and_generator(name: str) -> None:
    image = noise()
    before = image.copy()
    (one, mask), (two, again) = (TASKS[name](image, rng(3)) for _ in range(2))
    assert np.array_equal(image, before)
    assert np.array_equal(one, two)
    assert np.array_equal(mask, again)
    assert (one.shape, one.dtype, mask.shape, mask.dtype) == (image.shape, np.uint8, image.shape[1:], bool)
    assert np.array_equal(one[0], one[2])  # grey stays grey


@pytest.mark.parametrize("name", TASKS)
def test_whatever_changes_lies_in_the_mask(name: str) -> None:
    image, some = noise(), 0
    for seed in range(20):
        after, mask = TASKS[name](image, rng(seed))
        differs = (after != image).any(0)
        assert not (differs & ~mask).any()
        some += int(differs.sum())
    assert (some == 0) == (name == "identity")


def test_identity_marks_nothing() -> None:
    after, mask = synthesis.identity(noise(), rng())
    assert np.array_equal(after, noise())
    assert not mask.any()


def test_cutmix_replaces_a_rectangle_by_that_of_another_image_at_the_same_place() -> None:
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8), (3, 64, 64))  # each pixel says its column
    sides = set()
    for seed in range(20):
        after, mask = synthesis.cutmix([ramp], (0.25, 0.5))(plain(200), rng(seed))
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        assert mask.sum() == len(rows) * len(columns) == len(rows) ** 2, "a square, as the image is one"
        assert np.array_equal(after, np.where(mask, ramp, plain(200)))
        sides.add(len(rows))
    assert len(sides) > 5
    assert min(sides) >= 16
    assert max(sides) <= 32


def test_cutmix_of_a_single_image_takes_the_piece_from_elsewhere() -> None:
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8), (3, 64, 64)).copy()
    after, mask = synthesis.cutmix([ramp])(ramp, rng(1))
    shifts = np.unique((after.astype(int) - ramp)[:, mask])
    assert len(shifts) == 1
    assert shifts[0] != 0


def test_cutmix_draws_again_where_nothing_changes_and_gives_up_on_equal_images() -> None:
    spot = plain(0)
    spot[:, :8, :8] = 255  # the only place where both differ
    changed = [synthesis.cutmix([spot], (0.1, 0.1))(plain(0), rng(seed))[1].any() for seed in range(100)]
    # A 6 x 6 square meets the spot in 8 x 8 of its 59 x 59 places: one draw in 54 does, 20 draws in a third of cases.
    assert 15 < sum(changed) < 55
    after, mask = synthesis.cutmix([plain(7), plain(7)])(plain(7), rng())
    assert np.array_equal(after, plain(7))
    assert not mask.any()


def test_a_moved_rectangle_is_the_images_own_brighter_or_darker_and_with_another_contrast() -> None:
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8) + 60, (3, 64, 64)).copy()  # each pixel says its column
    slopes, means = [], []
    for seed in range(20):
        after, mask = synthesis.moved((0.25, 0.5))(ramp, rng(seed))
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        assert np.array_equal(np.where(mask, 0, after), np.where(mask, 0, ramp))
        assert 16 <= len(rows) <= 32
        line = after[0, rows[0], columns[0] : columns[0] + 16].astype(float)
        assert np.array_equal(after[0][rows[0], columns], after[2][rows[-1], columns]), "all rows and channels alike"
        slopes.append((line[-1] - line[0]) / 15)
        means.append(after[0][mask].mean())
    assert min(slopes) > 0.4
    assert max(slopes) < 1.6
    assert max(slopes) - min(slopes) > 0.5
    assert min(means) >= 0.5 * 68
    assert max(means) <= 1.5 * 116
    assert max(means) - min(means) > 40


def test_a_moved_rectangle_of_an_image_of_zeros_changes_nothing() -> None:
    after, mask = synthesis.moved()(plain(0), rng())
    assert np.array_equal(after, plain(0))
    assert not mask.any()


def test_pasting_by_hand() -> None:
    shape = np.array([[True, False], [True, True]])
    out = synthesis.paste(plain(10), np.full((3, 2, 2), 99.6), shape, CORNER)
    wanted = plain(10)
    wanted[:, [3, 4, 4], [4, 4, 5]] = 100
    assert np.array_equal(out, wanted)


def test_a_white_piece_on_black_is_marked_with_its_gaps_and_holes_alone() -> None:
    for seed in range(20):
        after, mask = synthesis.cutpaste([plain(255)])(plain(0), rng(seed))
        assert set(np.unique(after)) == {0, 255}
        white = after[0] == 255
        filled = ndimage.binary_fill_holes(ndimage.binary_closing(np.pad(white, 2), np.ones((3, 3))))[2:-2, 2:-2]
        assert not (white & ~mask).any()
        assert not (mask & ~filled).any()


def test_a_piece_like_its_surroundings_is_no_anomaly() -> None:
    assert not synthesis.cutpaste([plain(120)])(plain(120), rng())[1].any()


def test_a_poisson_blend_of_flat_pieces_changes_nothing() -> None:
    after, mask = synthesis.cutpaste([plain(250)], "poisson")(plain(120), rng())
    assert np.array_equal(after, plain(120))
    assert not mask.any()


def test_changed_closes_gaps_and_fills_holes_inside_each_part() -> None:
    within = np.zeros((16, 16), bool)
    within[1:8, 1:8] = within[10:15, 10:15] = True
    before, after = plain(50, 16), plain(50, 16)
    after[:, 2:7, 2:7] = 51
    after[:, 3:6, 3:6] = 50  # a hole of 3 x 3
    after[:, 10:12, 10:15] = 60  # touches the edge of its part
    after[:, 0, 0] = 99  # outside
    wanted = np.zeros((16, 16), bool)
    wanted[2:7, 2:7] = wanted[10:12, 10:15] = True
    assert np.array_equal(synthesis.changed(before, after, within), wanted)


def test_a_piece_comes_from_the_image_it_is_cut_from() -> None:
    for seed in range(20):
        piece = synthesis.any_piece(noise(), (30, 20), rng(seed))
        assert piece.shape == (3, 30, 20)
        assert piece.min() >= noise().min()
        assert piece.max() <= noise().max()
        assert synthesis.any_piece(plain(77), (30, 20), rng(seed)) == pytest.approx(77)
    # In a ramp, a turned and scaled piece is a ramp whose slope tells scale times cosine.
    ramp = np.repeat(np.arange(64, dtype=np.uint8)[None, None] * 4, 64, axis=1)
    for seed in range(20):
        piece = synthesis.any_piece(ramp, (12, 12), rng(seed))[0]
        dy, dx = (np.diff(piece, axis=axis).mean() / 4 for axis in (0, 1))
        angle = rng(seed).uniform(-np.pi / 4, np.pi / 4)
        assert np.arctan2(dy, dx) == pytest.approx(angle, abs=0.02)
        assert 0.5 < np.hypot(dy, dx) < 1.8


def test_a_texture_by_hand() -> None:
    where = np.zeros((4, 4), bool)
    where[0, :3] = True
    texture, weight = np.full((4, 4), -0.4), np.full((4, 4), 1.0)
    weight[0, 1] = 0.5
    image = plain(120, 4)
    image[:, 0, 2] = 30
    out = synthesis.add_texture(image, texture, where, weight)
    assert out[0].tolist() == [[18, 69, 0, 120], [120] * 4, [120] * 4, [120] * 4]


def test_gauss_stays_within_six_tenths_of_the_range_and_goes_both_ways() -> None:
    signs = set()
    for seed in range(30):
        after, mask = synthesis.gauss(plain(128), rng(seed))
        change = after[0].astype(int) - 128
        signs |= set(np.sign(change[mask]))
        assert 10 < np.abs(change).max() <= 128  # two of them may add up
        ys, xs = np.nonzero(mask)
        assert 0.3 * 64 / 2 < np.ptp(ys) + 1 <= 64
        assert 0.3 * 64 / 2 < np.ptp(xs) + 1 <= 64
    assert {-1, 1} <= signs


def test_source_marks_its_whole_shape_even_where_nothing_is_seen() -> None:
    after, mask = synthesis.source(plain(90), rng())
    assert np.array_equal(after, plain(90))
    assert 0.01 < mask.mean() < 0.7


def test_source_enlarges_what_is_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    circle = Convex(True, np.array([20.0, 20.0]), np.eye(2))
    monkeypatch.setattr(synthesis, "any_convex", lambda *_: circle)
    ramp = np.repeat(np.arange(64, dtype=np.uint8)[None, None] * 3, 64, axis=1)
    for seed in range(5):
        after, mask = synthesis._source_once(synthesis.Ranges(), ramp, rng(seed))
        ys, xs = np.nonzero(mask)
        assert (len(np.unique(ys)), len(np.unique(xs))) == (41, 41)
        # Along a row every pixel takes its grey from nearer the centre of the push, which keeps its own.
        kept = [x for x in range(xs.min(), xs.max() + 1) if (after[0, ys, xs] == ramp[0, ys, xs])[xs == x].all()]
        centre = kept[len(kept) // 2]
        left, right = mask & (np.arange(64) < centre - 1), mask & (np.arange(64) > centre + 1)
        assert (after[0][left] >= ramp[0][left]).all()
        assert (after[0][right] <= ramp[0][right]).all()
        assert (after[0][left] > ramp[0][left]).any() or (after[0][right] < ramp[0][right]).any()


def test_half_of_the_images_get_a_second_anomaly() -> None:
    def once(image: np.ndarray, g: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        mask = np.zeros(image.shape[1:], bool)
        mask[int(g.integers(64)), 0] = True
        return image + 1, mask

    results = [synthesis.once_or_twice(once, plain(0), rng(seed)) for seed in range(400)]
    twice = np.mean([after.max() == 2 for after, _ in results])
    assert twice == pytest.approx(0.5, abs=0.07)
    assert {int(mask.sum()) for _, mask in results} == {1, 2}


def test_the_default_ranges_are_the_authors() -> None:
    r = synthesis.Ranges()
    assert (r.cutpaste_sides, r.gauss_sides, r.source_sides) == ([0.1, 0.6], [0.3, 0.8], [0.2, 0.6])
    assert (r.gauss_strength, r.source_strength) == ([0.4, 0.6], [0.5, 2.0])  # 2^0.5 to 2^2
    for name in ("gauss", "source", "cutpaste"):
        named, plain_ = (synthesis.tasks([name], [noise()], ranges=ranges)[0] for ranges in (r, None))
        assert all(np.array_equal(a, b) for a, b in zip(named(noise(), rng(5)), plain_(noise(), rng(5)), strict=True))


def test_sides_and_strengths_are_drawn_from_their_ranges() -> None:
    small = synthesis.Ranges([0.1, 0.15], [0.1, 0.15], [0.1, 0.15], [0.0, 0.0], [0.0, 0.0])
    for name in ("cutpaste", "gauss", "source"):
        (task,) = synthesis.tasks([name], [plain(250)], ranges=small)
        for seed in range(10):
            after, mask = task(noise(), rng(seed))
            boxes = ndimage.find_objects(ndimage.label(mask)[0])
            assert mask.sum() <= 2 * 11 * 11
            assert boxes or name == "cutpaste"
            if name != "cutpaste":  # no strength, no change: r^(2^0) is r
                assert np.array_equal(after, noise())


def test_the_strength_bounds_the_change_of_grey() -> None:
    (task,) = synthesis.tasks(["gauss"], [plain(128)], ranges=synthesis.Ranges(gauss_strength=[0.1, 0.1]))
    changes = [np.abs(task(plain(128), rng(seed))[0].astype(int) - 128).max() for seed in range(20)]
    assert max(changes) <= 2 * 26  # a tenth of 255, twice where two anomalies meet
    assert min(changes) >= 5


def test_tiny_images_have_shapes_too() -> None:
    for name in ("cutpaste", "gauss", "source"):
        (task,) = synthesis.tasks([name], [noise(16)], ranges=synthesis.Ranges(*[[0.05, 0.1]] * 3))
        assert sum(task(noise(16), rng(seed))[1].any() for seed in range(5)) == 5
