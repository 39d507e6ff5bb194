"""adbench: few-shot and zero-shot anomaly detection in medical images, compared fairly.

The public names below are loaded when they are first used: `import adbench` imports no torch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adbench.apply import load
    from adbench.method import Batch, Capability, Method, Scores, Support
    from adbench.record import Record, read_all

__version__ = "0.1.0"
__all__ = ["Batch", "Capability", "Method", "Record", "Scores", "Support", "load", "read_all"]

_HOMES = {"load": "apply", "Record": "record", "read_all": "record"}


def __getattr__(name: str) -> Any:
    if name in __all__:
        from importlib import import_module

        return getattr(import_module(f"adbench.{_HOMES.get(name, 'method')}"), name)
    raise AttributeError(f"module 'adbench' has no attribute {name!r}")
