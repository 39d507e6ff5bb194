"""One cell on several devices of this machine (`trainer.devices=`): one process for each.

All of them run the same code from the same seeds; they share the batches of the training (training/ddp.py) and of the
scoring (scoring/evaluate.py), and process 0 alone writes. Lightning's own launchers run the whole command again or
pickle the method; neither works inside a sweep, so adbench starts the processes and tells Lightning that they exist.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adbench.config.schema import RunConfig
from adbench.config.trainer import num_devices
from adbench.errors import AdbenchError, DataError
from adbench.records import record
from adbench.system.processes import Child, begin_child, redirect_output, warm_up, with_news

if TYPE_CHECKING:  # a child sets the environment before torch is imported
    from adbench.cells.cell import Cell

PATIENCE = timedelta(days=7)  # process 0 may wait for hours for a training that another command is at
Notice = Callable[[str], None]


def run(cell: Cell, words: Sequence[str], notice: Notice | None = None, began: float = math.inf) -> record.Record:
    """Run a cell and return its record: in this process, or in one for each of its devices.

    `words` are kept as what was asked, `notice` is called with the name of each stage; `began`: see `run_cell`.
    """
    if num_devices(cell.config.words("trainer")) == 1:
        from adbench.running.cell import run_cell

        return run_cell(cell, words, notice, began)
    launch(cell, words, notice, began)
    return record.read(Path(cell.config.runs) / cell.key)


def launch(cell: Cell, words: Sequence[str], notice: Notice | None, began: float) -> None:
    """Run a cell in a process for each device; its record is written when this returns.

    The first process that fails ends the others, and its error is raised here.
    """
    from adbench.system.files import tidy
    from adbench.training.fit import device_of

    n = num_devices(cell.config.words("trainer"))
    if device_of(cell.config).type == "cuda":
        import torch

        if n > torch.cuda.device_count():
            raise AdbenchError(
                f"trainer.devices={n} is not possible: torch sees {torch.cuda.device_count()} CUDA devices here. "
                "Use fewer, or device=cpu."
            )
    # Lightning would set the number of threads otherwise.
    environment = os.environ | {"OMP_NUM_THREADS": str(cell.config.threads)}
    children: list[Child] = []
    with _no_warnings_of_unused_parameters():
        warm_up()
    with tempfile.TemporaryDirectory() as folder:
        try:
            for number in range(n):
                place = number, n, Path(folder) / "meeting"
                job = cell.config, cell.key, tuple(words), _log(), began
                children.append(Child(_serve, dict(environment), place, *job))
            _listen(children, notice)
            for child in children:
                child.process.join(60)
        except BaseException:
            _kill(children)
            tidy(Path(cell.config.runs))
            raise
        finally:
            _kill(children)


@contextlib.contextmanager
def _no_warnings_of_unused_parameters() -> Iterator[None]:
    """Keep torch in the processes to come from printing that a method left no parameter without a gradient."""
    name = "TORCH_CPP_LOG_LEVEL"
    before = os.environ.get(name)
    os.environ[name] = before or "ERROR"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]


def _kill(children: Sequence[Child]) -> None:
    for child in children:
        child.kill()


def _listen(children: Sequence[Child], notice: Notice | None) -> None:
    """Pass stages on until every process has finished; raise what stopped one."""
    running = list(children)
    while running:
        failures: list[Exception] = []
        for child in with_news(running):
            word, value = child.receive()
            if word == "stage" and notice:
                notice(value)
            elif word == "finished":
                running.remove(child)
            elif word == "failed":
                failures.append(value)
            elif word == "died":
                number = children.index(child)
                failures.append(AdbenchError(f"the process of device {number} of {len(children)} {value}."))
        # Where one stops, the others lose the connection and say so: an error that adbench knows is the cause.
        for error in sorted(failures, key=lambda error: not isinstance(error, AdbenchError)):
            raise error


def _log() -> str | None:
    """Return the file that takes what a cell of a sweep prints, where it is this process's standard error."""
    name = getattr(sys.stderr, "name", None)
    return name if isinstance(name, str) and Path(name).is_file() else None


def _serve(
    pipe: Connection[Any, Any], environment: dict[str, str], place: tuple[int, int, Path], config: RunConfig, key: str,
    words: Sequence[str], log: str | None, began: float,
) -> None:  # fmt: skip
    """Run the share of one process; `place` is its number, how many there are, and where they meet."""
    begin_child(environment)
    number, n, meeting = place
    if log or number:
        redirect_output(Path(log or os.devnull), append=True)
    try:
        import torch.distributed as group

        from adbench.cells.resolve import resolve
        from adbench.running.cell import run_cell, take_part

        group.init_process_group(_backend(config), f"file://{meeting}", PATIENCE, n, number)
        cell = resolve(config)
        if cell.key != key:
            raise DataError(f"{config.dataset} or its weights changed while the cell {key} began. Run it again.")
        if number:
            take_part(cell, began)
        else:
            run_cell(cell, words, lambda name: pipe.send(("stage", name)), began)
        pipe.send(("finished", None))
        group.destroy_process_group()
    except AdbenchError as error:
        pipe.send(("failed", error))
    except Exception:
        pipe.send(("failed", RuntimeError(f"process {number} of {n} failed:\n{traceback.format_exc()}")))


def _backend(config: RunConfig) -> str:
    """Return what carries tensors between devices; what isn't one goes through gloo in any case."""
    from adbench.training.fit import device_of

    return "gloo" if device_of(config).type == "cpu" else "cpu:gloo,cuda:nccl"
