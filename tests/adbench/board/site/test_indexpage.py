"""The first page: tables that never mix, leaks, plots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adbench.records.record import read


def test_phantom_real_leaks_and_papers_stand_apart(sections_of, pages: dict[str, Any]) -> None:
    found = {part.splitlines()[0]: part for part in sections_of(pages["index.html"])[1:]}
    assert list(found) == [
        "Phantom data",
        "Phantom data, epoch chosen on the test split (a leak)",
        "Real data",
        "Real data, test images or patients among the training data (a leak)",
        "Published figures, epoch chosen as in the papers, mostly on the test split",
    ]
    assert "mvfa" not in found["Phantom data"]
    assert all("obtained with other code" in part for name, part in found.items() if name.startswith("Published"))
    assert "Not comparable" in found["Phantom data, epoch chosen on the test split (a leak)"]
    assert "Not comparable" in pages["cells/d0.html"].text
    assert "Not comparable" in pages["cells/e1.html"].text
    assert "Not comparable" not in pages["cells/a0.html"].text


def test_the_oracles_leak_stands_in_columns_of_its_own(
    sections_of, pages: dict[str, Any], site: Path, runs: Path
) -> None:
    leak = f"{100 * ((read(runs / 'd0').metrics['image_auroc'] or 0) - 0.25):.2f}"
    marked = next(part for part in sections_of(pages["index.html"]) if "a leak" in part.splitlines()[0])
    for text in (marked, pages["cells/d0.html"].text, pages["datasets/phantom-brainmri.html"].text):
        assert "image AUROC, last epoch" in text
        assert "image AUROC, leak" in text
        assert "25.00" in text
        assert leak in text
    clean = next(part for part in sections_of(pages["index.html"]) if part.startswith("Phantom data\n"))
    assert "leak" not in clean
    assert [
        option["value"] for option in pages["index.html"].all("option") if "image_auroc_" in option.get("value", "")
    ] == ["image_auroc_last", "image_auroc_leak"]


def test_a_plot_can_be_filtered_by_its_dataset(pages: dict[str, Any]) -> None:
    plots = pages["index.html"].all("figure")
    assert [plot["data-dataset"] for plot in plots] == ["brainmri", "oct17"]
