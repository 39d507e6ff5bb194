"""Training data by row: the batches of a DataLoader over a TensorDataset, on a CPU bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from adbench.blocks.frozen import FrozenRows
from adbench.blocks.rows import CPU, GB, Rows, common, fitting, in_batches, names_of, rows_with


def columns() -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return [
        torch.randn(11, 5, 3, generator=g), torch.arange(11), torch.rand(11, 4, 4, generator=g) > 0.5,
        torch.randn(11, 7, 4, generator=g)[:, 1:], torch.zeros(1, 1).expand(11, 2),
    ]  # fmt: skip


@pytest.mark.parametrize("batch_size", [1, 4, 11, 20])
def test_batches_and_their_order_are_those_of_a_dataloader(batch_size: int) -> None:
    data = columns()
    usual = DataLoader(
        TensorDataset(*data), batch_size, shuffle=True, generator=torch.Generator().manual_seed(3)
    )  # fmt: skip
    rows = Rows(*data).placed(CPU, 0)
    mine = in_batches(rows, batch_size, shuffle=True, generator=torch.Generator().manual_seed(3))
    for _ in range(3):
        pairs = list(zip(usual, mine, strict=True))
        for expected, batch in pairs:
            assert type(batch) is type(expected)
            for one, other in zip(batch, expected, strict=True):
                assert torch.equal(one, other)
                assert (one.dtype, one.stride()) == (other.dtype, other.stride())
    assert len(pairs) == -(-11 // batch_size)


def test_the_smallest_tensors_go_first() -> None:
    sizes = [3 * GB, 1, 2 * GB, 5 * GB]
    assert fitting(sizes, 0) == []
    assert fitting(sizes, 1) == [1]
    assert fitting(sizes, 2.1) == [1, 2]
    assert fitting(sizes, 100) == [0, 1, 2, 3]


def test_rows_of_several_lengths_are_a_mistake() -> None:
    with pytest.raises(AssertionError):
        Rows(torch.zeros(3), torch.zeros(4))


@pytest.mark.parametrize(
    ("flags", "known", "rows"),
    [
        ([True, True], None, slice(None)), ([False, False], None, None), ([True, True], True, slice(None)),
        ([False], False, None),
    ],
)  # fmt: skip
def test_rows_whose_flags_are_alike_are_no_index(flags: list[bool], known: bool | None, rows: slice | None) -> None:
    assert rows_with(torch.tensor(flags), known) == rows


def test_of_mixed_flags_the_rows_are_the_flags() -> None:
    flags = torch.tensor([True, False, True])
    assert common(flags) is None
    assert rows_with(flags, None) is flags


def test_what_is_known_is_not_read() -> None:
    unreadable = torch.empty(3, dtype=torch.bool, device="meta")
    assert rows_with(unreadable, True) == slice(None)
    assert names_of(["Brain"], unreadable) == ["Brain"] * 3
    with pytest.raises(RuntimeError, match="meta"):
        names_of(["Brain", "Liver"], unreadable)


@pytest.mark.cuda
@pytest.mark.parametrize("gb", [0, 300e-9, 1], ids=["none", "some", "all"])
def test_batches_are_on_the_gpu_wherever_the_data_lie(gb: float) -> None:
    data, gpu = columns(), torch.device("cuda")
    rows = Rows(*data).placed(gpu, gb)
    there = [tensor.device.type for tensor in rows.tensors]
    assert set(there) == {0: {"cpu"}, 1: {"cuda"}}.get(int(gb) if gb in (0, 1) else 2, {"cpu", "cuda"})
    assert all(tensor.is_pinned() for tensor in rows.tensors if tensor.device.type == "cpu")
    usual = in_batches(Rows(*data), 4, shuffle=True, generator=torch.Generator().manual_seed(3))
    mine = in_batches(rows, 4, shuffle=True, generator=torch.Generator().manual_seed(3))
    for expected, batch in zip(usual, mine, strict=True):
        for one, other in zip(batch, expected, strict=True):
            assert one.device.type == "cuda"
            assert torch.equal(one.cpu(), other)


@pytest.mark.cuda
@pytest.mark.parametrize("gb", [0, 1])
def test_held_features_are_on_the_gpu_if_all_fit(gb: float) -> None:
    images = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1)
    rows = FrozenRows(lambda some: [some.flatten(1).float()], images).placed(torch.device("cuda"), gb)
    for asked in (torch.tensor([3, 1]), torch.tensor([3, 1], device="cuda")):
        (found,) = rows[asked]
        assert found.device.type == ("cuda" if gb else "cpu")
        assert found.flatten().tolist() == [3, 1]
