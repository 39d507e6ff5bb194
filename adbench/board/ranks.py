"""Ranks: which rows of a leaderboard are ordered, and which of them the best one is not better than."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from adbench.board.leaderboard import COSTS
from adbench.board.peers import GROUP, complete, row_id
from adbench.statistics import holm, interval, rank_intervals


def ranked(
    whole: pd.DataFrame, pairs: pd.DataFrame, means: Mapping[tuple[str, str, str, str], list[str]]
) -> pd.DataFrame:
    """Add `rank`, `rank_low`, `rank_high`, `best`, and to `ci_note` why a line has no rank.

    pairs: as in `intervals.Measured`. means: the datasets of each average, by data, standing, metric and its name.
    best: whether the row of the highest mean in the group is not better than this one, after Holm's correction over all
    pairs of the group; false where that can't be said, and where there is no other row.
    """
    whole = whole.assign(rank=np.nan, rank_low=np.nan, rank_high=np.nan, best=False)
    ordered = complete(whole)
    ids = pd.Series(row_id(whole), whole.index)
    by_place = dict(list(pairs.groupby(["dataset", "metric"])))
    for key, part in whole[ordered].groupby([*GROUP, "dataset", "metric"]):
        data, standing, _, _, dataset, metric = map(str, key)
        members = means.get((data, standing, metric, dataset), [dataset])
        if len(part) < 2:
            continue  # alone, a row has no rank
        known = _over([by_place.get((name, metric), pairs.iloc[:0]) for name in members])
        at = part.sort_values("mean", ascending=False, kind="stable").index
        _rank(whole, at, list(ids[at]), known)
    few = ~ordered & (whole["n"].fillna(0) > 0).to_numpy() & (whole["data"] != "published").to_numpy()
    few &= ~whole["metric"].isin(COSTS).to_numpy() & ~whole["metric"].str.endswith("_leak").to_numpy()
    most = whole.groupby([*GROUP, "dataset", "metric"], dropna=False)["n"].transform("max")
    notes = [
        f"not ranked: {f'{n:.0f} of {of:.0f} runs' if n < of else 'other runs than the rest'}"
        for n, of in zip(whole.loc[few, "n"], most[few], strict=True)
    ]
    said = whole.loc[few, "ci_note"].tolist()
    whole.loc[few, "ci_note"] = ["; ".join(filter(None, pair)) for pair in zip(said, notes, strict=True)]
    return whole


def _over(frames: list[pd.DataFrame]) -> dict[tuple[str, str], tuple[float, float]]:
    """Return (difference, p) of each pair, averaged over datasets whose patients are independent."""
    if len(frames) == 1:
        rows = frames[0][["first", "second", "difference", "p"]].itertuples(index=False, name=None)
        return {(first, second): (difference, p) for first, second, difference, p in rows}
    every = pd.concat(frames)
    every = every.assign(variance=every["se"] ** 2, below=every["se"] ** 4 / every["df"])
    sums = every.groupby(["first", "second"]).agg(
        difference=("difference", "mean"), variance=("variance", "sum"), below=("below", "sum"), n=("se", "size")
    )
    sums = sums[sums["n"] == len(frames)]
    found = {}
    for pair, difference, variance, below in sums[["difference", "variance", "below"]].itertuples(name=None):
        df = variance**2 / below if below > 0 else np.inf  # Satterthwaite
        found[pair] = difference, interval(difference, variance / len(frames) ** 2, 0.0, df).p
    return found


def _rank(
    whole: pd.DataFrame, at: pd.Index[Any], ids: list[str], known: Mapping[tuple[str, str], tuple[float, float]]
) -> None:
    """Rank the lines `at`, highest mean first."""
    n, half = len(at), whole.loc[at, "half_width"].fillna(0).to_numpy()
    better, compared = np.zeros((n, n), bool), np.zeros((n, n), bool)
    places, differences, p = [], [], []
    for place in itertools.permutations(range(n), 2):
        if (found := known.get((ids[place[0]], ids[place[1]]))) is not None:
            places.append(place)
            differences.append(found[0])
            p.append(found[1])
    for (i, j), difference, corrected in zip(places, differences, holm(p), strict=True):
        compared[i, j] = compared[j, i] = not np.isnan(corrected)
        if corrected < 0.05 and abs(difference) > half[i] + half[j]:  # a verdict never rests on computation error
            better[(i, j) if difference > 0 else (j, i)] = True
    if not compared.any():
        return  # an order that nothing supports
    means = whole.loc[at, "mean"].to_numpy()
    whole.loc[at, "rank"] = [1 + int((means > mean).sum()) for mean in means]
    intervals = rank_intervals(better)
    whole.loc[at, "rank_low"] = [low for low, _ in intervals]
    whole.loc[at, "rank_high"] = [high for _, high in intervals]
    if compared[0].any():
        whole.loc[at, "best"] = ~better[0] & (compared[0] | (np.arange(n) == 0))
