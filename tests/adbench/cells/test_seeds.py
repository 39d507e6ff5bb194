"""Cells that differ in their seed alone are resolved once, and come out as those that are resolved one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from adbench.cells.cell import Cell
from adbench.cells.resolve import open_cell, resolve
from adbench.cells.seeds import Alike
from adbench.config.words import parse
from adbench.sweeps.sweep import tasks_of
from adbench.system.session import Session


@pytest.mark.parametrize("seeds", ["0,1,2", "3,0,1", "5,4"])
def test_cells_of_several_seeds_are_those_of_each(tiny: Path, tmp_path: Path, seeds: str) -> None:
    words = [f"data_root={tiny}", f"runs={tmp_path / 'runs'}", "method=patchcore,clip,madclip", "shots=1,2"]
    configs = parse([*words, f"seed={seeds}"])
    session = Session()
    first: dict[str, Cell] = {}
    for task, config in zip(tasks_of(configs), configs, strict=True):
        alone = resolve(config, session)
        alone = first.setdefault(alone.key, alone)  # all seeds of `clip` are one cell, and the first one's
        assert task.cell is not None
        for name in ("config", "key", "facts", "notes", "manifest", "training_key"):
            assert getattr(task.cell, name) == getattr(alone, name), (config.method, config.seed, name)
        assert task.config == alone.config


def test_a_cell_is_opened_once_for_all_its_seeds(tiny: Path, tmp_path: Path, count_calls) -> None:
    words = [f"data_root={tiny}", f"runs={tmp_path / 'runs'}", "method=patchcore", "shots=1,2", "seed=1,2,3,4"]
    with count_calls(open_cell) as calls:
        tasks = tasks_of(parse(words), offline=True)
    assert len({task.key for task in tasks}) == 8
    assert calls == [2]


def test_an_error_is_that_of_each_seed(tiny: Path, tmp_path: Path) -> None:
    words = [f"data_root={tiny}", f"runs={tmp_path / 'runs'}", "method=patchcore", "shots=9", "seed=1,2"]
    tasks = tasks_of(parse(words), offline=True)
    assert [task.config.seed for task in tasks] == [1, 2]
    assert {task.state for task in tasks} == {"impossible"}
    assert {str(task.error) for task in tasks} == {str(tasks[0].error)}
    assert str(tasks[0].error).startswith("shots=9 is more than there are")


@pytest.mark.parametrize(
    ("words", "alike"),
    [
        (["seed=1,2"], True), (["seed=0,1"], False), (["draw=0,1"], False), (["shots=1,2"], False),
        (["dataset=brainmri,oct17"], False), (["dataset=mvtec", "dataset.category=pill,cable"], False),
        (["batch_size=1,2"], False), (["method=clip,patchcore"], False),
    ],
)  # fmt: skip
def test_only_the_seed_makes_no_difference(words: list[str], alike: bool) -> None:
    first, second = map(Alike, parse(words))
    assert (first == second) == alike
    assert (len({first, second}) == 1) == alike
