"""What `before_after.py` runs in each of two trees of adbench: seconds of encoding, training steps and a test pass.

    python benchmarks/probe.py encode,step,test,flops method=madclip shots=16 ...

Prints one line of JSON. It asks only for what commits since 7705c91 have in common. `flops`, for this tree, adds how
many FLOPs each stage has, and how many a second all cores do in a product of ViT-L's size.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

try:
    from adbench.cells.datamodule import DataModule
    from adbench.cells.resolve import resolve
    from adbench.config.words import parse
    from adbench.scoring.score import score_images
    from adbench.training.fit import fit, new_method

    BEFORE = False
except ImportError:  # 7705c91
    from adbench.cell import resolve
    from adbench.config import parse
    from adbench.scorer import score_images, test_images
    from adbench.training.fit import fit, load_support, new_method

    BEFORE = True

STEPS, IMAGES = 6, 32
FEW = 8  # images whose FLOPs are counted
ROWS, WIDTH, HIDDEN = 8 * 65, 1024, 4096  # of a product of ViT-L: eight images of 112 pixels


def data_of(cell: Any) -> tuple[Any, Any]:
    """Return the support, and the test images (N, H, W, 3)."""
    if BEFORE:
        return load_support(cell), test_images(cell)
    data = DataModule.of_cell(cell)
    data.setup()
    return data.support, data.test.images


def second_time(work: Callable[[], Any]) -> float:
    """Return the seconds of some work, done once before: that asks for memory, and which chunks are computed alike."""
    work()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def flops(work: Callable[[], Any]) -> float:
    """Return the FLOPs of some work, those of products and attention."""
    from adbench.scoring.probe import counting

    with counting() as counter:
        work()
    return float(counter.get_total_flops())


def rate(repeats: int = 40) -> float:
    """Return the FLOPs a second that all cores do together, each in products of its own: the best of five times."""
    from adbench.system import cores

    rows, weights = torch.rand(ROWS, WIDTH), torch.rand(HIDDEN, WIDTH)
    work = [None] * cores.number() * repeats
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        list(cores.each(lambda _: F.linear(rows, weights), work))
        seconds.append(time.perf_counter() - start)
    return 2 * ROWS * WIDTH * HIDDEN * len(work) / min(seconds)


def main() -> None:
    stages, words = sys.argv[1].split(","), sys.argv[2:]
    cell = resolve(parse(words)[0])
    support, test = data_of(cell)
    method = new_method(cell, torch.device("cpu"))
    found: dict[str, float] = {}
    pixels = torch.from_numpy(test[:IMAGES].transpose(0, 3, 1, 2).copy())
    if "encode" in stages:
        found["encode"] = second_time(lambda: method.encode(pixels)) / len(pixels)
        if "flops" in stages:
            found["encode flops"] = flops(lambda: method.encode(pixels[:FEW])) / FEW
    if "step" in stages:
        method.prepare(support)
        method.train()
        made = method.configure_optimizers()
        optimiser = made["optimizer"] if isinstance(made, dict) else made[0][0] if isinstance(made, tuple) else made
        seconds = []

        def step(batch: Any) -> None:
            optimiser.zero_grad()
            method.training_step(batch, 0).backward()
            optimiser.step()

        for batch in itertools.islice(itertools.cycle(method.train_dataloader()), STEPS + 1):
            start = time.perf_counter()
            step(batch)
            seconds.append(time.perf_counter() - start)
        found["step"] = sorted(seconds[1:])[STEPS // 2]
        if "flops" in stages:
            found["step flops"] = flops(lambda: step(batch))
    if "test" in stages:
        method = new_method(cell, torch.device("cpu"))
        fit(method, support, cell.config, torch.device("cpu"))
        how = cell.config.dataset, cell.dataset.object_name, 8, cell.config.precision
        found["test"] = second_time(lambda: list(score_images(method, test[:IMAGES], *how))) / IMAGES
        if "flops" in stages:
            found["test flops"] = flops(lambda: list(score_images(method, test[:FEW], *how))) / FEW
    if "flops" in stages:
        found["rate"] = rate()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
