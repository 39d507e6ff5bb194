"""The scores of single test images, of many records in one table."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from adbench.board.leaderboard import ROW, lines, run_of
from adbench.errors import RecordError
from adbench.records.files import PREDICTIONS
from adbench.records.record import Record
from adbench.system.text import inert

RUN = ("draw", "seed", "split_seed", "fold")
OF_AN_IMAGE = ("image", "label", "score", "patient", "subgroup")


def scores_of(records: Sequence[Record]) -> pd.DataFrame:
    """Return a row for each record and test image: the columns of `ROW`, dataset, `RUN`, record, and `OF_AN_IMAGE`.

    The folds of a cross-validation test every image once: each has one row for each row of the leaderboard, draw, seed
    and split seed. Such scores are of as many models as there are folds, on scales of their own. Raises RecordError
    where predictions can't be read.
    """
    tables = []
    for record, line in zip(records, lines(records), strict=True):
        try:
            table = record.predictions()[[*OF_AN_IMAGE]]
        except (OSError, ValueError, KeyError) as error:
            file = record.path / PREDICTIONS
            raise RecordError(
                f"{file} can't be read ({error}). Remove {record.path} and run its cell again."
            ) from error
        run = dict(zip(RUN, (value if value >= 0 else None for value in run_of(record)), strict=True))
        head = {key: line[key] for key in ROW} | {"dataset": line["dataset"]} | run | {"record": record.key}
        tables.append(table.assign(**head)[[*head, *OF_AN_IMAGE]])
    whole = pd.concat(tables, ignore_index=True).astype(dict.fromkeys(RUN, "Int64"))
    return whole.sort_values([*ROW, "dataset", *RUN, "image"], ignore_index=True)


def to_csv(scores: pd.DataFrame) -> str:
    """Return the table as CSV, see `inert`; scores have the nine digits that tell two 32-bit numbers apart."""
    names = [*ROW, "dataset", "image", "patient", "subgroup"]
    scores = scores.assign(**{name: scores[name].map(inert) for name in names})
    return str(scores.to_csv(index=False, float_format="%.9g", lineterminator="\n"))
