"""What enters the first block of a tower: the output of the layer before it, for the thread that asks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

from torch import Tensor, nn


class _Asked(threading.local):
    """The outputs that this thread collects, or none."""

    outputs: list[Tensor] | None = None


_asked = _Asked()
_watched: WeakSet[nn.Module] = WeakSet()
_lock = threading.Lock()


@contextmanager
def entering(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what a layer puts out in this thread; several threads may run it."""
    with _lock:  # one hook for all: torch doesn't allow that hooks change while another thread runs the layer
        if layer not in _watched:
            layer.register_forward_hook(_keep)
            _watched.add(layer)
    outputs: list[Tensor] = []
    _asked.outputs = outputs
    try:
        yield outputs
    finally:
        _asked.outputs = None


def _keep(_layer: nn.Module, _given: Any, output: Tensor) -> None:
    if _asked.outputs is not None:
        _asked.outputs.append(output)
