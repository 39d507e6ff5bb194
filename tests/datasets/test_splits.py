from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adbench.data.items import SPLITS, Item, count
from adbench.datasets.splits import deal
from adbench.errors import AdbenchError, DataError


def rows(label: int, patients: list[str]) -> list[Item]:
    state = ("normal", "abnormal")[label]
    return [Item(f"test/{state}/{i:02d}.png", "test", label, Path("x"), None, p) for i, p in enumerate(patients)]


def test_shares_are_met_for_each_class() -> None:
    items = rows(0, [f"n{i}" for i in range(20)]) + rows(1, [f"a{i}" for i in range(10)])
    dealt = deal(items, [0.5, 0.2, 0.3], 0)
    assert [count(dealt, split) for split in ("train", "valid", "test")] == [(10, 5), (4, 2), (6, 3)]
    assert {i.id.partition("/")[0] for i in dealt if i.split == "valid"} == {"valid"}


def test_a_patient_of_both_classes_is_dealt_with_the_abnormal_ones_and_stays_whole() -> None:
    items = rows(0, ["p", "q", "r", "s"]) + rows(1, ["p", "q", "r", "s"])
    dealt = deal(items, [0.5, 0, 0.5], 3)
    assert count(dealt, "train") == count(dealt, "test") == (2, 2)
    by_patient = {p: {i.split for i in dealt if i.patient == p} for p in "pqrs"}
    assert all(len(splits) == 1 for splits in by_patient.values())


def test_the_order_of_items_does_not_matter_and_the_seed_does() -> None:
    items = rows(0, [f"n{i}" for i in range(40)])
    first = deal(items, [0.5, 0, 0.5], 0)
    assert deal(items[::-1], [0.5, 0, 0.5], 0) == first
    assert deal(items, [0.5, 0, 0.5], 1) != first


def test_everything_is_test_without_a_share_and_no_file_is_read() -> None:
    items = [Item(f"test/normal/{n}.png", "test", 0, Path("there is no such file")) for n in "ab"]
    assert deal(items, None, 0) == deal(items, [0, 0, 1], 0) == items
    with pytest.raises(DataError, match="there is no such file cannot be read"):
        deal(items, [0.5, 0, 0.5], 0)


@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.5, 0.2, 0.2], [1.5, 0, -0.5]])
def test_impossible_shares_are_named(shares: list[float]) -> None:
    with pytest.raises(AdbenchError, match=r"dataset\.split_shares=.* is not possible: three shares .*\[0\.5,0,0\.5\]"):
        deal([], shares, 0)


def test_files_are_copies_only_if_every_byte_is_the_same(tmp_path: Path) -> None:
    middle = bytes(10_000)
    contents = {
        "a": b"1" + middle,
        "b": b"1" + middle,
        "c": b"2" + middle,
        "d": middle,
        "e": middle[:5000] + b"x" * 5000,
    }
    items = []
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        items.append(Item(f"test/normal/{name}", "test", 0, tmp_path / name))
    together = []
    for seed in range(40):
        splits = {item.path.name: item.split for item in deal(items, [0.5, 0, 0.5], seed)}
        together.append({pair for pair in ("ab", "ac", "ad", "ae", "cd") if splits[pair[0]] == splits[pair[1]]})
    assert set.intersection(*together) == {"ab"}


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=12),
    st.sampled_from([[0.5, 0, 0.5], [0.2, 0.3, 0.5], [0, 0.5, 0.5], [0, 0, 1]]),
    st.integers(0, 20),
)
def test_every_split_with_a_share_gets_a_patient_where_there_are_as_many(
    sizes: list[int], shares: list[float], seed: int
) -> None:
    items = rows(1, [f"p{number}" for number, size in enumerate(sizes) for _ in range(size)])
    filled = {item.split for item in deal(items, shares, seed)}
    wanted = {split for split, share in zip(SPLITS, shares, strict=True) if share}
    assert filled <= wanted
    if len(sizes) >= len(wanted):
        assert filled == wanted
    elif len(sizes) == 2:  # train, valid and test
        assert filled == {"train", "test"}
