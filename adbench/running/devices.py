"""One cell on several devices of this machine (`trainer.devices=`): one process for each.

All of them run the same code from the same seeds; they share the batches of training (training/ddp.py) and scoring
(scoring/evaluate.py), and only process 0 writes files. Lightning's own launchers run the whole command again or
pickle the method; neither works inside a sweep, so adbench starts the processes and tells Lightning that they exist.
"""

from __future__ import annotations

import contextlib
import math
import os
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
from adbench.system.cores import shared
from adbench.system.output import redirected_output
from adbench.system.processes import Child, answer, wait_any, warm_up

if TYPE_CHECKING:  # a child sets the environment before torch is imported
    from adbench.cells.cell import Cell

TIMEOUT = timedelta(days=7)  # process 0 may wait for hours while another command trains the same method
Notice = Callable[[str], None]


def run(
    cell: Cell,
    words: Sequence[str],
    notice: Notice | None = None,
    began: float = math.inf,
    log: Path | None = None,
) -> record.Record:
    """Run a cell and return its record: in this process, or in one for each of its devices.

    `words` are kept as what was asked, `notice` is called with the name of each stage; `began`: see `run_cell`. `log`
    takes what the processes of several devices print; without one, process 0 prints here and the others nowhere.
    """
    if num_devices(cell.config.words("trainer")) == 1:
        from adbench.running.cell import run_cell

        return run_cell(cell, words, notice, began)
    launch(cell, words, notice, began, log)
    return record.read(Path(cell.config.runs) / cell.key)


def launch(cell: Cell, words: Sequence[str], notice: Notice | None, began: float, log: Path | None = None) -> None:
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
    environment = os.environ | shared(n)  # without the variable Lightning would set a number of threads
    children: list[Child] = []
    with _no_ddp_warnings():
        warm_up()
    with tempfile.TemporaryDirectory() as folder:
        try:
            for number in range(n):
                rank = number, n, Path(folder) / "rendezvous"
                args = cell.config, cell.key, tuple(words), began, log
                children.append(Child(_serve, *rank, *args, environment=environment))
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
def _no_ddp_warnings() -> Iterator[None]:
    """Silence DDP's warning, in the processes started next, that every parameter of a method had a gradient."""
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
    """Pass stages on until every process has finished; raise the error of the first that fails."""
    running = list(children)
    while running:
        failures: list[Exception] = []
        for child in wait_any(running):
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
        # When one process stops, the others report a lost connection: an AdbenchError is the cause, so raise it first.
        if failures:
            raise min(failures, key=lambda error: not isinstance(error, AdbenchError))


def _serve(
    pipe: Connection[Any, Any], number: int, n: int, rendezvous: Path, config: RunConfig, key: str,
    words: Sequence[str], began: float, log: Path | None,
) -> None:  # fmt: skip
    """Run process `number` of the `n` of a cell; they find each other by the file `rendezvous`."""
    silent = number > 0 and log is None
    with contextlib.ExitStack() as output:
        if log or silent:
            output.enter_context(redirected_output(log or Path(os.devnull), append=True))
        try:
            import torch.distributed as group

            from adbench.cells.resolve import resolve
            from adbench.running.cell import run_cell, take_part

            group.init_process_group(_backend(config), f"file://{rendezvous}", TIMEOUT, n, number)
            cell = resolve(config)
            if cell.key != key:
                raise DataError(f"{config.dataset} or its weights changed while the cell {key} began. Run it again.")
            if number:
                take_part(cell, began)
            else:
                run_cell(cell, words, lambda name: answer(pipe, "stage", name), began)
            answer(pipe, "finished")
            group.destroy_process_group()
        except AdbenchError as error:
            answer(pipe, "failed", error)
        except Exception:
            answer(pipe, "failed", RuntimeError(f"process {number} of {n} failed:\n{traceback.format_exc()}"))


def _backend(config: RunConfig) -> str:
    """Return the backend of torch.distributed: NCCL for tensors on GPUs, gloo for everything else."""
    from adbench.training.fit import device_of

    return "gloo" if device_of(config).type == "cpu" else "cpu:gloo,cuda:nccl"
