"""Averages over datasets, and rows for cells that were never run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adbench.board.leaderboard import COSTS, ROW, unit
from adbench.config.groups import groups

MEAN = "mean of "  # prefix of the "dataset" of an average


def averages(datasets: Sequence[str]) -> dict[str, list[str]]:
    """Return the averages over some datasets by name, with the datasets of each.

    There is one for each largest group of configs/group whose datasets are all there, else one over all datasets.


    >>> averages(["brainmri", "busi", "liverct", "resc"])
    {'mean of bmad_masked': ['brainmri', 'liverct', 'resc']}
    >>> averages(["brainmri", "busi"])
    {'mean of 2': ['brainmri', 'busi']}
    """
    if len(datasets) < 2:
        return {}
    members = {name: set(group["dataset"]) for name, group in groups().items() if "dataset" in group}
    complete = {name: names for name, names in members.items() if len(names) > 1 and names <= set(datasets)}
    largest = {n: names for n, names in complete.items() if not any(names < others for others in complete.values())}
    means = {f"{MEAN}{name}": sorted(names) for name, names in largest.items()}
    return means or {f"{MEAN}{len(datasets)}": list(datasets)}


def completed(long: pd.DataFrame) -> pd.DataFrame:
    """Return a leaderboard's rows with its averages, and with a row (mean NaN, n 0) for each missing figure.

    An average needs figures on all its datasets, over the same draws and seeds. A figure is missing where there is no
    record of the dataset; where there is a record and the metric doesn't apply, there is no row. Published figures have
    averages but no missing ones. Costs have no averages.
    """
    parts = [frame for _, part in long.groupby(["data", "standing"]) for frame in _added(part)]
    rows = pd.concat([long, *(part for part in parts if len(part))], ignore_index=True)
    rows = rows.fillna({name: "" for name in ("draws", "source") if name in rows})
    order = pd.DataFrame({"papers": rows["data"] == "published", "mean": rows["dataset"].str.startswith(MEAN)})
    ranked = rows[[*ROW, "dataset", "metric"]].join(order).sort_values(["papers", *ROW, "mean", "dataset", "metric"])
    return rows.loc[ranked.index].reset_index(drop=True)


def _added(part: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield the rows to add to those of one kind of data and one standing."""
    published = part["data"].iloc[0] == "published"
    cells = part.drop_duplicates([*ROW, "dataset"]).assign(ran=True)
    ran = cells.set_index([*ROW, "dataset"])["ran"].unstack(fill_value=False)
    for metric, figures in part.groupby("metric"):
        wide = figures.set_index([*ROW, "dataset"])[["mean", "n", "half_width", "draws"]].unstack().reindex(ran.index)
        mean, n, half, draws = (pd.DataFrame(wide[key]) for key in ("mean", "n", "half_width", "draws"))
        common = {"metric": metric, "unit": unit(str(metric))}
        empty = pd.DataFrame({"mean": float("nan"), "n": 0.0}, ran.index)
        if not published:
            for dataset in map(str, mean):
                yield empty[~ran[dataset]].reset_index().assign(dataset=dataset, **common)
        if metric in COSTS:
            continue
        for name, members in averages([str(dataset) for dataset in mean]).items():
            present = mean[members].notna().to_numpy().all(axis=1)
            complete = present & _same(n.fillna(0)[members]) & _same(draws[members])
            means = {"mean": mean[members].mean(axis=1), "n": n[members[0]], "draws": draws[members[0]]}
            means["half_width"] = half[members].mean(axis=1, skipna=False)
            yield pd.DataFrame(means)[complete].reset_index().assign(dataset=name, **common)
            if not published:
                missing = ~complete & (present | ~ran[members].to_numpy().all(axis=1))
                yield empty[missing].reset_index().assign(dataset=name, **common)


def _same(columns: pd.DataFrame) -> NDArray[np.bool_]:
    """Return for each row whether all columns hold the same value."""
    return np.asarray(columns.eq(columns.iloc[:, 0], axis=0).to_numpy().all(axis=1))
