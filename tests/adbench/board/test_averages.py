"""Averages over datasets, and cells that never ran."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from adbench.board import render


def test_an_average_is_printed_for_complete_rows_alone(write_record, board, markdown_rows, tmp_path: Path) -> None:
    write_record(tmp_path, "a", 0.9, dataset="brainmri")
    write_record(tmp_path, "b", 0.8, dataset="liverct")
    write_record(tmp_path, "c", 0.7, dataset="brainmri", method="mvfa")
    assert markdown_rows(render.to_markdown(board(tmp_path))) == {
        "method": ["brainmri", "liverct", "mean of 2"],
        "madclip": ["90.00", "80.00", "85.00"],
        "mvfa": ["70.00", "missing", "missing"],
    }


@pytest.mark.parametrize(
    ("liver", "count", "whole"),
    [
        ([("draw:0", 0), ("draw:1", 0)], 2, True),
        ([("draw:0", 0)], 1, False),
        ([("draw:0", 0), ("draw:2", 0)], 2, False),
        ([("draw:0", 0), ("draw:1", 1)], 2, False),
    ],
)
def test_an_average_is_over_the_same_draws_and_seeds(
    write_record, board, markdown_rows, tmp_path: Path, liver: list[tuple[str, int]], count: int, whole: bool
) -> None:
    for draw, auroc in ((0, 0.7), (1, 0.8)):
        write_record(tmp_path, f"a{draw}", auroc, source=f"draw:{draw}")
    for number, (source, seed) in enumerate(liver):
        write_record(tmp_path, f"b{number}", 0.85, dataset="liverct", source=source, seed=seed)
    for name, dataset in (("c", "brainmri"), ("d", "liverct"), ("e", "brainmri")):
        write_record(tmp_path, name, 0.01, dataset=dataset, method="clip" if name == "e" else "mvfa")
    rows = markdown_rows(render.to_markdown(board(tmp_path)))
    names = ["madclip", "mvfa", "clip"] if whole else ["mvfa", "clip", "madclip"]
    assert list(rows) == ["method", *names], "no place without it"
    assert rows["madclip"][0] == "75.00 ± 7.07 (2)"
    assert rows["madclip"][1].endswith(f"({count})"), "two numbers of draws in a row are told"
    assert rows["madclip"][2] == ("80.00 (2)" if whole else "missing")
    assert rows["mvfa"][2] == "1.00"


def test_a_method_without_draws_is_whole_with_one_record_of_each_dataset(
    write_record, board, markdown_rows, tmp_path: Path
) -> None:
    for dataset in ("brainmri", "liverct"):
        write_record(tmp_path, f"c-{dataset}", 0.6, method="clip", shots=0, source="none", dataset=dataset)
        for draw in (0, 1):
            write_record(tmp_path, f"m{draw}-{dataset}", 0.7, source=f"draw:{draw}", dataset=dataset)
    found = markdown_rows(render.to_markdown(board(tmp_path)))
    assert [row[-1] for row in found.values()] == ["mean of 2", "60.00", "70.00 (2)"]
    assert set(board(tmp_path)["draws"]) == {"-/0", "0/0 1/0"}


BMAD = ("brainmri", "liverct", "resc", "oct17", "chestxray", "his")


def test_averages_are_the_papers_six_and_three_whatever_else_was_run(write_record, board, tmp_path: Path) -> None:
    for number, dataset in enumerate(BMAD):
        write_record(tmp_path, dataset, 0.8 + number / 100, dataset=dataset, pixel=0.9 if number < 3 else None)
    write_record(tmp_path, "busi", 0.1, dataset="busi", pixel=0.1)
    write_record(tmp_path, "other", 0.99, dataset="busi", method="clip", pixel=0.9)
    image, pixel = render.parts(board(tmp_path))
    assert (image.header[-1], pixel.header[-1]) == ("mean of bmad", "mean of bmad_masked")
    assert [row[-1] for row in image.rows] == ["82.50", "missing"]
    assert [row[-1] for row in pixel.rows] == ["90.00", "missing"]
    assert image.rows[0][0] == "madclip", "a row without the average is not the best, however easy its only dataset"


def test_what_never_ran_is_missing_and_what_does_not_apply_is_not(
    write_record, markdown_rows, adbench, tmp_path: Path
) -> None:
    runs, csv, file = tmp_path / "runs", tmp_path / "board.csv", tmp_path / "board.json"
    for dataset in ("brainmri", "liverct"):
        write_record(runs, f"a-{dataset}", 0.9, pixel=0.8, dataset=dataset)
        write_record(runs, f"d-{dataset}", 0.7, method="draem", dataset=dataset)
    write_record(runs, "c", 0.6, pixel=0.5, method="clip")
    answer = adbench("leaderboard", runs, "--markdown", "--csv", csv, "--json", file)
    assert answer.code == 0, answer.err
    assert markdown_rows(answer.out)["clip"] == ["60.00", "missing", "missing"]
    pixel = markdown_rows(answer.out, "pixel AUROC")
    assert pixel["clip"] == ["50.00", "missing", "missing"]
    assert "draem" not in pixel, "it makes no maps"
    long = pd.read_csv(csv, keep_default_na=False)
    assert len(json.loads(file.read_text())) == len(long)
    told = {(row["method"], row["dataset"], row["metric"]): (row["mean"], row["n"]) for _, row in long.iterrows()}
    assert told["madclip", "mean of 2", "image_auroc"] == ("90.00", 1)
    assert told["clip", "liverct", "image_auroc"] == told["clip", "mean of 2", "pixel_auroc"] == ("", 0)
    assert ("draem", "liverct", "pixel_auroc") not in told
    assert ("draem", "mean of 2", "pixel_auroc") not in told
    assert len(told) == len(long) == 15
    assert set(long["unit"]) == {"per cent"}
