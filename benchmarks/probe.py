"""What `before_after.py` runs in each of two trees of adbench: seconds of encoding, training steps and a test pass.

    python benchmarks/probe.py encode,step,test method=madclip shots=16 ...

Prints one line of JSON. It asks only for what commits since 7705c91 have in common.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

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


def main() -> None:
    stages, words = sys.argv[1].split(","), sys.argv[2:]
    cell = resolve(parse(words)[0])
    support, test = data_of(cell)
    method = new_method(cell, torch.device("cpu"))
    found: dict[str, float] = {}
    pixels = torch.from_numpy(test[:IMAGES].transpose(0, 3, 1, 2).copy())
    if "encode" in stages:
        found["encode"] = second_time(lambda: method.encode(pixels)) / len(pixels)
    if "step" in stages:
        method.prepare(support)
        method.train()
        made = method.configure_optimizers()
        optimiser = made["optimizer"] if isinstance(made, dict) else made[0][0] if isinstance(made, tuple) else made
        seconds = []
        for batch in itertools.islice(itertools.cycle(method.train_dataloader()), STEPS + 1):
            start = time.perf_counter()
            optimiser.zero_grad()
            method.training_step(batch, 0).backward()
            optimiser.step()
            seconds.append(time.perf_counter() - start)
        found["step"] = sorted(seconds[1:])[STEPS // 2]
    if "test" in stages:
        method = new_method(cell, torch.device("cpu"))
        fit(method, support, cell.config, torch.device("cpu"))
        how = cell.config.dataset, cell.dataset.object_name, 8, cell.config.precision
        found["test"] = second_time(lambda: list(score_images(method, test[:IMAGES], *how))) / IMAGES
    print(json.dumps(found))


if __name__ == "__main__":
    main()
