from __future__ import annotations

import torch

from adbench.blocks.observed import fingerprints, first_rows


def test_the_same_pixels_are_the_same_image() -> None:
    images = torch.randint(0, 256, (3, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    twin = torch.cat([images, images[:1]])
    names = fingerprints(twin)
    assert names[0] == names[3]
    assert len(set(names)) == 3
    assert fingerprints(twin.transpose(2, 3).contiguous().transpose(2, 3)) == names, "however they lie in memory"
    assert first_rows(names)[names[3]] == 0


def test_one_other_grey_value_is_another_image() -> None:
    images = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    other = images.clone()
    other[0, 2, 7, 7] = 1
    assert fingerprints(images) != fingerprints(other)
