"""Dotted axes: categories, split seeds and folds of a dataset."""

from __future__ import annotations

import pytest

from adbench.config.words import config_of, parse, words_of
from adbench.errors import AdbenchError


def parts(*words: str) -> list[dict[str, object]]:
    return [dict(config.words("dataset")) for config in parse(words)]


def test_categories_are_an_axis_and_a_wildcard_is_each_of_them() -> None:
    assert [p["category"] for p in parts("dataset=mvtec", "dataset.category=bottle,cable")] == ["bottle", "cable"]
    assert len(parts("dataset=mvtec", "dataset.category=*")) == 15
    assert parts("dataset=mvtec", "dataset.category=all") == [{"category": "all"}]
    both = parse(["dataset=mvtec,visa", "dataset.category=ca*", "draw=0,1"])
    assert len(both) == 2 * (3 + 3)
    assert {(c.dataset, c.words("dataset")["category"]) for c in both} >= {("visa", "candle"), ("mvtec", "cable")}


def test_folds_are_an_axis_and_one_can_be_named() -> None:
    assert [p["fold"] for p in parts("dataset=folder", "dataset.folds=3")] == [0, 1, 2]
    assert parts("dataset=folder", "dataset.folds=3", "dataset.fold=*") == parts("dataset=folder", "dataset.folds=3")
    assert parts("dataset=folder", "dataset.folds=3", "dataset.fold=2,0") == [
        {"folds": 3, "fold": 2},
        {"folds": 3, "fold": 0},
    ]


def test_split_seeds_are_an_axis_crossed_with_folds() -> None:
    found = parts("dataset=folder", "dataset.split_seed=0,7", "dataset.folds=2")
    assert [(p["split_seed"], p["fold"]) for p in found] == [(0, 0), (0, 1), (7, 0), (7, 1)]


def test_other_keys_with_a_dot_keep_their_commas() -> None:
    (part,) = parts("dataset=folder", "dataset.object_name=knee, left")
    assert part == {"object_name": "knee, left"}


def test_python_values_are_axes_too() -> None:
    words = words_of({"overrides": {"dataset.split_seed": range(3), "dataset.category": ["a", "b"]}})
    assert words == ["dataset.split_seed=0,1,2", "dataset.category=a,b"]
    with pytest.raises(AdbenchError, match="one configuration is needed.*names 4"):
        config_of({"dataset": "folder", "overrides": {"dataset.folds": 4}})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dataset=mvtec", "dataset.category=zz*"], "matches nothing in mvtec: its categories are bottle"),
        (["dataset=brainmri", "dataset.category=*"], "matches nothing in brainmri: it has no categories"),
        (["dataset=nosuch", "dataset.category=*"], "unknown dataset 'nosuch'"),
        (["dataset.fold=*"], r"give their number, as in dataset\.folds=5"),
        (["dataset.folds=1"], "a number of folds from 2"),
        (["dataset.folds=x"], "a number of folds from 2"),
        (["dataset.folds=3,5"], "a number of folds from 2"),
        (["dataset.category=,"], "a value is missing"),
    ],
)
def test_what_names_no_part_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(AdbenchError, match=message):
        parse(words)
