"""Encoding on an accelerator: images in large batches, of which the next is uploaded while one is computed.

Kernels choose how they add up by the shape of their input. The sizes of batches are therefore few, follow from the
size of an image alone, and not from the memory that is free, and a smaller batch is filled up with one of its images.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from adbench.backbone import chunks
from adbench.backbone.contract import Backbone

PIXELS = 128 * 336**2  # of a largest batch
SMALL = (8, 32)  # smaller ones, as a training step and a batch of scoring ask for
T = TypeVar("T")
Compute = Callable[[Tensor], Mapping[str, Tensor]]


def sizes(side: int) -> tuple[int, ...]:
    """Return how many square images of `side` pixels a batch can have, rising; the largest holds `PIXELS` at most.

    >>> sizes(240), sizes(336), sizes(2000)
    ((8, 32, 248), (8, 32, 128), (3,))
    """
    most = max(1, PIXELS // side**2)
    largest = most // 8 * 8 or most
    return (*(size for size in SMALL if size < largest), largest)


def use_kernels(deterministic: bool) -> None:
    """Choose the kernels of this process: those that give the same bits in every run on one GPU, or the fastest.

    torch warns, once, of an operation that has no deterministic kernel.
    """
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at the first product of matrices
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # costs time, finds bugs
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = not deterministic


def compile_blocks(backbone: Backbone, compiler: str = "inductor") -> None:
    """Let torch.compile make kernels for the blocks of the image tower, in place; at the first batch of each size.

    The blocks are alike, so that one kernel serves all. Text towers and trained modules stay as they are.
    """
    for block in backbone.layers:
        block.compile(backend=compiler)


class Batch(NamedTuple):
    """Images (B, 3, H, W), of which the first `asked` count; `ready`: the event of their upload, or none."""

    images: Tensor
    asked: int
    ready: torch.cuda.Event | None = None


class Made(NamedTuple):
    """What was made of a batch, by part; `ready`: the event of its download, or none."""

    parts: dict[str, Tensor]
    ready: torch.cuda.Event | None = None


def batches(images: Tensor, allowed: tuple[int, ...]) -> Iterator[Batch]:
    """Yield images (N, 3, H, W) in their order, in batches of the largest allowed size, the last of a size that fits.

    >>> [(len(batch.images), batch.asked) for batch in batches(torch.zeros(11, 3, 2, 2), (2, 4))]
    [(4, 4), (4, 4), (4, 3)]
    """
    for some in images.split(max(allowed)):
        yield Batch(chunks.fill(some, allowed), len(some))


def ahead(items: Iterable[T]) -> Iterator[T]:
    """Yield items, each when the next one has been taken already.

    >>> taken = iter([1, 2, 3])
    >>> next(ahead(taken)), next(taken)
    (1, 3)
    """
    held: list[T] = []
    for item in items:
        yield from held
        held = [item]
    yield from held


def encoded(
    compute: Compute, images: Tensor, allowed: tuple[int, ...], device: torch.device, stay: bool = False
) -> Iterator[dict[str, Tensor]]:
    """Yield what `compute` makes of images (N, 3, H, W), by part and batch by batch: (n, ...) each, on the CPU.

    compute: from images (B, 3, H, W) on `device` to parts (B, ...) there. images: uint8 or floats, on the CPU or on the
    device. stay: the parts stay on the device. On a CPU device the batches are the same, and nothing is copied.
    """
    copied = torch.cuda.Stream(device) if device.type == "cuda" and images.device.type == "cpu" else None
    staged = ahead(_uploaded(batch, device, copied) for batch in batches(images, allowed))
    made = (_made(compute, batch, device, stay) for batch in staged)
    # A batch is waited for when the next one has been handed to the device: it never waits for this process.
    for one in ahead(made):
        if one.ready is not None:
            one.ready.synchronize()
        yield one.parts


def _uploaded(batch: Batch, device: torch.device, stream: torch.cuda.Stream | None) -> Batch:
    if stream is None:
        return batch
    with torch.cuda.stream(stream):
        images = batch.images.pin_memory().to(device, non_blocking=True)
        return Batch(images, batch.asked, stream.record_event())


def _made(compute: Compute, batch: Batch, device: torch.device, stay: bool) -> Made:
    if batch.ready is not None:
        here = torch.cuda.current_stream(device)
        here.wait_event(batch.ready)
        batch.images.record_stream(here)  # its memory is free for the next upload when this stream is through with it
    parts = {name: value[: batch.asked] for name, value in compute(batch.images).items()}
    if stay or device.type != "cuda":
        return Made(parts)
    host = {name: _pinned(value) for name, value in parts.items()}
    return Made(host, torch.cuda.current_stream(device).record_event())


def _pinned(value: Tensor) -> Tensor:
    host = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
    return host.copy_(value, non_blocking=True)
