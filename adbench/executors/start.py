"""Making the executor of a sweep, whose code may be a stranger's."""

from __future__ import annotations

import contextlib

from adbench.config.schema import RunConfig
from adbench.errors import PluginError
from adbench.executors import Executor
from adbench.plugins import registry
from adbench.plugins.blame import blaming


def of(config: RunConfig, cells: int) -> Executor:
    """Return the executor that a configuration names, for so many cells."""
    made = registry.find("executor", config.executor).load()
    with naming(config, "__init__"):
        executor: Executor = made(min(config.workers, cells), config)
    for name in ("run", "close", "warm_up"):
        if not callable(getattr(executor, name, None)):
            raise PluginError(f"the executor {config.executor} has no function {name}().")
    return executor


def naming(config: RunConfig, function: str = "run") -> contextlib.AbstractContextManager[None]:
    """Turn what an executor of another package raises in the block into a PluginError that names it and `function`.

    Those that adbench brings raise sentences of their own.
    """
    foreign = registry.find("executor", config.executor).foreign
    return blaming(f"the executor {config.executor}", function) if foreign else contextlib.nullcontext()
