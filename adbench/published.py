"""Figures of the papers, beside which a leaderboard can put its own; `published.csv` names source and table of each."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import pandas as pd

TITLES = {
    "madclip": "MadCLIP (MICCAI 2025)",
    "mvfa": "MVFA (CVPR 2024)",
    "mediclip": "MediCLIP (MICCAI 2024)",
    "tgumiad": "TGUMIAD",
    "crossmodal": "Cross-modal prompts",
}
# Names of protocols in the papers' tables, and ours.
PROTOCOLS = {
    "few_normal_shot_unified": "unified",
    "full_normal_unified": "unified_full_normal",
    "zero_shot_leave_one_out": "leave_one_out_published",
}


@cache
def figures() -> pd.DataFrame:
    """Return one row per published figure, in per cent.

    Columns: data ("published"), method, variant (paper and table), protocol, shots, train_on, dataset, metric, mean,
    std. Averages over datasets and model sizes are left out: a leaderboard computes its own.
    """
    with files("adbench").joinpath("published.csv").open(encoding="utf-8") as file:
        raw = pd.read_csv(file, dtype={"shots": str, "table": str})
    raw = raw[raw["test_dataset"].notna() & ~raw["test_dataset"].str.startswith("mean_of", na=False)]
    raw = raw[~raw["protocol"].str.startswith("ablation") & raw["metric"].str.endswith("_auroc")]
    same = raw["train_dataset"].isna() | (raw["train_dataset"] == raw["test_dataset"])
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


def beside(long: pd.DataFrame) -> pd.DataFrame:
    """Add `published`, `difference` and `source` to rows on real data that repeat a published setting.

    A setting is method, protocol, shots, dataset and metric. Where several papers print the same setting, the method's
    own paper comes first. Phantoms are compared with nothing.
    """
    told = figures()[figures()["train_on"] == ""]
    own = [v.lower().startswith(m) for v, m in zip(told["variant"], told["method"], strict=True)]
    told = told.assign(own=own).sort_values("own", ascending=False, kind="stable")
    keys = ["method", "protocol", "shots", "dataset", "metric"]
    told = told.drop_duplicates(keys).rename(columns={"mean": "published", "variant": "source"})
    whole = long.merge(told[[*keys, "published", "source"]], on=keys, how="left")
    compared = (whole["data"] == "real") & (whole["standing"] == "clean")
    whole["published"] = whole["published"].where(compared)
    whole["source"] = whole["source"].where(compared & whole["published"].notna(), "")
    whole["difference"] = whole["mean"] - whole["published"]
    return whole
