"""Records that can't both be what they say: copies of one run, and other test images of the same data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from adbench.board.copies import alike, copies, equal_seeds, other_tests
from adbench.board.draws import missing_runs, unproven_seeds
from adbench.records.record import read_all

LEARNED = {"support": {"normal": ["a"], "abnormal": []}, "capability": {"epochs": 3, "stochastic": True}}


@pytest.fixture
def run(write_record, tmp_path: Path) -> Callable[..., None]:
    """Write a record whose 20 scores are random numbers of a seed."""

    def write(key: str, scores: int, **changes: object) -> None:
        write_record(tmp_path, key, 0.8, **(LEARNED | changes))
        values = np.random.default_rng(scores).normal(size=20).astype(np.float32)
        table = pd.DataFrame({"image": [f"i{i}" for i in range(20)], "label": 0, "score": values})
        table.to_parquet(tmp_path / key / "predictions.parquet", index=False)

    return write


def test_the_best_draw_again_as_another_draw(run, tmp_path: Path) -> None:
    run("a", 1, source="draw:0")
    run("b", 2, source="draw:1")
    assert list(copies(alike(read_all(tmp_path)))) == []
    run("c", 2, source="draw:2")
    (sentence,) = copies(alike(read_all(tmp_path)))
    assert f"{tmp_path / 'b'} and {tmp_path / 'c'} have the same scores, bit for bit" in sentence


def test_what_was_never_trained_says_the_same_of_every_draw(run, tmp_path: Path) -> None:
    for draw in (0, 1):
        run(f"d{draw}", 1, source=f"draw:{draw}", capability={"epochs": 0, "stochastic": True})
    assert list(copies(alike(read_all(tmp_path)))) == []
    for draw in (0, 1):  # a memory bank has no trainable parameter, and depends on its draw
        bank = {"capability": {"epochs": 0, "stochastic": True}, "parameters": {"trainable": 0}, "method": "patchcore"}
        run(f"bank{draw}", 1, source=f"draw:{draw}", **bank)
    assert len(list(copies(alike(read_all(tmp_path))))) == 1


def test_a_training_that_is_the_same_from_two_seeds_is_no_finding(run, tmp_path: Path) -> None:
    for seed in (0, 1):
        run(f"s{seed}", 1, seed=seed, manifest="one")
    records = read_all(tmp_path)
    assert list(copies(alike(records))) == []
    assert "seeds 0 and 1 have the same scores, bit for bit" in equal_seeds(alike(records))[0]


def test_images_left_out_of_the_test_of_one_draw(write_record, board, tmp_path: Path) -> None:
    write_record(tmp_path, "a", 0.8, source="draw:0", test_images=276)
    write_record(tmp_path, "b", 0.9, source="draw:1", test_images=196)
    (sentence,) = other_tests(read_all(tmp_path))
    assert "tests 276 images" in sentence
    assert "196" in sentence
    assert board(tmp_path)["dataset"].nunique() == 2, "they are not averaged"


def test_draws_with_the_seed_of_their_number_are_complete(write_record, tmp_path: Path) -> None:
    for number in (0, 1, 2):
        write_record(tmp_path, f"r{number}", 0.8, source=f"draw:{number}", seed=number)
    assert missing_runs(read_all(tmp_path)) == []
    write_record(tmp_path, "r4", 0.8, source="draw:4", seed=4)
    (sentence,) = missing_runs(read_all(tmp_path))
    assert "draw 3 with seed 3 is missing" in sentence


def test_a_seed_that_was_left_out_of_a_support_list(write_record, tmp_path: Path) -> None:
    for seed in (0, 1, 3):
        write_record(tmp_path, f"s{seed}", 0.8, source="list:mvfa", seed=seed, manifest="m")
    (sentence,) = missing_runs(read_all(tmp_path))
    assert ": seed 2 is missing; its means are over 3 runs" in sentence


def test_a_row_without_a_seed_0_says_nothing_of_how_its_seeds_were_chosen(write_record, tmp_path: Path) -> None:
    write_record(tmp_path, "a", 0.8, seed=17)
    records = read_all(tmp_path)
    assert missing_runs(records) == []
    assert "whether seed 17 was chosen among others" in unproven_seeds(records)[0]


def test_a_draw_of_a_very_large_number_is_no_endless_search(write_record, tmp_path: Path) -> None:
    write_record(tmp_path, "a", 0.8, source="draw:99999")
    (sentence,) = missing_runs(read_all(tmp_path))
    assert "and 980 more are missing" in sentence
