"""Models without memory for their weights: to know their shapes and their number of parameters."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

# In-place functions by which constructors initialise weights; on a tensor without memory they take long and do nothing.
INITIALISERS = ("uniform_", "normal_", "erfinv_", "mul_", "add_", "sub_", "div_", "clamp_", "fill_", "zero_", "copy_")


class _Uninitialised(TorchFunctionMode):
    """Leaves tensors without memory as they are where they would be initialised."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        of_meta = bool(args) and isinstance(args[0], torch.Tensor) and args[0].is_meta
        if of_meta and getattr(func, "__name__", "") in INITIALISERS:
            return args[0]
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def outlines() -> Iterator[None]:
    """Build the models of the block without memory and without random numbers."""
    with torch.device("meta"), _Uninitialised():
        yield
