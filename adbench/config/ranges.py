"""The range of every number that a user can set, and the one sentence that refuses another."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adbench.errors import AdbenchError

SPAN = re.compile(r"([0-9]{1,3}) ?(?:-|\.\.|:) ?([0-9]{1,3})")
MOST_SEED = 2**32 - 1  # NumPy's seeds, which Lightning sets too, have 32 bits


@dataclass(frozen=True)
class Range:
    """Numbers from `least` to `most`, both included; with `above`, `least` is not."""

    least: float
    most: float
    above: bool = False

    def __contains__(self, number: object) -> bool:
        """Whether a number is in the range; NaN is in none."""
        assert isinstance(number, (int, float))
        return self.least <= number <= self.most and not (self.above and number == self.least)

    def __str__(self) -> str:
        """Say what is allowed: "at least 1 is needed, and at most 1024"."""
        return f"{'more than' if self.above else 'at least'} {self.least:g} is needed, and at most {_plain(self.most)}"


# Of `adbench run`. torch ends with a crash of the process where the system starts no more threads.
OF_RUN = {
    "shots": Range(0, 10**6),
    "draw": Range(0, MOST_SEED),
    "seed": Range(0, MOST_SEED),
    "cores": Range(1, 512),
    "batch_size": Range(1, 65536),
    "input_size": Range(1, 8192),
    "cache_gb": Range(0, 10**6),
    "features_gb": Range(0, 10**6),
    "gallery": Range(0, 10**4),
    "workers": Range(1, 1024),
    "loader_workers": Range(0, 256),
}
EVAL_SIZE = Range(1, 8192)
# Parameters that mean the same in every method that has them.
OF_METHOD = {
    "epochs": Range(0, 10**6),
    "batch_size": Range(1, 65536),
    "context_length": Range(1, 1024),
    "weight_decay": Range(0, 10**6),
    "learning_rate": Range(0, 1e30, above=True),
}
OF_DATASET = {"split_seed": Range(0, MOST_SEED), "folds": Range(2, 1000)}
OF_BACKBONE = {"input_size": OF_RUN["input_size"], "seed": Range(0, MOST_SEED)}
# Of Lightning's Trainer, where it has no check of its own or one that comes too late.
OF_TRAINER = {
    "devices": Range(1, 1024),
    "min_epochs": Range(0, 10**6),
    "max_steps": Range(-1, 10**9),
    "min_steps": Range(0, 10**9),
    "log_every_n_steps": Range(0, 10**9),
    "accumulate_grad_batches": Range(1, 10**6),
    "gradient_clip_val": Range(0, 10**6),
    "limit_train_batches": Range(0, 10**9),
}


def check(of: Any, ranges: Mapping[str, Range], section: str = "") -> None:
    """Raise AdbenchError for the first number of `of`, a mapping or object, that is out of its range.

    Keys that are absent, and values that are no numbers, are left alone. `section`: what stands before the dot.

    >>> check({"epochs": -1}, OF_METHOD, "method")
    Traceback (most recent call last):
    adbench.errors.AdbenchError: method.epochs=-1 is not possible: at least 0 is needed, and at most 1000000.
    """
    for key, allowed in ranges.items():
        value = of.get(key) if isinstance(of, Mapping) else getattr(of, key, None)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value not in allowed:
            name = f"{section}.{key}" if section else key
            raise AdbenchError(f"{name}={_plain(value)} is not possible: {allowed}.")


def _plain(number: float) -> str:
    """Write a number in digits, one of very many digits by their number."""
    if isinstance(number, int) and abs(number) >= 10**40:
        return f"{'-' * (number < 0)}(a number of about {round(math.log10(abs(number)))} digits)"
    return str(number)


def span(key: str, text: str) -> str:
    """Say how several numbers are given where they were written as a span, such as 0-2; "" for another text.

    >>> span("draw", "0-2"), span("draw", "one")
    ('draw=0-2 is not possible: give whole numbers with commas, draw=0,1,2.', '')
    """
    found = SPAN.fullmatch(text)
    first, last = sorted(map(int, found.groups())) if found else (0, 0)
    if first == last:
        return ""
    listed = list(map(str, range(first, last + 1)))
    several = ",".join(listed if len(listed) < 10 else [*listed[:3], "...", listed[-1]])
    return f"{key}={text} is not possible: give whole numbers with commas, {key}={several}."
