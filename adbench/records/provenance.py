"""Provenance: the software and the machine that made a record."""

from __future__ import annotations

import contextlib
import functools
import platform
import resource
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from adbench._version import __version__

PACKAGES = (
    "torch",
    "torchvision",
    "pytorch-lightning",
    "open_clip_torch",
    "timm",
    "torchmetrics",
    "omegaconf",
    "numpy",
    "pillow",
)


def code() -> dict[str, Any]:
    """Return version, commit and dirty flag of adbench's own checkout; commit and flag are none in an installed wheel.

    As they were when this process first asked, which a cell does before anything else: the code that runs is that of
    then. The checkout is found from the package's location, never from the current folder.
    """
    return dict(_code())


@functools.cache
def _code() -> dict[str, Any]:
    root = Path(__file__).resolve().parents[2]
    commit = dirty = None
    if (root / ".git").exists():
        commit = _git(root, "rev-parse", "HEAD")
        status = _git(root, "status", "--porcelain", "--untracked-files=no")
        dirty = None if status is None else bool(status)
    return {"version": __version__, "commit": commit, "dirty": dirty}


def _git(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@functools.cache
def packages() -> dict[str, str]:
    """Return the versions of Python and of the packages that can change a figure."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def device(name: str) -> dict[str, Any]:
    """Return the device: `cpu` or `cuda`, its model, and the operating system."""
    import torch

    model = torch.cuda.get_device_name() if name == "cuda" else _processor()
    return {"type": name, "model": model, "system": platform.platform()}


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def reset_peak() -> None:
    """Reset this process's memory peaks, where the system allows it, so that each cell of a sweep is measured alone."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_memory(device: str) -> dict[str, int]:
    """Return the peaks since `reset_peak`: resident size of this process and accelerator allocations, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    peak = {"host_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        peak["host_bytes"] = int(line.split()[1]) * 1024
    if device == "cuda":
        import torch

        peak["device_bytes"] = torch.cuda.max_memory_allocated()
    return peak
