"""Peers: the rows of a leaderboard that are ordered and compared with each other."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adbench.board.leaderboard import COSTS, ROW

GROUP = ("data", "standing", "protocol", "shots")  # rows of one group are ordered and compared, and no others
Bools = NDArray[np.bool_]


def row_id(rows: pd.DataFrame) -> list[str]:
    """Return a text for each line that tells its row."""
    return [json.dumps(list(map(str, values))) for values in rows[ROW].itertuples(index=False, name=None)]


def complete(rows: pd.DataFrame) -> Bools:
    """Say of each line whether it is ordered among those of its group, dataset and metric.

    It is where it averages the most runs, and the same ones as most of these lines. Costs, leaks, papers' figures and
    missing ones are not ordered.
    """
    n = rows["n"].fillna(0)
    own = (n > 0) & (rows["data"] != "published") & ~rows["metric"].isin(COSTS) & ~rows["metric"].str.endswith("_leak")
    lines = rows.loc[own, [*GROUP, "dataset", "metric", "draws"]].astype(str).assign(n=n[own])
    keys = [*GROUP, "dataset", "metric"]
    lines["lines"] = lines.groupby([*keys, "n", "draws"])["n"].transform("size")
    best = lines.sort_values(["n", "lines", "draws"], ascending=[False, False, True], kind="stable")
    best = best.drop_duplicates(keys)[[*keys, "draws"]].rename(columns={"draws": "reference"})
    same = lines.reset_index(names="at").merge(best, on=keys)
    return np.asarray(rows.index.isin(same.loc[same["draws"] == same["reference"], "at"]))
