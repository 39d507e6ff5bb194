"""The CPU cores of a cell. Work is cut into pieces by the work alone; cores compute pieces side by side.

Each piece is computed by one thread, in which torch uses no further one, so that no sum depends on the number of cores.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
AUTO = "auto"
QUOTA = Path("/sys/fs/cgroup/cpu.max")
THREADS = "adbench-core"


class _Cores(threading.local):
    """Whether this thread computes a piece; the pieces of a piece are computed one after the other."""

    inside = False


_here = _Cores()
_number = 1
_pool: ThreadPoolExecutor | None = None


def available(quota: Path = QUOTA) -> int:
    """Return how many cores this process may use: of its affinity, its cgroup and OMP_NUM_THREADS the least."""
    counts = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    try:
        most, period = quota.read_text().split()
        counts.append(int(most) // int(period))
    except (OSError, ValueError):  # no cgroup, or "max"
        pass
    if (given := os.environ.get("OMP_NUM_THREADS", "")).isdigit():
        counts.append(int(given))
    return max(1, min(counts))


def use(asked: int | str) -> None:
    """Compute with so many cores from now on; `auto`: all that are available. Sets torch's threads to one."""
    import torch

    global _number, _pool
    torch.set_num_threads(1)
    wanted = available() if asked == AUTO else int(asked)
    if wanted != _number:
        _number, _pool = wanted, None


def number() -> int:
    """Return how many cores compute now."""
    return _number


def owns(thread: threading.Thread) -> bool:
    """Whether a thread is one that computes pieces: it waits for the next one, and ends with the process."""
    return thread.name.startswith(THREADS)


def shared(processes: int) -> dict[str, str]:
    """Return the variable by which each of so many processes takes its share of the cores for `auto`."""
    return {"OMP_NUM_THREADS": str(max(1, available() // processes))}


def each(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield `function(item)` of each item, in their order; as many are computed at a time as there are cores.

    Gradients and autocast are on where they are on here. Items are taken as they are needed. An error is raised where
    its result would be yielded; what was not begun by then never is. An only item is computed in this thread, so that
    its own pieces may use the cores.
    """
    items = iter(items)
    first = [] if _number == 1 or _here.inside else list(islice(items, 2))
    items = chain(first, items)
    if len(first) < 2:
        yield from map(function, items)
        return
    call, pool, waiting = _as_here(function), _threads(), deque[Future[R]]()
    try:
        for item in items:
            waiting.append(pool.submit(call, item))
            if len(waiting) > 2 * _number:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        wait([future for future in waiting if not future.cancel()])


def _threads() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        import torch

        # MKL and OpenMP keep a number of threads for each thread.
        _pool = ThreadPoolExecutor(_number, THREADS, initializer=torch.set_num_threads, initargs=(1,))
    return _pool


def _as_here(function: Callable[[T], R]) -> Callable[[T], R]:
    import torch

    gradients, on = torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")
    # With the cache, which all threads share and each empties at its end, gradients would depend on who is faster.
    dtype, cached = torch.get_autocast_dtype("cpu"), torch.is_autocast_cache_enabled()

    def call(item: T) -> R:
        _here.inside = True
        try:
            with torch.set_grad_enabled(gradients), torch.autocast("cpu", dtype, on, cached):
                return function(item)
        finally:
            _here.inside = False

    return call


def _forget(*_: Any) -> None:
    global _pool
    _pool = None  # a forked process has none of its threads


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
