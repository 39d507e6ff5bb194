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

    def once(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Return `function(*args)`; later calls with equal arguments return the first answer. Errors aren't kept.

        The arguments are the whole key, so the function must depend on nothing else; each must be hashable.

        >>> calls = []
        >>> def double(x: int) -> int:
        ...     calls.append(x)
        ...     return 2 * x
        >>> session = Session()
        >>> session.once(double, 4), session.once(double, 4), calls
        (8, 8, [4])
        """
        key = (function, *args)
        if key not in self._answers:
            self._answers[key] = function(*args)
        answer: T = self._answers[key]
        return answer
