"""Shortcuts: what separates the classes without any lesion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from adbench.data.doctor import confounds
from adbench.data.doctor.measure import ImageStats
from adbench.data.items import Item


def slices(numbers: list[int], label: int, patient: str = "") -> list[Item]:
    names = [(patient or f"p{i % 4}", number) for i, number in enumerate(numbers)]
    return [Item(f"{p}_{n}", "test", label, Path(f"{p}_{n}.png"), patient=p) for p, n in names]


def looks(items: list[Item], **figures: Callable[[Item], object]) -> dict[Path, ImageStats]:
    base = {"width": 8, "height": 8, "mode": "L", "colour": False, "mean": 5.0, "spread": 1.0, "content": "c"}
    return {i.path: ImageStats(**base | {key: figure(i) for key, figure in figures.items()}) for i in items}  # type: ignore[arg-type]


def confound(items: list[Item], images: dict[Path, ImageStats], check: str) -> confounds.Confound:
    (one,) = (c for c in confounds.confounds(items, images) if c.check == check)
    return one


def test_slices_at_the_ends_are_distinguished_from_those_in_the_middle() -> None:
    middle = list(range(40, 60))
    ends = [*range(10), *range(90, 100)]
    items = slices(ends, 0) + slices(middle, 1)
    found = confound(items, looks(items), "slice-position")
    assert found.strong
    assert found.figures == ("test AUROC 1.00 (distance from the middle)",)
    items = slices(list(range(0, 40, 2)), 0) + slices(list(range(1, 41, 2)), 1)
    assert not confound(items, looks(items), "slice-position").strong


def test_low_slices_are_distinguished_from_high_ones() -> None:
    items = slices(list(range(20)), 0) + slices(list(range(20, 40)), 1)
    assert confound(items, looks(items), "slice-position").figures == ("test AUROC 1.00 (number)",)


def test_the_patients_own_middle_counts_where_heads_differ_in_height() -> None:
    items = []
    for base in range(0, 4000, 200):
        patient = f"p{base:04d}"
        items += slices([base, base + 100], 0, patient) + slices([base + 49, base + 51], 1, patient)
    found = confound(items, looks(items), "slice-position")
    assert found.figures == ("test AUROC 1.00 (distance from the patient's middle)",)


def test_without_patients_a_number_is_no_slice() -> None:
    items = [Item(f"{i}", "test", i // 20, Path(f"image_{i}.png")) for i in range(40)]
    assert not [c for c in confounds.confounds(items, looks(items)) if c.check == "slice-position"]


@pytest.mark.parametrize(
    ("name", "patient", "number"),
    [("00018_60", "00018", 60), ("CNV-1016042-7", "1016042", 7), ("TCGA_DU_5851_19950428_12", "TCGA_DU_5851", 12)]
    + [("00018", "00018", None), ("scan_3", None, None), ("scan_3", "p", None)],
)
def test_slice_numbers(name: str, patient: str | None, number: int | None) -> None:
    assert confounds.slice_number(Item("x", "test", 0, Path(name + ".png"), patient=patient)) == number


@pytest.mark.parametrize(
    ("check", "figures", "says"),
    [
        ("image-size", {"width": lambda i: 8 + 8 * i.label, "height": lambda i: 8}, "1.00 (pixels)"),
        (
            "image-size",
            {"width": lambda i: (4, 8)[i.label], "height": lambda i: (8, 4)[i.label]},
            "1.00 (width / height)",
        ),
        ("colour-mode", {"mode": lambda i: ("L", "RGB")[i.label]}, "1.00 (mode)"),
        ("colour-mode", {"colour": lambda i: i.label == 1}, "1.00 (mode)"),
        ("brightness", {"mean": lambda i: 90.0 - 50 * i.label}, "1.00 (mean)"),
        ("brightness", {"spread": lambda i: 3.0 + i.label}, "1.00 (spread)"),
    ],
)
def test_what_every_method_sees(check: str, figures: dict[str, Callable[[Item], object]], says: str) -> None:
    items = slices(list(range(30)), 0) + slices(list(range(30, 60)), 1)
    assert not confound(items, looks(items), check).strong
    found = confound(items, looks(items, **figures), check)
    assert found.strong
    assert says in found.figures[0]


def test_few_images_accuse_nobody() -> None:
    items = slices(list(range(9)), 0) + slices(list(range(9, 18)), 1)
    assert confounds.confounds(items, looks(items, mean=lambda i: float(i.label))) == []
    # AUROC 0.74 over 10 + 10: beyond the limit, within three standard deviations of chance (0.13 each).
    lower, upper = list(range(0, 30, 3)), list(range(8, 38, 3))
    few = slices(lower, 0) + slices(upper, 1)
    many = slices([10 * n + i for n in lower for i in range(10)], 0) + slices(
        [10 * n + i for n in upper for i in range(10)], 1
    )
    assert confounds.chance(10, 10) == pytest.approx(0.1323, abs=1e-4)
    assert not confound(few, looks(few), "slice-position").strong
    assert confound(many, looks(many), "slice-position").strong
