from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from adbench.blocks.augment import (
    ZOOMS,
    central_zoom,
    colour_jitter,
    fixed_views,
    luminance,
    regad_views,
    rotated,
)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def spot(y: int, x: int) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.zeros(1, 3, 40, 40)
    images[:, :, y - 2 : y + 3, x - 2 : x + 3] = 1
    return images, images[:, 0] > 0


def test_eleven_and_sixteen_views_in_order() -> None:
    images, masks = spot(10, 20)
    views, moved = fixed_views(images, masks, zooms=False, jitter=None)
    assert (len(views), len(moved)) == (11, 11)
    assert torch.equal(views[0], images[0])
    assert torch.equal(views[9], images[0].flip(2))
    assert torch.equal(views[10], images[0].flip(1))
    assert len(fixed_views(images, masks, zooms=True, jitter=generator())[0]) == 16


def test_views_of_several_images_stay_together() -> None:
    images = torch.stack([torch.full((3, 8, 8), 0.2), torch.full((3, 8, 8), 0.8)])
    views, _ = fixed_views(images, torch.zeros(2, 8, 8, dtype=torch.bool), zooms=True, jitter=None)
    assert torch.allclose(views[0::2].mean((1, 2, 3)), torch.tensor(0.2), atol=1e-5)
    assert torch.allclose(views[1::2].mean((1, 2, 3)), torch.tensor(0.8), atol=1e-5)


def test_masks_move_with_their_images() -> None:
    images, masks = spot(12, 26)
    views, moved = fixed_views(images, masks, zooms=True, jitter=generator())
    for view, mask in zip(views[:15], moved[:15], strict=True):
        assert torch.equal(view[0] > 0.5, mask)


def test_a_shift_is_a_twentieth_of_the_side() -> None:
    images, masks = spot(20, 20)
    _, moved = fixed_views(images, masks, zooms=False, jitter=None)
    centres = {tuple(m.nonzero().float().mean(0).round().int().tolist()) for m in moved[5:9]}
    assert centres == {(18, 18), (18, 22), (22, 18), (22, 22)}


def test_zooms_enlarge() -> None:
    images, masks = spot(20, 20)
    _, moved = fixed_views(images, masks, zooms=True, jitter=None)
    assert int(moved[14].sum()) > int(moved[0].sum())


def test_a_zoom_cuts_whole_pixels_out_of_the_middle() -> None:
    # int(240 / zoom) of 240: a ramp shows which pixels are read. With half-pixel centres output i reads
    # left + (i + 0.5) n / 240 - 0.5.
    ramp = torch.arange(240.0).expand(1, 1, 240, 240)
    for zoom, kept, left in ((1.1, 218, 11), (1.15, 208, 16), (1.2, 200, 20), (1.3, 184, 28)):
        place = (left + (torch.arange(240.0) + 0.5) * kept / 240 - 0.5).clamp(left, left + kept - 1)
        for picture in (central_zoom(ramp, zoom), central_zoom(ramp.mT, zoom).mT):
            torch.testing.assert_close(picture, place.expand(1, 1, 240, 240), atol=1e-3, rtol=0)
    assert ZOOMS == (1.1, 1.15, 1.2, 1.3)
    exact = 120 + (torch.arange(240.0) + 0.5 - 120) / 1.1 - 0.5  # what sampling exactly 1 / zoom would read
    assert (central_zoom(ramp, 1.1)[0, 0, 0] - exact).abs().max() > 0.08


def test_of_an_odd_rest_one_more_pixel_is_cut_off_at_the_end() -> None:
    row = torch.arange(7.0).expand(1, 1, 7, 7)
    assert central_zoom(row, 1.6)[0, 0, 0, [0, -1]].tolist() == [1.0, 4.0]  # int(4.375) = 4 of 7: pixels 1 to 4


def test_images_and_masks_of_a_view_are_cut_alike() -> None:
    images, masks = spot(13, 26)
    views, moved = fixed_views(images, masks, zooms=True, jitter=None)
    for view, mask, zoom in zip(views[11:], moved[11:], ZOOMS, strict=True):
        assert torch.equal(view, central_zoom(images, zoom)[0])
        assert torch.equal(mask, central_zoom(masks[:, None].float(), zoom)[0, 0] > 0.5)


def test_jitter_is_one_factor_for_the_stack_and_contrast_is_per_column() -> None:
    images = torch.rand(2, 3, 6, 5, generator=generator()) * 0.5 + 0.2
    brightness, contrast = (1 + 0.2 * (2 * torch.rand(2, generator=generator()) - 1)).tolist()
    bright = images * brightness
    column = bright.mean(dim=(1, 2), keepdim=True)
    wanted = ((bright - column) * contrast + column).clamp(0, 1)
    torch.testing.assert_close(colour_jitter(images, generator()), wanted)
    assert torch.equal(colour_jitter(images, generator()), colour_jitter(images, generator()))


def test_each_group_has_a_pair_of_factors_of_its_own() -> None:
    images = torch.rand(4, 3, 6, 5, generator=generator()) * 0.5 + 0.2
    groups = torch.tensor([1, 0, 1, 0])
    factors = 1 + 0.2 * (2 * torch.rand(2, 2, generator=generator()) - 1)
    assert not torch.equal(factors[0], factors[1])
    out = colour_jitter(images, generator(), groups)
    for group, (brightness, contrast) in enumerate(factors.tolist()):
        bright = images[groups == group] * brightness
        column = bright.mean(dim=(1, 2), keepdim=True)
        torch.testing.assert_close(out[groups == group], ((bright - column) * contrast + column).clamp(0, 1))


def test_jitter_by_group_tells_the_groups_apart_by_their_brightness() -> None:
    grey = torch.full((2, 3, 4, 4), 0.5)
    views, _ = fixed_views(
        grey, torch.zeros(2, 4, 4, dtype=torch.bool), zooms=False, jitter=generator(), groups=torch.tensor([0, 1])
    )
    factors = 1 + 0.2 * (2 * torch.rand(2, 2, generator=generator()) - 1)
    torch.testing.assert_close(views[-2:].mean((1, 2, 3)), 0.5 * factors[:, 0])  # contrast leaves a flat image alone


def test_grey_is_pillows(noise: torch.Tensor) -> None:
    images = (noise * 255).to(torch.uint8)
    wanted = [np.asarray(Image.fromarray(i.permute(1, 2, 0).numpy()).convert("L").convert("RGB")) for i in images]
    assert np.array_equal(luminance(images).permute(0, 2, 3, 1).numpy(), np.stack(wanted))


@pytest.mark.parametrize(("mode", "border", "order", "beyond"), [
    ("bilinear", "reflection", 1, "mirror"), ("nearest", "zeros", 0, "constant"),
])  # fmt: skip
def test_rotations_are_scipys(mode: str, border: str, order: int, beyond: str) -> None:
    images = torch.randint(0, 256, (3, 3, 21, 21), generator=generator(), dtype=torch.uint8)
    degrees = [33.0, 47.0, 222.2]
    found = rotated(images, degrees, mode, border).numpy().astype(float)
    for one, angle, image in zip(found, degrees, images.numpy(), strict=True):
        exact = ndimage.rotate(image.astype(float), angle, (2, 1), reshape=False, order=order, mode=beyond)
        inside = (slice(None), slice(5, 16), slice(5, 16)) if border == "zeros" else ...  # scipy cuts its corners anew
        np.testing.assert_allclose(one[inside], exact[inside], atol=0.51)


@pytest.mark.parametrize("side", [20, 21, 112, 518])
def test_quarter_turns_only_move_pixels(side: int) -> None:
    images = torch.randint(0, 256, (1, 3, side, side), generator=generator(), dtype=torch.uint8)
    for turns in range(4):
        for how in (("bilinear", "reflection"), ("nearest", "zeros")):
            assert torch.equal(rotated(images, [90 * turns], *how), torch.rot90(images, turns, (2, 3)))


def test_the_corners_of_a_turned_image_are_black_or_reflected() -> None:
    white = torch.full((1, 1, 20, 20), 255, dtype=torch.uint8)
    assert rotated(white, [45], "nearest", "zeros")[0, 0, 0, 0] == 0
    assert rotated(white, [45]).min() == 255


def test_the_22_views_of_regad() -> None:
    g = generator()
    images = torch.randint(0, 256, (2, 3, 12, 12), generator=g, dtype=torch.uint8)
    views = regad_views(images).view(22, 2, 3, 12, 12)
    assert views.dtype == torch.uint8
    assert torch.equal(views[0], images)
    assert torch.equal(views[17], images.flip(3))
    assert torch.equal(views[18], luminance(images))
    for turns, view in enumerate(views[19:], start=1):
        assert torch.equal(view, images.rot90(turns, (2, 3)))
    assert len({view.numpy().tobytes() for view in views}) == 22


def test_regad_rotates_both_ways_and_shifts_by_a_tenth_and_a_twentieth() -> None:
    spots = (255 * spot(20, 29)[0]).to(torch.uint8)
    views = regad_views(spots)[:, 0].float()
    centres = [(view > 127).nonzero().float().mean(0) - 19.5 for view in views]
    start = centres[0]
    angles = [float(torch.rad2deg(torch.atan2(c[0], c[1]) - torch.atan2(start[0], start[1]))) for c in centres[1:9]]
    steps = [-11.25, -22.5, -33.75, -45, 11.25, 22.5, 33.75, 45]
    assert sorted(angles) == pytest.approx(sorted(steps), abs=2)
    moved = sorted(tuple((c - start).round().int().tolist()) for c in centres[9:17])
    assert moved == sorted((y, x) for far in (2, 4) for y in (-far, far) for x in (-far, far))


def test_what_lies_beyond_the_border_is_reflected() -> None:
    bright = torch.full((1, 3, 16, 16), 200, dtype=torch.uint8)
    assert regad_views(bright).eq(200).all()
