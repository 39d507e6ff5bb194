from __future__ import annotations

import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.nn import functional as F

from adbench.blocks.maps import Edge, gaussian_blur, patch_map, scored_by_map, top_mean, upsample


def test_upsampling_keeps_the_corners() -> None:
    patches = torch.arange(9.0).view(1, 9, 1)
    up = upsample(patches, 7)
    assert up.shape == (1, 1, 7, 7)
    assert [float(up[0, 0, y, x]) for y in (0, 3, 6) for x in (0, 3, 6)] == pytest.approx(list(range(9)))


@pytest.mark.parametrize(
    ("edge", "scipys"), [("reflect", "mirror"), ("symmetric", "reflect"), ("constant", "constant")]
)
def test_smoothing_equals_scipys(edge: Edge, scipys: str) -> None:
    maps = torch.rand(2, 40, 30, generator=torch.Generator().manual_seed(0))
    wanted = [gaussian_filter(m.numpy(), 2.0, mode=scipys, truncate=4.0) for m in maps]
    torch.testing.assert_close(
        gaussian_blur(maps, 2.0, edge=edge), torch.stack([torch.from_numpy(w) for w in wanted]), atol=1e-5, rtol=1e-5
    )


def test_smoothing_is_in_fp32_and_nothing_at_sigma_0() -> None:
    maps = torch.rand(2, 40, 30, generator=torch.Generator().manual_seed(0))
    assert torch.equal(gaussian_blur(maps, 0), maps)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(gaussian_blur(maps, 2.0), gaussian_blur(maps.double(), 2.0).float())


def test_the_border_of_smoothing_by_hand() -> None:
    maps = torch.zeros(1, 6, 6)
    maps[0, 0, :] = 1  # one bright line at the border
    e = 2.718281828**-0.5  # the weight of the next line; the kernel is e, 1, e
    for edge, first in (("reflect", 1 / (1 + 2 * e)), ("symmetric", (1 + e) / (1 + 2 * e))):
        blurred = gaussian_blur(maps, 1.0, radius=1, edge=edge)[0, :, 3]
        assert blurred.tolist() == pytest.approx([first, e / (1 + 2 * e), 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("image_score", "has_masks", "by_map"),
    [
        ("auto", True, True),
        ("auto", False, False),
        ("map_max", True, True),
        ("map_max", False, True),
        ("detection", True, False),
        ("detection", False, False),
    ],
)
def test_the_maximum_of_the_map_is_the_image_score_by_rule(image_score: str, has_masks: bool, by_map: bool) -> None:
    assert scored_by_map(image_score, has_masks) is by_map


def test_a_patch_map_is_one_channel_of_upsampling() -> None:
    scores = torch.rand(2, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(patch_map(scores, 7), upsample(scores[..., None], 7)[:, 0])


@pytest.mark.parametrize(("grid", "size"), [(2, 4), (8, 112), (7, 30)])
def test_without_aligned_corners_cells_and_pixels_cover_the_same_area(grid: int, size: int) -> None:
    scores = torch.rand(2, grid * grid, generator=torch.Generator().manual_seed(0))
    square = scores.view(2, 1, grid, grid)
    wanted = F.interpolate(square, (size, size), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(patch_map(scores, size, align_corners=False), wanted)
    assert patch_map(torch.tensor([[0.0, 4.0, 0.0, 4.0]]), 4, align_corners=False)[0, 0].tolist() == [0, 1, 3, 4]


@pytest.mark.parametrize("align_corners", [True, False])
def test_upsampling_is_torchs(align_corners: bool) -> None:
    patches = torch.rand(2, 16, generator=torch.Generator().manual_seed(0))
    wanted = F.interpolate(patches.view(2, 1, 4, 4), size=14, mode="bilinear", align_corners=align_corners)[:, 0]
    torch.testing.assert_close(patch_map(patches, 14, align_corners), wanted)


def test_a_kernel_of_three_pixels() -> None:
    maps = torch.zeros(1, 5, 5)
    maps[0, 2, 2] = 1
    edge = torch.exp(torch.tensor(-1 / 32))  # sigma 4
    row = torch.tensor([0.0, edge, 1.0, edge, 0.0]) / (1 + 2 * edge)
    torch.testing.assert_close(gaussian_blur(maps, 4.0, radius=1)[0], torch.outer(row, row))
    assert torch.equal(gaussian_blur(maps, 0.5, radius=2), gaussian_blur(maps, 0.5))


@pytest.mark.parametrize(("share", "wanted"), [(0.01, 9.0), (0.2, 8.5), (0.29, 8.5), (1.0, 4.5)])
def test_the_mean_of_the_highest(share: float, wanted: float) -> None:
    scores = torch.arange(10.0)[torch.randperm(10, generator=torch.Generator().manual_seed(0))]
    assert top_mean(torch.stack([scores, 2 * scores]), share).tolist() == pytest.approx([wanted, 2 * wanted])
