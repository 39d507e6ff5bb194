"""Published figures: read from the `published/` folders of all configuration packages, and compared with records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from adbench.board import papers
from adbench.board.leaderboard import FIGURES, MEAN, plain
from adbench.config.groups import groups
from adbench.config.layers import preset
from adbench.errors import AdbenchError
from adbench.plugins import registry

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

ACCURACY = "image_accuracy"  # which papers print, and leaderboards show with the papers' figures alone


class Published(NamedTuple):
    """Figures of papers, the settings of records that repeat them (same rows), and a sentence per unreadable file."""

    figures: pd.DataFrame
    settings: pd.DataFrame
    problems: tuple[str, ...]


def figures() -> pd.DataFrame:
    """Return one row per published figure, in per cent.

    Columns: data ("published"), method, variant (paper and table; of an ablation also what is changed), backbone (""
    where the paper doesn't name it), protocol, shots, train_on, dataset, metric, mean, std. Left out are comparisons of
    model sizes, which name no setting of a row, and averages over sets that no group has.
    """
    return collect(registry.config_folders()).figures


def problems() -> tuple[str, ...]:
    """Return a sentence for each file of published figures that can't be read, and is left out."""
    return collect(registry.config_folders()).problems


@cache
def collect(folders: tuple[Traversable, ...]) -> Published:
    """Read `published/*.yaml` and the CSV file of the same name next to each, in several configuration folders."""
    parts, wrong = [], []
    for yaml, csv in papers.files(folders):
        try:
            parts.append(_read(yaml, csv))
        except AdbenchError as error:
            wrong.append(str(error))
    empty = _figures([], papers.PublishedConfig("")), _settings([], papers.PublishedConfig(""))
    figures, settings = zip(*parts, strict=True) if parts else ([empty[0]], [empty[1]])
    return Published(pd.concat(figures, ignore_index=True), pd.concat(settings, ignore_index=True), tuple(wrong))


def _read(yaml: Traversable, csv: Traversable) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the figures of one CSV file, and the settings of records that repeat them."""
    config, raw = papers.read(yaml, csv)
    kept = [
        (one, papers.repetition(one))
        for one in papers.figures_of(raw)
        if one.test_dataset and one.metric in (*FIGURES, ACCURACY) and not papers.mean_name(one).startswith("mean_of")
    ]
    means = {name: f"{MEAN}{name}" for name in config.over_categories}
    figures = _figures(kept, config)
    return figures.assign(dataset=figures["dataset"].replace(means)), _settings(kept, config)


Kept = Sequence[tuple[papers.Figure, papers.Repetition]]


def _figures(kept: Kept, config: papers.PublishedConfig) -> pd.DataFrame:
    rows = []
    for one, repetition in kept:
        method, _, changed = one.method.partition(":")
        variant = f"{config.sources.get(one.source, one.source)} Table {one.table}"
        rows.append({
            "data": "published",
            "method": repetition.published.get("method", method),  # as records name it
            "variant": (f"{variant}: {changed}" if changed else variant) + _model(repetition),
            "backbone": _backbone(repetition),
            "protocol": _protocol(one, repetition, config),
            "shots": one.shots,
            "train_on": _trained(one, repetition),
            "dataset": papers.mean_name(one),
            "metric": one.metric,
            "mean": one.value,
            "std": one.std,
        })  # fmt: skip
    columns = ("data", "method", "variant", "backbone", "protocol", "shots", "train_on", "dataset", "metric")
    frame = pd.DataFrame(rows, columns=[*columns, "mean", "std"])
    return frame.astype({"mean": float, "std": float})


def _model(repetition: papers.Repetition) -> str:
    """Return which of its models a method runs for a figure; empty for a method that is one."""
    model = repetition.published.get("method.model")
    return f", model={model}" if model else ""


def _settings(kept: Kept, config: papers.PublishedConfig) -> pd.DataFrame:
    """Return what a row must have to be compared with each figure: shots, training sets, and settings in its variant.

    own: whether the paper is the method's own. joined: whether any row can be compared with it.
    """
    rows = []
    for one, repetition in kept:
        protocol, trained = _protocol(one, repetition, config), _trained(one, repetition)
        shots = config.shots.get(protocol, "full" if protocol == "unified_full_normal" else one.shots)
        rows.append({
            "shots": repetition.published.get("shots", shots),
            "sets": _sets(trained, one.test_dataset, config.all_but),
            "own": one.source == one.method.partition(":")[0],
            "needs": repetition.variant,
            # What can't be repeated is no row's figure; with a backbone, the row says that it is another one.
            "joined": one.source not in papers.names() or not repetition.reason or repetition.backbone != "",
        })  # fmt: skip
    return pd.DataFrame(rows, columns=["shots", "sets", "own", "needs", "joined"])


def _protocol(one: papers.Figure, repetition: papers.Repetition, config: papers.PublishedConfig) -> str:
    """Return the protocol of a figure as records name it: that of the cells that repeat it, where there are some."""
    words = repetition.published
    if "protocol" not in words:
        return config.protocols.get(one.protocol, one.protocol)
    full = words["protocol"] == "full_normal" and "train_on" in words
    return "unified_full_normal" if full else words["protocol"]


def _trained(one: papers.Figure, repetition: papers.Repetition) -> str:
    """Return the training sets of a figure; empty where it is the tested one alone, or nothing is learned."""
    words = repetition.published
    if "train_on" in words or words.get("protocol") == "zero_shot":
        return words.get("train_on", "")
    # A cross-dataset matrix names its training set on the diagonal too.
    itself = one.train_dataset == one.test_dataset and one.protocol != "cross_dataset"
    return "" if itself else one.train_dataset


def _backbone(repetition: papers.Repetition) -> str:
    """Return the backbone of a figure: that of its method's preset, or the one that the rule names."""
    words = repetition.published
    if repetition.backbone or "preset" not in words:
        return repetition.backbone
    return _of_preset(words["method"], words["preset"])


@cache
def _of_preset(method: str, name: str) -> str:
    return str(preset(method, name).get("backbone", ""))


def added(long: pd.DataFrame) -> pd.DataFrame:
    """Return a leaderboard's rows with the columns of `compared`, and after them the papers' rows on its datasets.

    Their caveat is "as published": most papers chose the epoch on the test split.
    """
    known = figures()
    names = set(long["dataset"].map(plain))
    names |= {f"{MEAN}{name.partition('/')[0]}" for name in names if "/" in name}
    names |= {f"{MEAN}{group}" for group, content in groups().items() if names >= set(content.get("dataset", ["-"]))}
    known = known[known["dataset"].isin(names)]
    blank = dict.fromkeys(("schedule", "selection", "draws", "content"), "")
    rows = known.assign(standing="as published", unit="per cent", stand_in=False, **blank)
    return pd.concat([compared(long), rows], ignore_index=True)


def compared(long: pd.DataFrame) -> pd.DataFrame:
    """Add `published`, `difference` and `source` to rows on real data that repeat a published setting.

    A setting is method, protocol, training sets, shots, dataset and metric, whichever epoch was chosen; an ablation's
    figure is that of rows with its setting alone. Where several papers print the same setting, the method's own paper
    comes first. Phantom data are compared with nothing, nor are backbones that have only ever seen drawings, nor images
    in the layout of a published set that are not that set. On another backbone than the paper's, or on its own with
    random weights, there is no difference, and `source` says so.
    """
    known, settings, _ = collect(registry.config_folders())
    ordered = settings.loc[settings["joined"], "own"].sort_values(ascending=False, kind="stable").index
    known, settings = known.loc[ordered], settings.loc[ordered]
    keys = ["method", "protocol", "shots", "metric", "name", "sets", "needs"]
    references = known.assign(
        name=known["dataset"], sets=settings["sets"], shots=settings["shots"], needs=settings["needs"],
        published=known["mean"], source=known["variant"], theirs=known["backbone"],
    )  # fmt: skip
    references = references[[*keys, "published", "source", "theirs"]].drop_duplicates(keys)
    changes = settings["needs"].groupby(known["method"]).unique().to_dict()
    needs = [_needed(str(v), changes.get(m, ())) for m, v in zip(long["method"], long["variant"], strict=True)]
    sets = [_sets(sets, "", "") for sets in long["train_on"]]
    rows = long.assign(name=long["dataset"].map(plain), sets=sets, needs=needs)
    merged = rows.merge(references, on=keys, how="left").drop(columns=["name", "sets", "needs"])
    comparable = (merged["data"] == "real") & ~merged["stand_in"] & (merged["content"] == "")
    merged["published"] = merged["published"].where(comparable)
    there, theirs = merged["published"].notna(), merged.pop("theirs").fillna("")
    random = merged["variant"].str.contains("weights=random", regex=False)
    other = there & (theirs != "") & ((theirs != merged["backbone"]) | random)
    theirs = theirs.where(theirs != merged["backbone"], theirs + " with trained weights")
    merged["source"] = merged["source"].where(~other, merged["source"] + ", backbone " + theirs).where(there, "")
    merged["difference"] = (merged["mean"] - merged["published"]).where(~other)
    return merged


def _needed(variant: str, changes: Iterable[str]) -> str:
    """Return which of the changes of some ablations a row's variant has; empty for a row with none of them.

    A change that is a part of another one that the row has is that of another ablation.

    >>> _needed("batch_size=16 levels=[6]", ["", "levels=[6]", "projectors=true"])
    'levels=[6]'
    >>> _needed("levels=[6] views=1", ["levels=[6]", "views=1", "levels=[6] views=1"])
    'levels=[6] views=1'
    """
    settings = set(variant.split())
    had = {one: set(one.split()) for one in changes if one and settings >= set(one.split())}
    return " ".join(sorted(one for one, words in had.items() if not any(words < other for other in had.values())))


def _sets(train_on: str, dataset: str, all_but: str) -> str:
    """Write training sets in one order, and `all_but_NAME` as the other datasets of a group."""
    names = train_on.split("+")
    if all_but and train_on == f"all_but_{dataset}":
        names = list(set(groups().get(all_but, {}).get("dataset", [])) - {dataset})
    return "+".join(sorted(names))
