"""The session of one command: what its cells share, and whether anything may be written."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, TypeVarTuple

from adbench.errors import AdbenchError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class NotThereError(AdbenchError):
    """An offline session needs data or weights that are not on this machine yet."""


class Session:
    """Answers that the cells of one command share: indexed datasets, draws, hashes of weights.

    `offline`: nothing is drawn, fetched or written; what is missing raises NotThereError. `began`: seconds since 1970.
    """

    def __init__(self, offline: bool = False) -> None:
        self.offline = offline
        self.began = time.time()
        self._answers: dict[Hashable, Any] = {}
        self._errors: dict[Hashable, AdbenchError] = {}

    def once(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Return `function(*args)`; later calls with equal arguments return the first answer.

        An AdbenchError is kept in an offline session alone, which only looks: elsewhere a later call may find more. The
        arguments are the whole key, so the function must depend on nothing else; each must be hashable.

        >>> calls = []
        >>> def double(x: int) -> int:
        ...     calls.append(x)
        ...     return 2 * x
        >>> session = Session()
        >>> session.once(double, 4), session.once(double, 4), calls
        (8, 8, [4])
        """
        key = (function, *args)
        if key in self._errors:
            raise self._errors[key].with_traceback(None)
        if key not in self._answers:
            try:
                self._answers[key] = function(*args)
            except AdbenchError as error:
                if self.offline:
                    self._errors[key] = error
                raise
        answer: T = self._answers[key]
        return answer
