"""What pages read of a record: names of files, predictions, galleries."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from adbench.board.site.records import gallery, predictions, slug
from adbench.records.record import read


@pytest.mark.parametrize("name", ["a/../../b", "..", "", "a\x00b", "Brain", "x" * 300])
def test_no_name_leaves_the_folder(name: str) -> None:
    made = slug(name)
    assert re.fullmatch(r"[A-Za-z0-9_@+-][A-Za-z0-9_.@+-]*", made)
    assert len(made) < 100
    assert made != slug(name + "x")


def test_a_gallery_names_the_images_that_it_shows(runs: Path) -> None:
    record = read(runs / "a0")
    table = predictions(record)
    shown = gallery(record, table)
    assert [p.file.name for p in shown if p.kind == "miss"] == ["miss_01.png", "miss_02.png"]
    worst = table[table["label"] == 1].sort_values("score")["image"].tolist()[:2]
    assert [table["image"][p.row] for p in shown if p.kind == "miss"] == worst
    assert shown[0].panels == ("image", "true outline", "map")


@pytest.mark.parametrize(
    ("labels", "scores", "shares"),
    [
        ([0, 0, 1, 1], [1.0, 2.0, 2.0, 3.0], [0, 1, 0.75, 1]),
        ([0, 0, 0, 1], [1.0, 2.0, 2.0, 0.0], [0, 0.75, 0.75, 0]),
        ([0, 1, 1, 1], [1.0, 2.0, 1.0, 0.0], [0, 1, 0.5, 0]),
    ],
)
def test_shares_are_of_the_other_normal_images_and_ties_count_half(
    make_record, tmp_path: Path, labels: list[int], scores: list[float], shares: list[float]
) -> None:
    folder = make_record(tmp_path, "a0", images=4)
    table = pd.DataFrame({"image": list("abcd"), "label": labels, "score": scores})
    table.to_parquet(folder / "predictions.parquet", index=False)
    assert predictions(read(folder))["share"].tolist() == shares
