"""Axes with a dot: keys of a dataset that may have several values, each of which is another part of its images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from adbench.config.layers import load_yaml, read_value
from adbench.errors import AdbenchError
from adbench.plugins import registry

CATEGORY, SEED, FOLD, FOLDS = "dataset.category", "dataset.split_seed", "dataset.fold", "dataset.folds"
DOTTED = (CATEGORY, SEED, FOLD)
MOST_FOLDS = 1000


def with_folds(axes: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """Return the axes with one more, `dataset.fold`, where `dataset.folds=N` or `dataset.fold=*` stands for all folds.

    >>> with_folds({"dataset.folds": ["3"]})["dataset.fold"]
    ['0', '1', '2']
    """
    given, fold = axes.get(FOLDS, ["null"]), list(axes.get(FOLD, ["*"]))
    folds = read_value(given[0])
    if len(given) > 1 or fold != ["*"] or (folds is None and FOLD not in axes):
        return dict(axes)
    if folds is None:
        raise AdbenchError("dataset.fold=* stands for all folds: give their number, as in dataset.folds=5.")
    if type(folds) is not int or not 2 <= folds <= MOST_FOLDS:
        raise AdbenchError(f"dataset.folds={given[0]} is not possible: a number of folds from 2 is needed.")
    return {**axes, FOLD: [str(number) for number in range(folds)]}


def cells(axes: Mapping[str, Sequence[str]]) -> Iterator[dict[str, str]]:
    """Yield the combinations of the dotted axes, wildcards of `dataset.category` left as they are."""
    dotted = {key: list(texts) for key, texts in axes.items() if key in DOTTED}
    combinations: list[dict[str, str]] = [{}]
    for key, texts in dotted.items():
        combinations = [before | {key: text} for before in combinations for text in dict.fromkeys(texts)]
    yield from combinations


def expanded(dataset: str, dotted: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the combinations that one stands for on a dataset: a wildcard is each category that it matches.

    >>> [cell["dataset.category"] for cell in expanded("mvtec", {"dataset.category": "ca*"})]
    ['cable', 'capsule', 'carpet']
    """
    text = dotted.get(CATEGORY, "")
    if "*" not in text and "?" not in text:
        return [dict(dotted)]
    names = categories(dataset)
    matched = [name for name in names if fnmatchcase(name, text)]
    if not matched:
        has = f"its categories are {', '.join(names)}" if names else "it has no categories"
        raise AdbenchError(f"dataset.category={text} matches nothing in {dataset}: {has}.")
    return [{**dotted, CATEGORY: name} for name in matched]


def categories(dataset: str) -> list[str]:
    """Return the categories that the configuration of a dataset names; none for most datasets."""
    file = registry.config_file("dataset", dataset)
    return [str(name) for name in (load_yaml(file).get("categories") or {})] if file else []
