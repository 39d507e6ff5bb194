"""Published figures: their source, and the difference to a record's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from adbench.board import published


def test_published_figures_name_their_source() -> None:
    figures = published.figures()
    assert len(figures) > 300
    assert figures["variant"].str.contains(" Table ").all()
    assert figures["mean"].between(0, 100).all()
    assert not figures["dataset"].str.startswith("mean_of").any()
    assert set(figures["metric"]) == {"image_auroc", "pixel_auroc"}
    assert not figures["protocol"].str.startswith(("ablation", "model_size")).any()
    assert not figures.duplicated([name for name in figures if name not in ("mean", "std")]).any()


def test_published_figures_and_the_difference(write_record, board, tmp_path: Path) -> None:
    write_record(tmp_path, "a", 0.9, pixel=0.95)
    write_record(tmp_path, "b", 0.9, data="phantom")
    rows = published.beside(board(tmp_path)).set_index(["data", "metric"])
    real = rows.loc[("real", "image_auroc")]
    assert real["published"] == 95.90  # MadCLIP, 16 shots, Table 1
    assert real["difference"] == pytest.approx(90 - 95.90)
    assert real["source"] == "MadCLIP (MICCAI 2025) Table 1"
    assert pd.isna(rows.loc[("phantom", "image_auroc"), "published"])


THREE = {"method": "tgumiad", "protocol": "unified_full_normal", "shots": "full", "dataset": "resc"}


OTHERS = {"protocol": "leave_one_out_published", "shots": "full", "dataset": "resc", "method": "mvfa"}


@pytest.mark.parametrize(
    ("changes", "paper"),
    [
        ({"selection": "oracle"}, 95.90),
        ({"capability": {"transductive": True}}, 95.90),
        (THREE | {"train_on": "brainmri+liverct+resc"}, 82.8),
        (THREE | {"train_on": "resc+brainmri+liverct"}, 82.8),
        (THREE | {"train_on": "brainmri+resc"}, None),
        ({"protocol": "cross_dataset", "train_on": "brainmri", "dataset": "adni"}, 57.35),
        ({"protocol": "cross_dataset", "train_on": "resc", "dataset": "octdl"}, 88.09),
        ({"protocol": "cross_dataset", "train_on": "brainmri", "dataset": "octdl"}, None),
        (OTHERS | {"train_on": "his+chestxray+oct17+brainmri+liverct"}, 83.31),
        (OTHERS | {"train_on": "his"}, None),
        ({"shots": 3}, None),
        ({"backbone": "phantom-clip"}, None),
    ],
)
def test_a_difference_is_taken_where_the_setting_is_the_same(
    write_record, board, tmp_path: Path, changes: dict[str, Any], paper: float | None
) -> None:
    write_record(tmp_path, "a", 0.9, **changes)
    (row,) = published.beside(board(tmp_path)).to_dict("records")
    if paper is None:
        assert pd.isna(row["difference"])
        assert row["source"] == ""
    else:
        assert row["difference"] == pytest.approx(90 - paper)
        assert " Table " in row["source"]


def test_two_contents_of_a_dataset_are_both_beside_the_paper(write_record, board, tmp_path: Path) -> None:
    write_record(tmp_path, "a", 0.9)
    write_record(tmp_path, "b", 0.8, dataset_content="fewer files")
    long = published.added(board(tmp_path))
    own = long[long["data"] == "real"]
    assert own["dataset"].nunique() == 2
    assert own["difference"].notna().all()
    assert set(long[long["data"] == "published"]["dataset"]) == {"brainmri"}


def test_datasets_that_no_paper_has_are_named(write_record, adbench, tmp_path: Path) -> None:
    write_record(tmp_path, "a", 0.9, dataset="mine")
    answer = adbench("leaderboard", tmp_path, "--published")
    assert answer.code == 0
    assert "no paper's figures on mine" in answer.err
