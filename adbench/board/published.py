"""Figures of the papers, beside which a leaderboard can put its own; `published.csv` names source and table of each."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import pandas as pd

from adbench.board.leaderboard import plain
from adbench.config.groups import groups

TITLES = {
    "madclip": "MadCLIP (MICCAI 2025)",
    "mvfa": "MVFA (CVPR 2024)",
    "mediclip": "MediCLIP (MICCAI 2024)",
    "tgumiad": "TGUMIAD",
    "crossmodal": "Cross-modal prompts",
}
# Names of protocols in the papers' tables, and ours. The cross-modal paper's `fine_tune`, CLIP's last layers trained on
# all images of the tested set, doesn't say which those are: it keeps its name.
PROTOCOLS = {
    "few_normal_shot_unified": "unified",
    "full_normal_unified": "unified_full_normal",
    "zero_shot_leave_one_out": "leave_one_out_published",
}
PHANTOM = "phantom-clip"  # no figure reached with it says anything about a paper's


@cache
def figures() -> pd.DataFrame:
    """Return one row per published figure, in per cent.

    Columns: data ("published"), method, variant (paper and table), protocol, shots, train_on, dataset, metric, mean,
    std. Left out are averages over datasets, which a leaderboard computes itself, the papers' ablations and comparisons
    of model sizes, which name no setting of a row, and accuracy, which no table of a leaderboard has.
    """
    with files("adbench.board").joinpath("published.csv").open(encoding="utf-8") as file:
        raw = pd.read_csv(file, dtype={"shots": str, "table": str})
    raw = raw[raw["test_dataset"].notna() & ~raw["test_dataset"].str.startswith("mean_of", na=False)]
    raw = raw[~raw["protocol"].str.startswith("ablation") & raw["metric"].str.endswith("_auroc")]
    own = (raw["train_dataset"] == raw["test_dataset"]) & (raw["protocol"] != "cross_dataset")  # there, the diagonal
    same = raw["train_dataset"].isna() | own
    return pd.DataFrame({
        "data": "published",
        "method": raw["method"],
        "variant": raw["source"].map(lambda name: TITLES.get(name, name)) + " Table " + raw["table"],
        "protocol": raw["protocol"].replace(PROTOCOLS),
        "shots": raw["shots"],
        "train_on": raw["train_dataset"].where(~same, "").fillna(""),
        "dataset": raw["test_dataset"],
        "metric": raw["metric"],
        "mean": raw["value"],
        "std": raw["std"],
    }).reset_index(drop=True)  # fmt: skip


def added(long: pd.DataFrame) -> pd.DataFrame:
    """Return a leaderboard's rows with what `beside` adds to them, and below them the papers' rows on its datasets.

    Their standing is "as published": most chose the epoch by the test split.
    """
    theirs = figures()
    known = theirs[theirs["dataset"].isin(set(long["dataset"].map(plain)))]
    blank = dict.fromkeys(("backbone", "schedule", "selection", "draws"), "")
    told = known.assign(standing="as published", unit="per cent", **blank)
    return pd.concat([beside(long), told], ignore_index=True)


def beside(long: pd.DataFrame) -> pd.DataFrame:
    """Add `published`, `difference` and `source` to rows on real data that repeat a published setting.

    A setting is method, protocol, training sets, shots, dataset and metric, whichever epoch was chosen. Where several
    papers print the same setting, the method's own paper comes first. Phantoms and phantom-clip are compared with
    nothing.
    """
    told = figures()
    own = [v.lower().startswith(m) for v, m in zip(told["variant"], told["method"], strict=True)]
    told = told.assign(own=own).sort_values("own", ascending=False, kind="stable")
    keys = ["method", "protocol", "shots", "metric"]
    theirs = told[keys].assign(
        name=told["dataset"],
        sets=[_sets(sets, name) for sets, name in zip(told["train_on"], told["dataset"], strict=True)],
        # Nought of the tested set and all of the others: ours counts what is learned from.
        shots=told["shots"].where(told["protocol"] != "leave_one_out_published", "full"),
        published=told["mean"],
        source=told["variant"],
    )
    keys += ["name", "sets"]
    ours = long.assign(name=long["dataset"].map(plain), sets=[_sets(sets, "") for sets in long["train_on"]])
    whole = ours.merge(theirs.drop_duplicates(keys), on=keys, how="left").drop(columns=["name", "sets"])
    compared = (whole["data"] == "real") & (whole["backbone"] != PHANTOM)
    whole["published"] = whole["published"].where(compared)
    whole["source"] = whole["source"].where(whole["published"].notna(), "")
    whole["difference"] = whole["mean"] - whole["published"]
    return whole


def _sets(train_on: str, dataset: str) -> str:
    """Write training sets in one order; the papers' `all_but_resc` are the others of BMAD."""
    if train_on == f"all_but_{dataset}":
        return "+".join(sorted(set(groups()["bmad"]["dataset"]) - {dataset}))
    return "+".join(sorted(train_on.split("+")))
