"""The work of one job, on whichever machine it runs."""

from __future__ import annotations

import contextlib
import gc
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from adbench.cells.resolve import resolve
from adbench.errors import AdbenchError, DataError, MethodError, PluginError
from adbench.executors import Failure, Job
from adbench.records import record
from adbench.running import devices
from adbench.system.garbage import settle
from adbench.system.session import Session

LINES = 20  # of a traceback that a failed record keeps; the log has them all


def perform(job: Job, session: Session, notice: Callable[[str], None]) -> Failure | None:
    """Run one cell and leave its record, or say why there is none; a record that is there by now is reused."""
    config = job.config
    try:
        if not config.force and record.find(Path(config.runs), job.key) is not None:
            return None
        cell = resolve(config, session)
        if cell.key != job.key:
            raise DataError(
                f"{config.dataset} or the weights of {config.backbone} changed while the sweep ran: the cell "
                f"{job.key} has become {cell.key}. Run the command again."
            )
        settle()  # a cell collects cycles when its training is over
        devices.run(cell, job.words, notice, session.began, job.log)
    except (Exception, SystemExit, GeneratorExit) as error:  # whatever a method raises costs its own cell only
        text = traceback.format_exc()
        with contextlib.suppress(OSError):  # the log's disk may be full
            print(text, file=sys.stderr, flush=True)
        cause = error.__cause__ if isinstance(error, PluginError) and error.__cause__ else error
        lines = "".join(traceback.format_exception(cause)).rstrip().splitlines()[-LINES:]
        foreseen = isinstance(error, AdbenchError) and not isinstance(error, MethodError)
        return Failure(type(error).__name__, str(error), tuple(lines), foreseen)
    finally:
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            gc.collect()  # a Trainer and its method point at each other, and hold the accelerator's memory
    return None
