"""adbench: few-shot and zero-shot anomaly detection in medical images, compared fairly.

The names below are loaded when they are first used: `import adbench` imports no torch.
"""

import time
from typing import TYPE_CHECKING, Any

from adbench._version import __version__

IMPORTED = time.time_ns()  # before any other module of adbench and of methods, whose files may change later

if TYPE_CHECKING:
    from adbench.api import leaderboard, plan, run
    from adbench.backbone.config import Architecture
    from adbench.backbone.contract import Features
    from adbench.cells.datamodule import DataModule
    from adbench.data.support import FewShotSampler
    from adbench.errors import AdbenchError
    from adbench.method import Batch, Capability, Method, Scores, Support
    from adbench.metrics.modules import ImageScores, PixelHistogram
    from adbench.records.record import Record, read_all
    from adbench.running.apply import Fitted, load

_HOMES = {
    "AdbenchError": "errors",
    "Architecture": "backbone.config",
    "Batch": "method",
    "Capability": "method",
    "DataModule": "cells.datamodule",
    "Features": "backbone.contract",
    "FewShotSampler": "data.support",
    "Fitted": "running.apply",
    "ImageScores": "metrics.modules",
    "Method": "method",
    "PixelHistogram": "metrics.modules",
    "Record": "records.record",
    "Scores": "method",
    "Support": "method",
    "leaderboard": "api",
    "load": "running.apply",
    "plan": "api",
    "read_all": "records.record",
    "run": "api",
}
__all__ = [
    "AdbenchError",
    "Architecture",
    "Batch",
    "Capability",
    "DataModule",
    "Features",
    "FewShotSampler",
    "Fitted",
    "ImageScores",
    "Method",
    "PixelHistogram",
    "Record",
    "Scores",
    "Support",
    "__version__",
    "leaderboard",
    "load",
    "plan",
    "read_all",
    "run",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"adbench.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'adbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
