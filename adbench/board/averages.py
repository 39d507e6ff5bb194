"""What a leaderboard adds to its figures: the averages of whole rows, and a line for each cell that never ran."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from adbench.board.leaderboard import COSTS, ROW, unit
from adbench.config.groups import groups

MEAN = "mean of "  # how the "dataset" of an average begins


def averages(datasets: Sequence[str]) -> dict[str, list[str]]:
    """Name the averages over some columns: over each largest group (configs/group) among them, else over all.

    >>> averages(["brainmri", "busi", "liverct", "resc"])
    {'mean of bmad_masked': ['brainmri', 'liverct', 'resc']}
    >>> averages(["brainmri", "busi"])
    {'mean of 2': ['brainmri', 'busi']}
    """
    if len(datasets) < 2:
        return {}
    whole = {name: set(own["dataset"]) for name, own in groups().items() if "dataset" in own}
    there = {name: own for name, own in whole.items() if len(own) > 1 and own <= set(datasets)}
    largest = {name: own for name, own in there.items() if not any(own < other for other in there.values())}
    means = {f"{MEAN}{name}": sorted(own) for name, own in largest.items()}
    return means or {f"{MEAN}{len(datasets)}": list(datasets)}


def completed(long: pd.DataFrame) -> pd.DataFrame:
    """Return a leaderboard's rows with its averages, and with a line, mean empty and n 0, for each that is missing.

    An average is there where all its datasets are, over the same draws and seeds. A cell is missing where a row has no
    record of a dataset; where it has one and a metric doesn't apply, there is no line. The papers' figures have
    averages but no missing cells. Costs have no averages.
    """
    parts = [frame for _, part in long.groupby(["data", "standing"]) for frame in _added(part)]
    whole = pd.concat([long, *(part for part in parts if len(part))], ignore_index=True)
    whole = whole.fillna({name: "" for name in ("draws", "source") if name in whole})
    order = pd.DataFrame({"papers": whole["data"] == "published", "mean": whole["dataset"].str.startswith(MEAN)})
    ranked = whole[[*ROW, "dataset", "metric"]].join(order).sort_values(["papers", *ROW, "mean", "dataset", "metric"])
    return whole.loc[ranked.index].reset_index(drop=True)


def _added(part: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield the lines to add to the rows of one kind of data and one standing."""
    papers = part["data"].iloc[0] == "published"
    cells = part.drop_duplicates([*ROW, "dataset"]).assign(ran=True)
    ran = cells.set_index([*ROW, "dataset"])["ran"].unstack(fill_value=False)
    for metric, own in part.groupby("metric"):
        wide = own.set_index([*ROW, "dataset"])[["mean", "n", "half_width", "draws"]].unstack().reindex(ran.index)
        mean, n, half, draws = (pd.DataFrame(wide[key]) for key in ("mean", "n", "half_width", "draws"))
        about = {"metric": metric, "unit": unit(str(metric))}
        gone = pd.DataFrame({"mean": float("nan"), "n": 0.0}, ran.index)
        if not papers:
            for dataset in map(str, mean):
                yield gone[~ran[dataset]].reset_index().assign(dataset=dataset, **about)
        if metric in COSTS:
            continue
        for name, members in averages([str(dataset) for dataset in mean]).items():
            there = mean[members].notna().to_numpy().all(axis=1)
            alike = [one[members].eq(one[members[0]], axis=0).to_numpy().all(axis=1) for one in (n.fillna(0), draws)]
            whole = there & alike[0] & alike[1]
            means = {"mean": mean[members].mean(axis=1), "n": n[members[0]], "draws": draws[members[0]]}
            means["half_width"] = half[members].mean(axis=1, skipna=False)
            yield pd.DataFrame(means)[whole].reset_index().assign(dataset=name, **about)
            if not papers:
                missing = ~whole & (there | ~ran[members].to_numpy().all(axis=1))
                yield gone[missing].reset_index().assign(dataset=name, **about)
