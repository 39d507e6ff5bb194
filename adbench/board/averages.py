"""Averages over datasets, and rows for cells that were never run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adbench.board.leaderboard import COSTS, MEAN, ROW, plain, unit
from adbench.board.published import compared
from adbench.config.axes import categories
from adbench.config.groups import groups
from adbench.errors import AdbenchError

COMPLETE = "complete"  # the attribute of a table that has its averages
ERRORS = ("se", "df", "patients", "images")  # of a figure over its patients, where intervals are computed


def averages(datasets: Sequence[str]) -> dict[str, list[str]]:
    """Return the averages over some datasets by name, with the datasets of each.

    There is one for each largest group of configs/group whose datasets are all there, else one over all datasets.
    Categories of one dataset have an average of their own, and are in no other.

    >>> averages(["brainmri", "busi", "liverct", "resc"])
    {'mean of bmad_masked': ['brainmri', 'liverct', 'resc']}
    >>> averages(["brainmri", "busi"])
    {'mean of 2': ['brainmri', 'busi']}
    >>> averages(["brainmri", "mvtec/bottle", "mvtec/cable"])
    {'mean of mvtec (2 of 15)': ['mvtec/bottle', 'mvtec/cable']}
    """
    parts: dict[str, list[str]] = {}
    for name in datasets:
        base, slash, _ = name.partition("/")
        if slash and not name.startswith(MEAN):
            parts.setdefault(base, []).append(name)
    parts = {base: names for base, names in parts.items() if len(names) > 1}
    inside = {name for names in parts.values() for name in names}
    whole = [name for name in datasets if name not in inside and not name.startswith(MEAN)]
    # Two contents of one category are in no average: it would count the category twice.
    means = {
        f"{MEAN}{_category_mean(base, len(names))}": names
        for base, names in parts.items()
        if len({plain(name) for name in names}) == len(names)
    }
    return _group_averages(whole) | means


def _category_mean(dataset: str, number: int) -> str:
    """Name the average over some categories: that over all of them is called like the dataset."""
    try:
        total = len(categories(dataset))
    except AdbenchError:  # of a package that is not installed here
        return f"{dataset} ({number} categories)"
    return dataset if number == total else f"{dataset} ({number} of {total})"


def _group_averages(datasets: Sequence[str]) -> dict[str, list[str]]:
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
    averages but no missing ones. Costs have no averages. Where `long` compares figures with published ones, so are its
    averages over categories: papers print those. Where its figures have standard errors, so have its averages:
    datasets are fixed and their patients independent. Rows that are complete already, and some of them, are returned
    as they are.
    """
    if "rank" in long or long.attrs.get(COMPLETE):
        return long
    parts = [frame for _, part in long.groupby(["data", "standing"]) for frame in _added(part)]
    rows = pd.concat([long, *(part for part in parts if len(part))], ignore_index=True)
    rows = rows.fillna({name: "" for name in ("draws", "source", "content", "ci_note") if name in rows})
    order = pd.DataFrame({"papers": rows["data"] == "published", "mean": rows["dataset"].str.startswith(MEAN)})
    if "stand_in" in rows:
        theirs = rows["n"].eq(0) & rows["backbone"].isin(long.loc[long["stand_in"], "backbone"])  # of missing cells
        rows["stand_in"] = rows["stand_in"].eq(True) | theirs
    ranked = rows[[*ROW, "dataset", "metric"]].join(order).sort_values(["papers", *ROW, "mean", "dataset", "metric"])
    whole = rows.loc[ranked.index].reset_index(drop=True)
    whole.attrs[COMPLETE] = True  # pandas hands it on to selections, and not to what other rows are added to
    return whole


def _added(part: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield the rows to add to those of one kind of data and one standing: none where it is of one dataset."""
    if part["dataset"].nunique() == 1:
        return
    published = part["data"].iloc[0] == "published"
    cells = part.drop_duplicates([*ROW, "dataset"]).assign(ran=True)
    ran = cells.set_index([*ROW, "dataset"])["ran"].unstack(fill_value=False)
    for metric, figures in part.groupby("metric"):
        names = [
            "mean",
            "n",
            "half_width",
            "draws",
            *(name for name in (*ERRORS, "ci_note", "content", "stand_in") if name in part),
        ]
        wide = figures.set_index([*ROW, "dataset"])[names].unstack().reindex(ran.index)
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
            if "content" in part:
                means["content"] = pd.DataFrame(wide["content"])[members].fillna("").max(axis=1)
            if "stand_in" in part:
                means["stand_in"] = pd.DataFrame(wide["stand_in"])[members].eq(True).any(axis=1)
            if "se" in part and not published:
                means |= _errors({key: pd.DataFrame(wide[key])[members] for key in (*ERRORS, "ci_note")})
            made = pd.DataFrame(means)[complete].reset_index().assign(dataset=name, **common)
            yield compared(made) if "published" in part and not published and len(made) else made
            if not published:
                missing = ~complete & (present | ~ran[members].to_numpy().all(axis=1))
                yield empty[missing].reset_index().assign(dataset=name, **common)


def _errors(parts: dict[str, pd.DataFrame]) -> dict[str, pd.Series[Any]]:
    """Return standard error, Satterthwaite's degrees of freedom, and the sums of patients and images, of a mean."""
    variances = parts["se"].astype(float) ** 2
    total, count = variances.sum(axis=1, skipna=False), variances.shape[1]
    below = (variances**2 / parts["df"].astype(float)).sum(axis=1)
    found = {"se": total**0.5 / count, "df": (total**2 / below).where(below > 0, float("inf")).where(total.notna())}
    found |= {key: parts[key].astype(float).sum(axis=1, skipna=False) for key in ("patients", "images")}
    without = variances.isna().apply(lambda row: ", ".join(map(str, variances.columns[row])), axis=1)
    same = parts["ci_note"].fillna("").apply(lambda row: row.iloc[0] if row.nunique() == 1 else "", axis=1)
    missing = without.map(lambda names: f"no interval: there is none on {names}")
    return found | {"ci_note": missing.where(without != "", same)}


def _same(columns: pd.DataFrame) -> NDArray[np.bool_]:
    """Return for each row whether all columns hold the same value."""
    return np.asarray(columns.eq(columns.iloc[:, 0], axis=0).to_numpy().all(axis=1))
