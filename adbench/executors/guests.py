"""Which worker may run which cell: a method of another package or file may have changed the process that ran it."""

from __future__ import annotations

from adbench.executors import Job
from adbench.plugins import registry


def guest(job: Job) -> str | None:
    """Return the method of a job where adbench doesn't bring it; None for one of adbench's own."""
    method = job.config.method
    return method if registry.find("method", method).foreign else None


def suits(ran: str | None, job: Job) -> bool:
    """Whether a worker may run a job; `ran` is the guest whose cells it has run, or None."""
    return ran is None or ran == job.config.method
