"""Papers: their figures, `published/*.csv`, and for each the cells that repeat it, `reproduce/PAPER.yaml`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from adbench.config.groups import groups
from adbench.config.layers import load_yaml, merge
from adbench.errors import AdbenchError, did_you_mean
from adbench.plugins import registry

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

COLUMNS = (  # of a file, and the fields of a figure
    "source", "table", "protocol", "shots", "method", "train_dataset", "test_dataset", "metric", "value", "std",
)  # fmt: skip
TEXTS = COLUMNS[:-2]
DEPTH = 24  # blocks of ViT-L/14, whose numbers the papers print


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


@dataclass(frozen=True)
class Rule:
    """How figures are repeated: those whose columns match `figures`, each a regular expression or a list of them.

    cell: the words of a clean cell, with `{dataset}`, `{shots}`, `{train_on}` and the named groups of the expressions.
    theirs: what the authors do and a clean cell doesn't, one facet each, in the order of the attribution ladder.
    variant: settings that a row of a leaderboard must have to be compared with the figure.
    backbone: the figure's, where it is not that of the cell.
    reason: a sentence that says why it can't be repeated; `cell` then says only which rows stand next to the figure.
    note: a sentence on what the paper leaves open.
    """

    figures: dict[str, Any]
    cell: str = ""
    theirs: list[str] = field(default_factory=list)
    variant: str = ""
    backbone: str = ""
    reason: str = ""
    note: str = ""


@dataclass(frozen=True)
class Paper:
    """The content of `reproduce/PAPER.yaml`. `means`: the group that an average of the paper is over, by metric."""

    title: str
    means: dict[str, dict[str, str]] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)


class Figure(NamedTuple):
    """One published figure; all but the last two are the texts of `published/NAME.csv`, value and std are numbers."""

    source: str
    table: str
    protocol: str
    shots: str
    method: str
    train_dataset: str
    test_dataset: str
    metric: str
    value: float
    std: float | None


Words = Mapping[str, str]


@dataclass(frozen=True)
class Repetition:
    """The cells that repeat a figure.

    cell: `key: value` words of the clean cells; several values, a group or a wildcard name several cells, and the
    figure is their mean. theirs: the words of each step from there to the cells as published. Both are empty for a
    figure without rule.
    reason: why it can't be repeated; empty where it can. variant, backbone, note: see `Rule`.
    """

    cell: Words = field(default_factory=dict)
    theirs: tuple[Words, ...] = ()
    variant: str = ""
    backbone: str = ""
    reason: str = ""
    note: str = ""

    @property
    def published(self) -> Words:
        """The words of the cells as published."""
        return reduce(lambda words, step: {**words, **step}, self.theirs, self.cell)


def files(folders: Sequence[Traversable]) -> Iterator[tuple[Traversable, Traversable]]:
    """Yield each `published/NAME.yaml` of some configuration folders, and the CSV file next to it."""
    for folder in folders:
        published = folder / "published"
        for file in sorted(published.iterdir(), key=lambda file: file.name) if published.is_dir() else ():
            if file.name.endswith(".yaml"):
                yield file, published / f"{file.name.removesuffix('.yaml')}.csv"


def read(yaml: Traversable, csv: Traversable) -> tuple[PublishedConfig, pd.DataFrame]:
    """Return the configuration and the lines of one file of figures, columns `COLUMNS`; AdbenchError if unreadable."""
    config = merge(PublishedConfig, load_yaml(yaml), {}, str(yaml))
    try:
        with csv.open(encoding="utf-8") as file:
            raw = pd.read_csv(file, dtype=dict.fromkeys(TEXTS, str))
        if missing := [name for name in COLUMNS if name not in raw]:
            raise AdbenchError(f"{csv} has no column {missing[0]}. It needs {', '.join(COLUMNS)}.")
        raw = raw.assign(value=pd.to_numeric(raw["value"]), std=pd.to_numeric(raw["std"]))
    except (OSError, ValueError) as error:
        raise AdbenchError(f"{csv} can't be read: {error}.") from error
    return config, raw.fillna(dict.fromkeys(TEXTS, ""))


def figures_of(raw: pd.DataFrame) -> list[Figure]:
    """Return the lines of a frame of figures."""
    return [
        Figure._make([*texts, value, None if pd.isna(std) else std])
        for *texts, value, std in raw[[*COLUMNS]].itertuples(index=False, name=None)
    ]


def all_figures() -> list[Figure]:
    """Return every published figure of the installed packages, in the order of their files."""
    return [figure for pair in files(registry.config_folders()) for figure in figures_of(read(*pair)[1])]


def names() -> list[str]:
    """Return the papers whose figures have rules."""
    return list(registry.config_files("reproduce"))


@cache
def paper(name: str) -> Paper:
    """Return the rules of a paper; AdbenchError for an unknown one."""
    known = registry.config_files("reproduce")
    if name not in known:
        raise AdbenchError(f"unknown paper {name!r}: {did_you_mean(name, known)}")
    return merge(Paper, load_yaml(known[name]), {}, str(known[name]))


def repetition(figure: Figure, depth: int = DEPTH) -> Repetition:
    """Return the cells that repeat a figure, by the first rule that matches it.

    depth: the blocks of the image tower, for the paper's layer numbers.
    """
    if figure.source not in names():
        return Repetition(reason=f"No package has rules for the figures of {figure.source}.")
    rules = paper(figure.source)
    for rule in rules.rules:
        if (groups_ := _matched(rule, figure)) is not None:
            return _filled(rule, figure, rules.means, groups_, depth)
    return Repetition(reason=f"reproduce/{figure.source}.yaml has no rule for it.")


def _matched(rule: Rule, figure: Figure) -> dict[str, str] | None:
    """Return the named groups of the expressions of a rule; None where it is no rule for the figure."""
    found: dict[str, str] = {}
    for column, asked in rule.figures.items():
        patterns = [asked] if isinstance(asked, str) else asked
        matches = [re.fullmatch(str(pattern), getattr(figure, column)) for pattern in patterns]
        match = next(filter(None, matches), None)
        if match is None:
            return None
        found |= match.groupdict()
    return found


def _filled(
    rule: Rule, figure: Figure, means: Mapping[str, Mapping[str, str]], named: Mapping[str, str], depth: int
) -> Repetition:
    dataset = means.get(figure.test_dataset, {}).get(figure.metric, figure.test_dataset)
    texts = {"method": figure.method, "shots": figure.shots, "train_on": figure.train_dataset, "dataset": dataset}
    texts |= named
    if "quarter" in named:
        texts["block"] = str(depth * int(named["quarter"]) // 4)

    def fill(text: str) -> str:
        return " ".join(text.format(**texts).split())

    theirs = tuple(_words(fill(step)) for step in rule.theirs)
    return Repetition(
        _words(fill(rule.cell)), theirs, fill(rule.variant), rule.backbone, fill(rule.reason), fill(rule.note)
    )


def _words(text: str) -> Words:
    """Return shell words as a mapping.

    >>> _words("method=clip 'method.templates=[a {}, the {}]'")
    {'method': 'clip', 'method.templates': '[a {}, the {}]'}
    """
    pairs = (word.partition("=") for word in shlex.split(text))
    return {key: value for key, _, value in pairs}


def mean_name(figure: Figure) -> str:
    """Return the dataset of a figure as leaderboards call it: an average over a group is `mean of GROUP`."""
    if figure.source in names():
        group = paper(figure.source).means.get(figure.test_dataset, {}).get(figure.metric)
        if group in groups():
            return f"mean of {group}"
    return figure.test_dataset
