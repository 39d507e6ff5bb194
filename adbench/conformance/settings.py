"""Settings of the process that change what later cells compute in it: a look at all of them, and the way back."""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils import deterministic

FLAGS: dict[str, tuple[object, tuple[str, ...]]] = {
    "torch.backends.cudnn": (
        torch.backends.cudnn, ("enabled", "benchmark", "benchmark_limit", "deterministic", "allow_tf32"),
    ),
    "torch.backends.cuda.matmul": (
        torch.backends.cuda.matmul,
        ("allow_tf32", "allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction"),
    ),
    "torch.backends.mkldnn": (torch.backends.mkldnn, ("enabled", "deterministic")),
    "torch.backends.opt_einsum": (torch.backends.opt_einsum, ("enabled", "strategy")),
    "torch.utils.deterministic": (deterministic, ("fill_uninitialized_memory",)),
}  # fmt: skip

# What Lightning, scikit-learn and OpenCV set for themselves, and no result depends on.
HARMLESS = ("PL_", "LIGHTNING_", "KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "QT_QPA_")

# Whose functions and classes papers' code replaces.
PATCHED: dict[str, object] = {
    "torch": torch,
    "torch.Tensor": torch.Tensor,
    "torch.nn.functional": nn.functional,
    "torch.linalg": torch.linalg,
    "numpy": np,
    **{f"torch.nn.{name}": value for name, value in vars(nn).items() if inspect.isclass(value)},
}


def _cudas() -> dict[str, tuple[Callable[[], object], Callable[[Any], object]]]:
    attention = torch.backends.cuda
    return {
        f"torch.backends.cuda.{kind}_sdp_enabled()": (
            getattr(attention, f"{kind}_sdp_enabled"),
            getattr(attention, f"enable_{kind}_sdp"),
        )
        for kind in ("flash", "mem_efficient", "math", "cudnn")
    }


# How each is read, and set.
FUNCTIONS: dict[str, tuple[Callable[[], object], Callable[[Any], object]]] = {
    "torch.get_default_dtype()": (torch.get_default_dtype, torch.set_default_dtype),
    "torch.get_default_device()": (torch.get_default_device, torch.set_default_device),
    "torch.get_num_threads()": (torch.get_num_threads, torch.set_num_threads),
    "torch.get_float32_matmul_precision()": (
        torch.get_float32_matmul_precision, torch.set_float32_matmul_precision,
    ),
    "torch.get_deterministic_debug_mode()": (
        torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode,
    ),
    "torch.is_grad_enabled()": (torch.is_grad_enabled, torch.set_grad_enabled),
    "torch.is_anomaly_enabled()": (torch.is_anomaly_enabled, torch.set_anomaly_enabled),
    "torch.get_autocast_dtype('cpu')": (
        partial(torch.get_autocast_dtype, "cpu"), partial(torch.set_autocast_dtype, "cpu"),
    ),
    "torch.get_autocast_dtype('cuda')": (
        partial(torch.get_autocast_dtype, "cuda"), partial(torch.set_autocast_dtype, "cuda"),
    ),
    "torch.is_autocast_enabled('cpu')": (
        partial(torch.is_autocast_enabled, "cpu"), partial(torch.set_autocast_enabled, "cpu"),
    ),
    "torch.backends.mha.get_fastpath_enabled()": (
        torch.backends.mha.get_fastpath_enabled, torch.backends.mha.set_fastpath_enabled,
    ),
    **_cudas(),
    "numpy.geterr()": (np.geterr, lambda kept: np.seterr(**kept)),
    "os.getcwd()": (os.getcwd, os.chdir),
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """The settings of this process: values by name, environment, and what the patched modules and classes hold."""

    values: dict[str, object]
    environment: dict[str, str]
    names: dict[str, dict[str, object]]


def settings() -> Settings:
    """Return the settings of this process now."""
    return Settings(_values(), dict(os.environ), {where: dict(vars(holder)) for where, holder in PATCHED.items()})


def _values() -> dict[str, object]:
    values: dict[str, object] = {name: read() for name, (read, _) in FUNCTIONS.items()}
    for where, (holder, names) in FLAGS.items():
        values |= {f"{where}.{name}": getattr(holder, name) for name in names}
    values["torch.set_flush_denormal"] = _flushes_denormals()
    return values


def set_back(before: Settings) -> list[str]:
    """Set every setting to what it was, and return what had changed, a phrase each."""
    return [*_values_back(before.values), *_environment_back(before.environment), *_names_back(before.names)]


@contextlib.contextmanager
def unchanged(seen: list[str]) -> Iterator[None]:
    """Set back, when the block is over, every setting that it changed; `seen` takes a phrase for each."""
    before = settings()
    try:
        yield
    finally:
        seen += set_back(before)


def _values_back(before: dict[str, object]) -> Iterator[str]:
    now = _values()
    for name, value in before.items():
        if now[name] == value:
            continue
        where, _, leaf = name.rpartition(".")
        if name in FUNCTIONS:
            FUNCTIONS[name][1](value)
        elif where in FLAGS:
            setattr(FLAGS[where][0], leaf, value)
        else:
            torch.set_flush_denormal(bool(value))
        yield f"{name}, which was {value} and is {now[name]}"


def _environment_back(before: dict[str, str]) -> Iterator[str]:
    for name in sorted(before.keys() | os.environ.keys()):
        was, now = before.get(name), os.environ.get(name)
        if was == now or name.startswith(HARMLESS):
            continue
        if was is None:
            del os.environ[name]
        else:
            os.environ[name] = was
        yield f"the variable {name} of the environment"


def _names_back(before: dict[str, dict[str, object]]) -> Iterator[str]:
    for where, names in before.items():
        holder = PATCHED[where]
        now = vars(holder)
        if now == names:  # the same objects, which is quick
            continue
        for name, value in names.items():
            if callable(value) and now.get(name) is not value:
                setattr(holder, name, value)
                yield f"{where}.{name}, which is another function"


def _flushes_denormals() -> bool:
    smallest = float(np.finfo(np.float64).tiny)
    return smallest / 2 == 0
