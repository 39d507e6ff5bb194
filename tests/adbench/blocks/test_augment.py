from __future__ import annotations

import torch

from adbench.blocks.augment import colour_jitter, fixed_views


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


def test_jitter_is_one_factor_for_the_stack_and_contrast_is_per_column() -> None:
    images = torch.rand(2, 3, 6, 5, generator=generator()) * 0.5 + 0.2
    brightness, contrast = (1 + 0.2 * (2 * torch.rand(2, generator=generator()) - 1)).tolist()
    bright = images * brightness
    column = bright.mean(dim=(1, 2), keepdim=True)
    wanted = ((bright - column) * contrast + column).clamp(0, 1)
    torch.testing.assert_close(colour_jitter(images, generator()), wanted)
    assert torch.equal(colour_jitter(images, generator()), colour_jitter(images, generator()))
