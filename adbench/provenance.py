"""What a record says of the software and the machine that made it."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import adbench

PACKAGES = (
    "torch",
    "torchvision",
    "pytorch-lightning",
    "open_clip_torch",
    "torchmetrics",
    "omegaconf",
    "numpy",
    "pillow",
)


def code() -> dict[str, Any]:
    """Return version, commit and dirty flag of adbench's own checkout; commit and flag are none in an installed wheel.

    The checkout is looked for from the package's own place, never from the current folder.
    """
    root = Path(adbench.__file__).resolve().parent.parent
    commit = dirty = None
    if (root / ".git").exists():
        commit = _git(root, "rev-parse", "HEAD")
        status = _git(root, "status", "--porcelain", "--untracked-files=no")
        dirty = None if status is None else bool(status)
    return {"version": adbench.__version__, "commit": commit, "dirty": dirty}


def _git(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def packages() -> dict[str, str]:
    """Return the versions of Python and of the packages that can change a figure."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def device(name: str) -> dict[str, Any]:
    """Return what computed: `cpu` or `cuda`, the model, and the operating system."""
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


def peak_memory(device: str) -> dict[str, int]:
    """Return the largest resident size of this process so far, and of the accelerator's allocations, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    peak = {"host_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    if device == "cuda":
        import torch

        peak["device_bytes"] = torch.cuda.max_memory_allocated()
    return peak
