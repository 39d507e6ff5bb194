"""Speed on a GPU, and how much of it is used: each method at its paper's sizes, with random weights, on phantoms.

    python benchmarks/gpu.py [--methods madclip,mvfa] [--precision bf16-mixed] [compile=true ...]
    python benchmarks/gpu.py --tiny      # this script alone, on a CPU: a small backbone and few images

One table: images a second encoded and scored, milliseconds of a training step, seconds of a whole run (one epoch). `of
peak` is model FLOPs utilisation: the FLOPs that torch counts in products and convolutions, per second, as a share of
the card's dense peak at this precision. No method is begun after `--seconds`; those left out are named.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from adbench.backbone.features import AUTOCAST, autocast
from adbench.cells.cell import Cell
from adbench.cells.datamodule import DataModule
from adbench.cells.resolve import resolve
from adbench.commands.phantom import draw_phantoms
from adbench.config.layers import standalone
from adbench.config.words import parse
from adbench.method import Method, Support
from adbench.plugins import registry
from adbench.running.cell import run_cell
from adbench.scoring.probe import counting
from adbench.scoring.score import score_images, show_test_images
from adbench.system import finite
from adbench.training.fit import new_method

# Dense TFLOP/s of the vendor's data sheets: half precision in tensor cores, and fp32 outside them, as TF32 is off.
PEAKS = {
    "H200": (989, 67), "H100 NVL": (835, 60), "H100 PCIe": (756, 51), "H100": (989, 67), "A100": (312, 19.5),
    "L40S": (362, 91.6), "RTX 4090": (165, 82.6),
}  # fmt: skip
STEPS = 20
MANY = {"valid": 64, "test": 128}  # images of the phantoms that are drawn
HEAD = (
    "method", "backbone", "pixels", "encode images/s", "of peak", "step ms", "of peak", "score images/s", "of peak",
    "run s",
)  # fmt: skip


class Measured(NamedTuple):
    """Seconds and FLOPs of one piece of work, and how many images it had."""

    seconds: float
    flops: float
    images: int


def peak(device: torch.device, precision: str, side: int) -> tuple[float, str]:
    """Return FLOP/s that the device can reach and where the number is from; of an unknown one what a product reaches.

    side: of the square matrices that are multiplied there.
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    for card, (half, full) in PEAKS.items():
        if card in name:
            tera = full if precision == "32-true" else half
            return tera * 1e12, f"{tera:g} TFLOP/s, data sheet of {card}"
    dtype = AUTOCAST[precision] or torch.float32
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    seconds = min(timed(lambda: a @ b, device) for _ in range(5))
    return 2 * side**3 / seconds, f"{2 * side**3 / seconds / 1e12:.3g} TFLOP/s, measured in a product of matrices"


def timed(work: Callable[[], Any], device: torch.device) -> float:
    """Return the wall seconds of some work, until the device is through with it."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


def measured(work: Callable[[], Any], device: torch.device, images: int) -> Measured:
    """Do some work once to warm up, count its FLOPs the second time, and take the shorter of two more times."""
    work()  # on a CPU the first call also tries which chunks of images are computed alike
    with counting() as counter:
        work()
    return Measured(min(timed(work, device) for _ in range(2)), counter.get_total_flops(), images)


def encoding(method: Method[Any], images: torch.Tensor) -> Measured:
    """Measure the frozen backbone on uint8 images that lie in the memory of the machine; nothing is cached."""
    return measured(
        lambda: method.encode(images, keep=False, stay=True), method.backbone.device, len(images)
    )  # fmt: skip


def stepping(method: Method[Any], support: Support, precision: str) -> Measured:
    """Measure `STEPS` training steps of a method: forward, backward and optimiser."""
    device = method.backbone.device
    method.prepare(support)
    method.train()
    made: Any = method.configure_optimizers()
    optimiser = made["optimizer"] if isinstance(made, dict) else made[0][0] if isinstance(made, tuple) else made
    batches = itertools.cycle(method.train_dataloader())

    def steps() -> None:
        for batch in itertools.islice(batches, STEPS):
            moved = method.transfer_batch_to_device(batch, device, 0)
            optimiser.zero_grad()
            with autocast(device, precision):
                loss = method.training_step(moved, 0)
            if loss is not None:
                loss.backward()
                optimiser.step()

    with finite.collecting(device):
        found = measured(steps, device, STEPS)
    method.eval()
    return found


def scoring(method: Method[Any], cell: Cell, data: DataModule) -> Measured:
    """Measure a pass over the test images: frozen features, scores and maps, which come back to the CPU."""
    config = cell.config
    how = cell.facts["dataset"], cell.dataset.object_name, config.batch_size, config.precision
    method.build_memory(data.support)
    if cell.capability.transductive:
        show_test_images(method, data.test.images, *how)

    def score() -> None:
        for _ in score_images(method, data.test.images, *how):
            pass

    return measured(score, method.backbone.device, len(data.test))


def row(words: list[str], images: int, device: torch.device, limit: float) -> list[str]:
    """Return the row of one method; `limit`: FLOP/s of the device."""
    (config,) = parse(words)
    cell = resolve(config)
    data = DataModule.of_cell(cell)
    data.setup()
    method = new_method(cell, device)
    noise = torch.randint(0, 256, (images, 3, cell.input_size, cell.input_size), dtype=torch.uint8)
    encoded = encoding(method, noise)
    epochs = cell.capability.epochs
    if not epochs:
        method.prepare(data.support)
    trained = stepping(method, data.support, config.precision) if epochs else None
    scored = scoring(method, cell, data)
    del method
    whole = timed(lambda: run_cell(cell, words), device)

    def share(one: Measured) -> str:
        return f"{100 * one.flops / one.seconds / limit:.1f} %"

    step = [f"{1000 * trained.seconds / STEPS:.1f}", share(trained)] if trained else ["-", "-"]
    return [
        cell.config.method, cell.backbone_name, str(cell.input_size), f"{encoded.images / encoded.seconds:.1f}",
        share(encoded), *step, f"{scored.images / scored.seconds:.1f}", share(scored), f"{whole:.1f}",
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="keys of adbench run, such as compile=true")
    parser.add_argument("--methods", default="", help="all that need no extra")
    parser.add_argument("--precision", default="", choices=["", *AUTOCAST])
    parser.add_argument("--seconds", type=float, default=570)
    parser.add_argument("--tiny", action="store_true", help="on a CPU, to try this script")
    options = parser.parse_args()
    if not (options.tiny or torch.cuda.is_available()):
        raise SystemExit("benchmarks/gpu.py needs a GPU: torch sees no CUDA device here. --tiny tries it on a CPU.")
    began = time.perf_counter()
    device = torch.device("cpu" if options.tiny else "cuda")
    precision = options.precision or ("32-true" if options.tiny else "bf16-mixed")
    every = [name for name in standalone() if not registry.entries("method")[name].foreign]
    names = options.methods.split(",") if options.methods else ["clip", "madclip"] if options.tiny else every
    torch.set_num_threads(1)
    limit, source = peak(device, precision, 256 if options.tiny else 8192)
    model = torch.cuda.get_device_name(device) if device.type == "cuda" else "a CPU"
    left = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        draw_phantoms(root / "data", "brainmri", {"train": 0, "valid": 8, "test": 8} | ({} if options.tiny else MANY))
        print(f"\n{model}, {precision}, torch {torch.__version__}; peak: {source}\n")
        print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}", flush=True)
        for name in names:
            if time.perf_counter() - began > options.seconds:
                left.append(name)
                continue
            words = [
                f"method={name}", "preset=paper", f"precision={precision}", f"data_root={root / 'data'}", "shots=16",
                "backbone.weights=random", f"cache={root / 'cache'}", f"runs={root / 'runs'}", "feature_cache=off",
                "gallery=0", f"device={device.type}", *options.words,
            ]  # fmt: skip
            if options.tiny:
                words = [word for word in words if not word.startswith(("preset=", "shots="))]
                words += ["backbone=phantom-clip", "shots=1", "cores=1"]  # as the peak is measured
                words += ["method.views=1"] if name == "madclip" else []
            words += ["method.epochs=1"] if hasattr(resolve(parse(words)[0]).params, "epochs") else []
            print(f"| {' | '.join(row(words, 8 if options.tiny else 512, device, limit))} |", flush=True)
    if left:
        print(f"\nleft out, after {options.seconds:g} s: {', '.join(left)}")


if __name__ == "__main__":
    main()
