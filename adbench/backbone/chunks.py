"""Chunks: how many images go through a backbone at once on a CPU.

Kernels choose how they add up by the shape of their input. The sizes of chunks are therefore few and fixed, smaller
chunks are filled up with one of their images, and a backbone is asked, once on each machine, whether an image's
features are the same bits in chunks of all sizes and at all places.
"""

from __future__ import annotations

import functools
import json
import platform
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from adbench.data.fingerprint import digest
from adbench.system.files import write_atomically

SIZES = (1, 2, 4, 8)
LARGEST = SIZES[-1]
ALONE = (1,)
_known: dict[str, tuple[int, ...]] = {}
Compute = Callable[[Tensor], Mapping[str, Tensor]]


def sizes(compute: Compute, name: str, side: int, folder: Path | None) -> tuple[int, ...]:
    """Return the sizes of chunks, rising, in which images of `side` pixels have the same features in any company.

    compute: from (B, 3, side, side) uint8 to features by their parts. name: of the backbone, its settings and the
    parts, for which the answer is remembered: in this process, and on this machine in `folder`.
    """
    if name not in _known:
        file = folder / "chunks" / f"{digest(f'{machine()} {name}')[:16]}.json" if folder else None
        kept = _read(file) if file else None
        _known[name] = kept or _tried(compute, side)
        if file is not None and kept is None:
            write_atomically(file, json.dumps(_known[name]).encode())
    return _known[name]


def fill(images: Tensor, allowed: tuple[int, ...]) -> Tensor:
    """Return (B, ...) images with copies of the first up to the next allowed size.

    >>> fill(torch.tensor([3, 5, 7]), (2, 8)).tolist()
    [3, 5, 7, 3, 3, 3, 3, 3]
    """
    size = min(size for size in allowed if size >= len(images))
    return torch.cat([images, images[:1].expand(size - len(images), *images.shape[1:])])


def shared(count: int, allowed: tuple[int, ...], cores: int) -> list[int]:
    """Return the sizes of the chunks, falling, by which so many images keep no core waiting.

    Chunks are of the largest size while there is one for each core; what is left is dealt to the cores. A core's last
    chunk may be smaller than any that is allowed: `fill` fills it up. Images have the same features in chunks of all
    allowed sizes, so this changes no bit.

    >>> shared(11, (1, 2, 4, 8), cores=2), shared(19, (1, 2, 4, 8), cores=2), shared(5, (4, 8), cores=1)
    ([4, 4, 2, 1], [8, 8, 2, 1], [4, 1])
    """
    largest = max(allowed)
    whole = count // (largest * cores) * cores
    left, sizes = count - whole * largest, []
    for core in range(cores):
        share = left // cores + (core < left % cores)
        while share:
            sizes.append(max((size for size in allowed if size <= share), default=share))
            share -= sizes[-1]
    return [largest] * whole + sorted(sizes, reverse=True)


def noise(count: int, side: int) -> Tensor:
    """Return (count, 3, side, side) uint8 images of noise, always the same ones."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)


def _tried(compute: Compute, side: int) -> tuple[int, ...]:
    some = noise(LARGEST, side)
    whole, turned = compute(some), compute(some.flip(0))
    if not all(torch.equal(value, turned[part].flip(0)) for part, value in whole.items()):
        return ALONE
    found = [LARGEST]
    for size in reversed(SIZES[:-1]):  # the product that makes embeddings of few images is often another kernel
        few = compute(some[:size])
        if not all(torch.equal(value[:size], few[part]) for part, value in whole.items()):
            break
        found.insert(0, size)
    return tuple(found)


@functools.cache
def machine() -> str:
    """Name the kind of processor, by which what was measured here is remembered in a folder that machines share."""
    return f"{platform.machine()} {platform.processor()} {torch.backends.cpu.get_cpu_capability()} {_model()}"


def _model() -> str:
    """Return the processor's name as Linux says it; elsewhere nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith("model name")), "")


def _read(file: Path) -> tuple[int, ...] | None:
    try:
        kept = tuple(json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return kept if kept in (ALONE, *(SIZES[start:] for start in range(len(SIZES)))) else None
