from __future__ import annotations

from itertools import chain

import pytest
import torch

from adbench.blocks import frozen
from adbench.blocks.frozen import FrozenRows

IMAGES = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 3, 2, 2)


class Reader:
    """Stands for a backbone: of each image its number, and ten times it as two numbers."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []

    def __call__(self, images: torch.Tensor) -> list[torch.Tensor]:
        numbers = images[:, 0, 0, 0].float()
        self.seen.append([int(number) for number in numbers])
        return [numbers, 10 * numbers[:, None].expand(-1, 2)]


@pytest.mark.parametrize("most", [10**6, 0])
def test_the_rows_are_the_same_held_and_read_back(most: int) -> None:
    rows = FrozenRows(Reader(), IMAGES, most)
    one, two = rows[torch.tensor([3, 0, 3])]
    assert one.tolist() == [3, 0, 3]
    assert two.tolist() == [[30, 30], [0, 0], [30, 30]]


def test_what_fits_is_read_once_and_what_doesnt_once_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen, "CHUNK", 2)
    bytes_of_all = 5 * 3 * 4
    for most, expected in (
        (bytes_of_all, [[0], [0, 1], [2, 3], [4]]),  # the first one alone, to know how large it is
        (bytes_of_all - 1, [[0], [4], [1, 2]]),
    ):
        reader = Reader()
        rows = FrozenRows(reader, IMAGES, most)
        rows[torch.tensor([4])], rows[torch.tensor([1, 2])]
        assert reader.seen == expected


def test_an_epoch_shows_every_row_and_repeats_them_to_the_least_number() -> None:
    rows = FrozenRows(Reader(), IMAGES)

    def shown(least: int) -> list[list[int]]:
        loader = rows.loader(2, least, torch.Generator().manual_seed(0))
        return [batch[0].tolist() for batch in loader]

    assert [len(batch) for batch in shown(0)] == [2, 2, 1]
    assert sorted(chain(*shown(0))) == [0, 1, 2, 3, 4]
    repeated = list(chain(*shown(11)))
    assert len(repeated) == 11
    assert sorted(repeated[:5]) == sorted(repeated[5:10]) == [0, 1, 2, 3, 4]
    loader = rows.loader(5, 0, torch.Generator().manual_seed(0))
    assert next(iter(loader))[0].tolist() != next(iter(loader))[0].tolist(), "each epoch has an order of its own"
