"""The command `adbench report`: a page for a committee."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adbench.board.leaderboard import choose, collect
from adbench.errors import RecordError
from adbench.report.build import check_folder, write
from adbench.report.page import Options


def report(
    runs: Sequence[Path], html: Path, method: str | None, dataset: str | None, specificity: float,
    prevalence: float | None, level: float,
) -> None:  # fmt: skip
    """Write the report of some records, all of one row of a leaderboard.

    Raises AdbenchError for records that don't belong together, and RecordError where one can't be read.
    """
    check_folder(html)
    collected, left_out = collect(runs)
    if left_out:
        raise RecordError(" ".join(["no report is written:", *left_out]))
    print(f"written: {write(choose(collected, method, dataset), html, Options(specificity, prevalence, level))}")
