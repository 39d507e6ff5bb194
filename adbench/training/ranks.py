"""One cell on several devices of this machine (`trainer.devices=`): a process for each, and what they tell each other.

All of them run the same code from the same seeds; they share the batches of the training (shares.py) and those of the
scoring (scorer.py), and process 0 alone writes. Lightning's own launchers run the whole command again or pickle the
method: neither goes with a sweep, so the processes are started here and Lightning finds them started.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from adbench.children import CONTEXT, begin_child, epitaph, no_interrupts, print_to, warm_up
from adbench.errors import AdbenchError, DataError

if TYPE_CHECKING:  # a child sets the environment before torch is imported
    from adbench.cell import Cell
    from adbench.config import RunConfig

T = TypeVar("T")
PATIENCE = timedelta(days=7)  # process 0 may wait for hours for a training that another command is at


def count_of(config: RunConfig) -> int:
    """Return on how many devices a cell runs."""
    return int(config.overrides.get("trainer", {}).get("devices", 1))


def rank() -> int:
    """Return the number of this process among those of its cell; 0 where it is alone."""
    import torch.distributed as group

    return group.get_rank() if group.is_available() and group.is_initialized() else 0


def world() -> int:
    """Return how many processes run this cell; 1 where this one is alone."""
    import torch.distributed as group

    return group.get_world_size() if group.is_available() and group.is_initialized() else 1


def gathered(thing: T) -> list[T]:
    """Return what every process of the cell passes, in their order, to all of them."""
    if world() == 1:
        return [thing]
    import torch.distributed as group

    found: list[Any] = [None] * world()
    group.all_gather_object(found, thing)
    return found


def agreed(thing: T) -> T:
    """Return what process 0 passes, to all of them."""
    if world() == 1:
        return thing
    import torch.distributed as group

    held = [thing]
    group.broadcast_object_list(held, src=0)
    return held[0]


def start(cell: Cell, words: Sequence[str], notice: Callable[[str], None] | None) -> None:
    """Run a cell in a process for each device; its record is written when this returns.

    The first process that fails ends the others, and its error is raised here.
    """
    from adbench.files import tidy
    from adbench.training.fit import device_of

    n = count_of(cell.config)
    device = device_of(cell.config)
    if device.type == "cuda":
        import torch

        if n > torch.cuda.device_count():
            raise AdbenchError(
                f"trainer.devices={n} is not possible: torch sees {torch.cuda.device_count()} CUDA devices here. "
                "Use fewer, or device=cpu."
            )
    # Lightning would set the number of threads otherwise.
    environment = os.environ | {"OMP_NUM_THREADS": str(cell.config.threads)}
    crew: list[tuple[Any, Connection[Any, Any]]] = []
    with _hushed():
        warm_up()
    with tempfile.TemporaryDirectory() as folder:
        try:
            for number in range(n):
                ours, theirs = CONTEXT.Pipe()
                place = number, n, Path(folder) / "meeting"
                job = theirs, dict(environment), place, cell.config, cell.key, tuple(words), _log()
                process = CONTEXT.Process(target=_serve, args=job)
                with no_interrupts():
                    process.start()
                theirs.close()
                crew.append((process, ours))
            _listen(crew, notice)
            for process, _ in crew:
                process.join(60)
        except BaseException:
            _end(crew)
            tidy(Path(cell.config.runs))
            raise
        finally:
            _end(crew)


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Keep torch in the processes to come from printing that a method left no parameter without a gradient."""
    name = "TORCH_CPP_LOG_LEVEL"
    before = os.environ.get(name)
    os.environ[name] = before or "ERROR"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]


def _end(crew: Sequence[tuple[Any, Connection[Any, Any]]]) -> None:
    for process, pipe in crew:
        process.kill()
        process.join()
        pipe.close()


def _listen(crew: Sequence[tuple[Any, Connection[Any, Any]]], notice: Callable[[str], None] | None) -> None:
    """Pass stages on until every process has finished; raise what stopped one."""
    running = dict(enumerate(crew))
    while running:
        ready = wait([thing for process, pipe in running.values() for thing in (pipe, process.sentinel)])
        failures = []
        for number, (process, pipe) in list(running.items()):
            if not {pipe, process.sentinel}.intersection(ready):
                continue
            what, answer = _hear(process, pipe)
            if what == "stage" and notice:
                notice(answer)
            elif what == "finished":
                del running[number]
            elif what == "failed":
                failures.append(answer)
            elif what == "died":
                failures.append(AdbenchError(f"the process of device {number} of {len(crew)} {answer}."))
        # Where one stops, the others lose the connection and say so: an error that adbench knows is the cause.
        for error in sorted(failures, key=lambda error: not isinstance(error, AdbenchError)):
            raise error


def _hear(process: Any, pipe: Connection[Any, Any]) -> tuple[str, Any]:
    try:
        if pipe.poll():
            what, answer = pipe.recv()
            return str(what), answer
    except (EOFError, OSError):
        pass
    process.join()
    return "died", epitaph(process.exitcode)


def _log() -> str | None:
    """Return the file that takes what a cell of a sweep prints, where it is this process's standard error."""
    name = getattr(sys.stderr, "name", None)
    return name if isinstance(name, str) and Path(name).is_file() else None


def _serve(
    pipe: Connection[Any, Any], environment: dict[str, str], place: tuple[int, int, Path], config: RunConfig, key: str,
    words: Sequence[str], log: str | None,
) -> None:  # fmt: skip
    """Run the share of one process; `place` is its number, how many there are, and where they meet."""
    begin_child(environment)
    number, n, meeting = place
    if log or number:
        print_to(Path(log or os.devnull), append=True)
    try:
        import torch.distributed as group

        from adbench.cell import resolve
        from adbench.run import run_cell, take_part

        group.init_process_group(_backend(config), f"file://{meeting}", PATIENCE, n, number)
        cell = resolve(config)
        if cell.key != key:
            raise DataError(f"{config.dataset} or its weights changed while the cell {key} began. Run it again.")
        if number:
            take_part(cell)
        else:
            run_cell(cell, words, lambda name: pipe.send(("stage", name)))
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
