"""Methods without training: time of `score` alone, its features in memory, and of MuSc's look at many test images.

    python benchmarks/training_free.py [--shots 16] [--repeat 20] [--images 1000]

phantom-clip, brainmri, one thread; maps at the input size of 112 pixels. Run it with nothing else running.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # before NumPy starts its threads

import torch  # noqa: E402

from adbench.backbone.clip import Features  # noqa: E402
from adbench.cells.datamodule import DataModule  # noqa: E402
from adbench.cells.resolve import resolve  # noqa: E402
from adbench.config.words import parse  # noqa: E402
from adbench.data.image_set import to_tensor  # noqa: E402
from adbench.method import Batch, Method  # noqa: E402
from adbench.training.fit import device_of, fit, new_method  # noqa: E402

GOAL = 2.0  # ms an image, of AnomalyDINO and SubspaceAD
METHODS = ("anomalydino", "anomalydino method.rotations=8", "subspacead", "patchcore")


def fitted(words: list[str]) -> tuple[Method, torch.Tensor]:
    """Return a method as a run fits it, and the test images as it sees them."""
    cell = resolve(parse(words)[0])
    data = DataModule.of_cell(cell)
    data.setup()
    method = new_method(cell, device_of(cell.config))
    fit(method, data.support, cell.config, method.backbone.device)
    return method.eval(), to_tensor(data.test.images[:])


@torch.no_grad()
def milliseconds(method: Method, images: torch.Tensor, repeat: int) -> float:
    """Return the shortest of `repeat` times of `score`, per image of one batch."""
    batch = Batch.of(method, images, "brainmri", "Brain")
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        method.score(batch)
        times.append(time.perf_counter() - start)
    return 1000 * min(times) / len(images)


def noise(method: Method, count: int) -> list[Batch]:
    """Return batches of 50 images of one dot each, and tokens that no backbone made."""
    g, shape, patches = torch.Generator().manual_seed(0), method.backbone.architecture, method.backbone.grid**2
    batches = []
    for start in range(0, count, 50):
        images = torch.zeros(50, 3, 112, 112, dtype=torch.uint8)
        images.view(50, -1)[torch.arange(50), start + torch.arange(50)] = 255
        blocks = {block: torch.randn(50, 1 + patches, shape.width, generator=g) for block in method.blocks}
        features = Features(blocks, torch.randn(50, shape.embed_dim, generator=g))
        batches.append(Batch(images, features, ("brainmri",) * 50, ("Brain",) * 50))
    return batches


def peak_gb() -> float:
    """Largest resident size of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shots", type=int, default=16)
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--images", type=int, default=1000, help="that MuSc compares, 50 at least; 0: none")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| score, {options.shots} shots | ms per image, 32 in a batch | alone |\n|---|---|---|")
    for words in METHODS:
        method, images = fitted([*f"method={words}".split(), f"shots={options.shots}"])
        many, alone = (milliseconds(method, images[:n], options.repeat) for n in (32, 1))
        print(f"| {words} | {many:.2f} | {alone:.2f} |", flush=True)
    print(f"\nthe goal of anomalydino and subspacead is {GOAL:g} ms")
    if options.images:
        method, _ = fitted(["method=musc"])
        batches, before, start = noise(method, options.images), peak_gb(), time.perf_counter()
        method.observe_test_images(batches)
        wall = time.perf_counter() - start
        count = sum(len(batch.images) for batch in batches)
        print("\n| musc, images compared | wall s | peak GB before | peak GB |\n|---|---|---|---|")
        print(f"| {count} | {wall:.1f} | {before:.2f} | {peak_gb():.2f} |")


if __name__ == "__main__":
    main()
