"""The command `adbench report`: a page for a committee."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adbench.board.leaderboard import choose, collect
from adbench.board.samples import of_shots, rows_of
from adbench.errors import RecordError
from adbench.report.build import check_folder, write
from adbench.report.page import Options


def report(
    runs: Sequence[Path], html: Path, method: str | None, dataset: str | None, shots: str | None, specificity: float,
    prevalence: float | None, level: float,
) -> None:  # fmt: skip
    """Write the report of some records, all of one row of a leaderboard.

    Raises AdbenchError for records that don't belong together, and RecordError where one can't be read.
    """
    check_folder(html)
    collected, left_out = collect(runs)
    if left_out:
        raise RecordError(" ".join(["no report is written:", *left_out]))
    chosen = choose(collected, method, dataset)
    if shots is not None:
        rows = of_shots(rows_of(chosen), shots)
        chosen = [record for row in rows for drawn in row.folds.values() for record in drawn.values()]
    print(f"written: {write(chosen, html, Options(specificity, prevalence, level))}")
