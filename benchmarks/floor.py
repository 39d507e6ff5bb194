"""Is a backbone worth anything? The main job over three draws beside two floors, on one data root.

    python benchmarks/floor.py --data-root /path/to/BMAD [--dataset brainmri] [--method madclip] [--draws 0,1,2]

The floors: the raw intensity of a pixel as its score (the image score is the largest one), and the same method on the
same architecture with random weights.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from adbench.cells.resolve import resolve
from adbench.commands.run import run_words
from adbench.config import words as config
from adbench.data import arrays
from adbench.metrics import Histogram, image_metrics, pixel_metrics
from adbench.records.record import Record, read_all

FIGURES = ("image_auroc", "pixel_auroc", "pixel_aupro")


def intensity(words: list[str]) -> dict[str, float | None]:
    """Score the test split by grey value alone."""
    cell = resolve(config.parse(words)[0])
    size, cache = cell.eval_size, cell.config.cache_dir
    grey = arrays.images(cell.test, cell.hashes, cache, size, "bicubic", True, "test")[..., 0].astype(np.float32)
    masks = arrays.masks(cell.test, cell.hashes, cache, size, cell.dataset, "test")[0] > 0
    histogram = Histogram()
    histogram.update(grey, masks)
    labels = [item.label for item in cell.test]
    pixel = {name: estimate.value for name, estimate in pixel_metrics(histogram).items()}
    return image_metrics(grey.reshape(len(grey), -1).max(1), labels) | pixel


def line(title: str, figures: list[dict[str, float | None]]) -> str:
    texts = []
    for name in FIGURES:
        values = [100 * (f[name] or float("nan")) for f in figures]
        spread = f" ± {np.std(values, ddof=1):.2f} ({len(values)})" if len(values) > 1 else ""
        texts.append(f"{np.mean(values):.2f}{spread}")
    return f"| {title} | {' | '.join(texts)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", default="phantom")
    parser.add_argument("--dataset", default="brainmri")
    parser.add_argument("--method", default="madclip")
    parser.add_argument("--draws", default="0,1,2")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        words = [
            f"method={options.method}", "shots=16", f"dataset={options.dataset}", f"data_root={options.data_root}",
        ]  # fmt: skip
        found: dict[str, list[Record]] = {}
        for weights in ([], ["backbone.weights=random"]):
            runs = Path(scratch) / "-".join(["runs", *weights])
            run_words([*words, f"draw={options.draws}", f"runs={runs}", *weights])
            found[weights[0] if weights else "phantom-clip"] = read_all(runs)
        print(f"\n| {options.method}, {options.dataset}, {options.data_root} | image AUROC | pixel AUROC | AUPRO |")
        print("|---|---|---|---|")
        for title, records in found.items():
            print(line(title, [record.metrics for record in records]))
        print(line("raw intensity", [intensity(words)]))


if __name__ == "__main__":
    main()
