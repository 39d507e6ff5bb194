"""Published figures: read from the `published/` folders of all configuration packages, and compared with records."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from adbench.board.leaderboard import FIGURES, MEAN, plain
from adbench.config.groups import groups
from adbench.config.layers import load_yaml, merge
from adbench.errors import AdbenchError
from adbench.plugins import registry

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

COMPARED = tuple(name for name in FIGURES if name != "image_accuracy")  # papers don't state its threshold
COLUMNS = (
    "source", "table", "protocol", "shots", "method", "train_dataset", "test_dataset", "metric", "value", "std",
)  # fmt: skip


@dataclass(frozen=True)
class PublishedConfig:
    """The content of `published/NAME.yaml`, which says how to read `NAME.csv` next to it.

    `sources` are printed names of papers, `protocols` adbench's names of the papers' settings, `shots` what a record
    of a protocol has for shots where papers count in another way, `all_but` the group of datasets that
    `all_but_NAME` in the column `train_dataset` means, and `over_categories` the datasets whose figures are means over
    their categories.
    """

    title: str
    sources: dict[str, str] = field(default_factory=dict)
    protocols: dict[str, str] = field(default_factory=dict)
    shots: dict[str, str] = field(default_factory=dict)
    all_but: str = ""
    over_categories: list[str] = field(default_factory=list)


class Published(NamedTuple):
    """Figures of papers, the settings of records that repeat them (same rows), and a sentence per unreadable file."""

    figures: pd.DataFrame
    settings: pd.DataFrame
    problems: tuple[str, ...]


def figures() -> pd.DataFrame:
    """Return one row per published figure, in per cent.

    Columns: data ("published"), method, variant (paper and table), protocol, shots, train_on, dataset, metric, mean,
    std. Left out are averages over datasets, which a leaderboard computes itself, ablations and comparisons of model
    sizes, which name no setting of a row, and metrics that are not `COMPARED`, such as accuracy.
    """
    return collect(registry.config_folders()).figures


def problems() -> tuple[str, ...]:
    """Return a sentence for each file of published figures that can't be read, and is left out."""
    return collect(registry.config_folders()).problems


@cache
def collect(folders: tuple[Traversable, ...]) -> Published:
    """Read `published/*.yaml` and the CSV file of the same name next to each, in several configuration folders."""
    parts, wrong = [], []
    for folder in folders:
        published = folder / "published"
        for file in sorted(published.iterdir(), key=lambda file: file.name) if published.is_dir() else ():
            if not file.name.endswith(".yaml"):
                continue
            try:
                parts.append(_read(file, published / f"{file.name.removesuffix('.yaml')}.csv"))
            except AdbenchError as error:
                wrong.append(str(error))
    figures = pd.concat([figures for figures, _ in parts], ignore_index=True) if parts else _figures(_EMPTY, {})
    settings = pd.concat([settings for _, settings in parts], ignore_index=True) if parts else _settings(_EMPTY, {}, "")
    return Published(figures, settings, tuple(wrong))


def _read(yaml: Traversable, csv: Traversable) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the figures of one CSV file, and the settings of records that repeat them."""
    config = merge(PublishedConfig, load_yaml(yaml), {}, str(yaml))
    try:
        with csv.open(encoding="utf-8") as file:
            raw = pd.read_csv(file, dtype={"shots": str, "table": str, "train_dataset": str})
        if missing := [name for name in COLUMNS if name not in raw]:
            raise AdbenchError(f"{csv} has no column {missing[0]}. It needs {', '.join(COLUMNS)}.")
        raw = raw.assign(value=pd.to_numeric(raw["value"]), std=pd.to_numeric(raw["std"]))
    except (OSError, ValueError) as error:
        raise AdbenchError(f"{csv} can't be read: {error}.") from error
    raw = raw[raw["test_dataset"].notna() & ~raw["test_dataset"].str.startswith("mean_of", na=False)]
    raw = raw[~raw["protocol"].str.startswith("ablation") & raw["metric"].isin(COMPARED)]
    raw = raw.assign(protocol=raw["protocol"].replace(config.protocols)).reset_index(drop=True)
    figures = _figures(raw, config.sources)
    means = {name: f"{MEAN}{name}" for name in config.over_categories}
    figures = figures.assign(dataset=figures["dataset"].replace(means))
    return figures, _settings(raw, config.shots, config.all_but)


def _figures(raw: pd.DataFrame, sources: Mapping[str, str]) -> pd.DataFrame:
    # A cross-dataset matrix names its training set on the diagonal too.
    itself = (raw["train_dataset"] == raw["test_dataset"]) & (raw["protocol"] != "cross_dataset")
    return pd.DataFrame({
        "data": "published",
        "method": raw["method"],
        "variant": raw["source"].map(lambda name: sources.get(name, name)) + " Table " + raw["table"],
        "protocol": raw["protocol"],
        "shots": raw["shots"],
        "train_on": raw["train_dataset"].where(raw["train_dataset"].notna() & ~itself, ""),
        "dataset": raw["test_dataset"],
        "metric": raw["metric"],
        "mean": raw["value"],
        "std": raw["std"],
    })  # fmt: skip


def _settings(raw: pd.DataFrame, shots: Mapping[str, str], all_but: str) -> pd.DataFrame:
    trained = _figures(raw, {})["train_on"]
    names = zip(trained, raw["test_dataset"], strict=True)
    return pd.DataFrame({
        "shots": [shots.get(p, n) for p, n in zip(raw["protocol"], raw["shots"], strict=True)],
        "sets": [_sets(train_on, dataset, all_but) for train_on, dataset in names],
        "own": raw["source"] == raw["method"],
    })  # fmt: skip


_EMPTY = pd.DataFrame({name: pd.Series(dtype="float" if name in ("value", "std") else "str") for name in COLUMNS})


def added(long: pd.DataFrame) -> pd.DataFrame:
    """Return a leaderboard's rows with the columns of `compared`, and after them the papers' rows on its datasets.

    Their caveat is "as published": most papers chose the epoch on the test split.
    """
    papers = figures()
    names = set(long["dataset"].map(plain))
    names |= {f"{MEAN}{name.partition('/')[0]}" for name in names if "/" in name}
    known = papers[papers["dataset"].isin(names)]
    blank = dict.fromkeys(("backbone", "schedule", "selection", "draws", "content"), "")
    rows = known.assign(standing="as published", unit="per cent", **blank)
    return pd.concat([compared(long), rows], ignore_index=True)


def compared(long: pd.DataFrame) -> pd.DataFrame:
    """Add `published`, `difference` and `source` to rows on real data that repeat a published setting.

    A setting is method, protocol, training sets, shots, dataset and metric, whichever epoch was chosen. Where several
    papers print the same setting, the method's own paper comes first. Phantom data are compared with nothing, nor are
    backbones whose YAML says `stand_in: true`, nor images in the layout of a published set that are not that set.
    """
    papers, settings, _ = collect(registry.config_folders())
    ordered = settings["own"].sort_values(ascending=False, kind="stable").index
    papers, settings = papers.loc[ordered], settings.loc[ordered]
    keys = ["method", "protocol", "shots", "metric", "name", "sets"]
    references = papers.assign(
        name=papers["dataset"], sets=settings["sets"], shots=settings["shots"], published=papers["mean"],
        source=papers["variant"],
    )  # fmt: skip
    references = references[[*keys, "published", "source"]].drop_duplicates(keys)
    rows = long.assign(name=long["dataset"].map(plain), sets=[_sets(sets, "", "") for sets in long["train_on"]])
    merged = rows.merge(references, on=keys, how="left").drop(columns=["name", "sets"])
    comparable = (merged["data"] == "real") & ~merged["backbone"].isin(stand_ins()) & (merged["content"] == "")
    merged["published"] = merged["published"].where(comparable)
    merged["source"] = merged["source"].where(merged["published"].notna(), "")
    merged["difference"] = merged["mean"] - merged["published"]
    return merged


def stand_ins() -> set[str]:
    """Return the backbones that stand in for a pretrained one, whose figures are not compared with a paper's."""
    names = set()
    for name, file in registry.config_files("backbone").items():
        with contextlib.suppress(AdbenchError):  # the YAML of somebody else's package, which no record here uses
            if load_yaml(file).get("stand_in", False):
                names.add(name)
    return names


def _sets(train_on: str, dataset: str, all_but: str) -> str:
    """Write training sets in one order, and `all_but_NAME` as the other datasets of a group."""
    names = train_on.split("+")
    if all_but and train_on == f"all_but_{dataset}":
        names = list(set(groups().get(all_but, {}).get("dataset", [])) - {dataset})
    return "+".join(sorted(names))
