"""Pixel AUROC (and AP, F1-max, AUPRO) from histograms against scikit-learn's sort, measured side by side.

    python benchmarks/metrics.py --images 500
    python benchmarks/metrics.py --maps maps.npy          # (N, H, W) real score maps

At the default size (a whole test split) scikit-learn needs about 15 GB of memory.
Each measurement runs in a fresh process with one thread; making the maps is not timed.
"""

import argparse
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # before NumPy starts its threads

import numpy as np  # noqa: E402

from adbench.metrics import Histogram, pixel_auroc, pixel_metrics  # noqa: E402

BATCH = 64
LEVELS = 4


def batches(kind: str, images: int, size: int, maps: str | None) -> Iterator[tuple[Any, Any]]:
    """Yield (scores, masks) of up to 64 images: float32 and bool, (n, size, size), the same on every call."""
    rng = np.random.default_rng(0)
    real = np.load(maps, mmap_mode="r") if maps and kind == "maps" else None
    grid = np.linspace(0, 7, size)
    up = np.maximum(0, 1 - np.abs(grid[:, None] - np.arange(8))).astype(np.float32)  # bilinear, 8 to `size`
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    for start in range(0, images, BATCH):
        n = min(BATCH, images - start)
        cy, cx, radius = (
            rng.uniform(a, b, (n, 1, 1)).astype(np.float32) for a, b in ((0.3, 0.7), (0.3, 0.7), (0, 0.2))
        )
        masks = (y - cy) ** 2 + (x - cx) ** 2 < np.where(radius > 0.04, radius, 0) ** 2
        if kind != "maps":
            scores = rng.random((n, size, size), np.float32)
            scores = (scores + masks * 0.5) / 1.5 if kind == "uniform" else 0.5 + 1e-3 * (scores + masks * 0.5) / 1.5
        elif real is not None:
            picked = np.asarray(real[np.arange(start, start + n) % len(real)], np.float32)
            scores = picked * rng.uniform(0.9, 1.1, (n, 1, 1)) + rng.normal(0, 1e-3, picked.shape) * picked.std()
            masks = masks[:, : scores.shape[1], : scores.shape[2]]
        else:
            scores = np.zeros(masks.shape, np.float32)
            for _ in range(LEVELS):
                level = up @ rng.normal(-1, 1, (n, 8, 8)).astype(np.float32) @ up.T
                level += 2 * masks * rng.random((n, 1, 1), np.float32)
                scores += 1 / (1 + np.exp(-level))
        yield np.ascontiguousarray(scores, np.float32), masks


def peak_mb() -> float:
    """Largest resident size of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def ours(kind: str, images: int, size: int, maps: str | None) -> dict[str, float]:
    """Time the histogram, AUROC alone, and all four metrics."""
    before = peak_mb()
    hist = Histogram()
    update = 0.0
    for scores, masks in batches(kind, images, size, maps):
        start = time.perf_counter()
        hist.update(scores, masks)
        update += time.perf_counter() - start
    start = time.perf_counter()
    auroc = pixel_auroc(hist)
    one = time.perf_counter() - start
    start = time.perf_counter()
    pixel_metrics(hist)
    every = time.perf_counter() - start
    return {
        "auroc": auroc.value,
        "half_width": auroc.half_width,
        "one": update + one,
        "every": update + every,
        "state": hist.nbytes / 1e6,
        "peak": peak_mb() - before,
        "pixels": hist.n_positive + hist.n_negative,
    }


def sorted_auroc(kind: str, images: int, size: int, maps: str | None) -> dict[str, float]:
    """Time scikit-learn on all pixels at once."""
    from sklearn.metrics import roc_auc_score

    before = peak_mb()
    parts = [(scores.ravel(), masks.ravel()) for scores, masks in batches(kind, images, size, maps)]
    scores, masks = (np.concatenate(column) for column in zip(*parts, strict=True))
    del parts
    start = time.perf_counter()
    auroc = float(roc_auc_score(masks, scores))
    return {"auroc": auroc, "seconds": time.perf_counter() - start, "peak": peak_mb() - before}


def alone(measure: Any, *arguments: Any) -> dict[str, float]:
    """Run one measurement in a process of its own, so that peaks do not mix."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=3715)
    parser.add_argument("--size", type=int, default=240, help="height and width of the drawn maps")
    parser.add_argument("--maps", help="real score maps, .npy, (N, H, W); repeated with small changes")
    parser.add_argument("--repeat", type=int, default=3, help="best of this many")
    parser.add_argument("--kinds", nargs="+", default=["uniform", "maps", "narrow"])
    options = parser.parse_args()
    names = {
        "uniform": "uniform random",
        "maps": "real maps, repeated"
        if options.maps
        else "synthetic maps: 4 levels of smooth 8x8 noise, sigmoid, summed",
        "narrow": "uniform in [0.5, 0.501]",
    }
    print(f"1 thread, best of {options.repeat}; times in seconds, memory in MB\n")
    print(
        "| scores | images | pixels | scikit-learn AUROC | histogram + AUROC | + AP, F1-max, AUPRO | factor (AUROC) "
        "| difference | half-width | state | peak, scikit-learn | peak, histogram |"
    )
    print("|---" * 12 + "|")
    for kind in options.kinds:
        arguments = (kind, options.images, options.size, options.maps)
        mine = [alone(ours, *arguments) for _ in range(options.repeat)]
        other = [alone(sorted_auroc, *arguments) for _ in range(options.repeat)]
        one, every = min(m["one"] for m in mine), min(m["every"] for m in mine)
        sort = min(o["seconds"] for o in other)
        m, o = mine[0], other[0]
        print(
            f"| {names[kind]} | {options.images} | {m['pixels']:.0f} | {sort:.2f} | {one:.2f} | {every:.2f} "
            f"| {sort / one:.1f} | {abs(m['auroc'] - o['auroc']):.1e} | {m['half_width']:.1e} | {m['state']:.0f} "
            f"| {o['peak']:.0f} | {m['peak']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
