"""Traces of a method: files that it opens or keeps, and tensors that stay alive."""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import mmap
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adbench.method import Method

CODE = (".py", ".pyc", ".so", ".pyd", ".dll", ".dylib")
SYSTEM = ("/proc", "/sys", "/dev")
_listeners: list[list[str]] = []


@functools.cache
def _listen() -> None:
    """Tell the listeners of every file that Python opens. An audit hook stays for good: it is installed once."""

    def record_open(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and _listeners and isinstance(arguments[0], (str, bytes, os.PathLike)):
            _listeners[-1].append(os.fsdecode(arguments[0]))

    sys.addaudithook(record_open)


@contextlib.contextmanager
def opened() -> Iterator[list[str]]:
    """Yield a list that holds, after the block, the files it has opened; Python's own code doesn't count."""
    _listen()
    files: list[str] = []
    paths: list[str] = []
    _listeners.append(paths)
    try:
        yield files
    finally:
        _listeners.pop()
        files += [name for name in paths if not name.endswith(CODE) and not name.startswith(SYSTEM)]


def held(method: Method[Any], most: int = 20_000) -> list[str]:
    """Return the files and paths that a method's attributes lead to, each with the way there.

    Containers and objects are followed, at most `most` of them; tensors, modules' parameters, the backbone and the
    Trainer are not.
    """
    leads: list[str] = []
    seen: set[int] = set()
    waiting: list[tuple[str, Any]] = [
        (f"self.{name}", value)
        for name, value in vars(method).items()
        if name not in ("backbone", "_frozen", "_trainer", "_fabric", "_parameters", "_buffers")
    ]
    while waiting and len(seen) < most:
        way, thing = waiting.pop()
        leaf = isinstance(thing, (type, Tensor, int, float, bytes))
        if leaf or id(thing) in seen or (callable(thing) and not isinstance(thing, torch.nn.Module)):
            continue
        seen.add(id(thing))
        if description := _file(thing):
            leads.append(f"{description} as {way}")
        elif isinstance(thing, dict):
            waiting += [(f"{way}[{key!r}]", value) for key, value in thing.items()]
        elif isinstance(thing, (list, tuple, set, frozenset)):
            waiting += [(f"{way}[{i}]", value) for i, value in enumerate(thing)]
        elif hasattr(thing, "__dict__"):
            waiting += [(f"{way}.{name}", value) for name, value in vars(thing).items()]
    return leads


def _file(thing: Any) -> str | None:
    if isinstance(thing, io.IOBase):
        return f"the file {getattr(thing, 'name', thing)!r}"
    if isinstance(thing, (np.memmap, mmap.mmap)):
        return f"the memory-mapped file {getattr(thing, 'filename', '')!r}"
    if isinstance(thing, Path) or (isinstance(thing, str) and os.path.isabs(thing) and os.path.exists(thing)):
        return f"the path {str(thing)!r}"
    return None


def growth(action: Callable[[], None], times: int = 3) -> tuple[int, int]:
    """Return how many more tensors, and bytes in them, are alive after `times` calls of `action` than before them.

    As many calls go before: what they leave, such as text vectors or the latest batch, isn't growth.
    """
    gc.freeze()  # what is there already is out of sight, which makes looking fast
    try:
        for _ in range(times):
            action()
        before = _alive()
        for _ in range(times):
            action()
        after = _alive()
    finally:
        gc.unfreeze()
    return after[0] - before[0], after[1] - before[1]


def _alive() -> tuple[int, int]:
    gc.collect()
    tensors = [thing for thing in gc.get_objects() if issubclass(type(thing), Tensor)]
    return len(tensors), sum(tensor.numel() * tensor.element_size() for tensor in tensors)
