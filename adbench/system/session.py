"""The session of one command: what its cells share, and whether anything may be written."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Any, ParamSpec, TypeVar

from adbench.errors import AdbenchError

T = TypeVar("T")
P = ParamSpec("P")


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

    def since(self, force: bool) -> float:
        """Return since when what is remembered of a file counts, in seconds since 1970: with `force`, since `began`."""
        return self.began if force else 0.0

    def once(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return `function(*args, **kwargs)`; later calls with equal arguments return the first answer.

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
        key = (function, args, tuple(sorted(kwargs.items())))
        if key in self._errors:
            raise self._errors[key].with_traceback(None)
        if key not in self._answers:
            try:
                self._answers[key] = function(*args, **kwargs)
            except AdbenchError as error:
                if self.offline:
                    self._errors[key] = error
                raise
        answer: T = self._answers[key]
        return answer
