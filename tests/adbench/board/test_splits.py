"""Splits that adbench makes, folds, categories, and abnormal support from the test split, on the leaderboard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from adbench.board import published, render
from adbench.board.averages import averages, completed
from adbench.board.leaderboard import collect, partial_folds, table
from adbench.board.scores import scores_of, to_csv
from adbench.board.sections import sections


@pytest.fixture
def write(write_record, tmp_path: Path):
    """Write a record with a configuration of its dataset."""

    def write(key: str, auroc: float, about: dict[str, Any], **changes: object) -> None:
        write_record(tmp_path, key, auroc, **{"dataset": "folder", "dataset_content": key} | changes)
        file = tmp_path / key / "record.json"
        content = json.loads(file.read_text())
        content["facts"] |= {"abnormal_support": "test"} if about.pop("from_test", False) else {}
        file.write_text(json.dumps(content | {"dataset": content.get("dataset", {}) | about}))

    return write


def split(seed: int, fold: int | None = None, folds: int | None = None, images: str = "i") -> dict[str, Any]:
    return {"split": {"seed": seed, "fold": fold, "folds": folds, "shares": None, "images": images}}


def test_splits_of_the_same_images_are_one_column_that_says_so(write, board, tmp_path: Path) -> None:
    for seed in range(3):
        write(f"a{seed}", 0.6 + 0.1 * seed, split(seed))
    (line,) = board(tmp_path).to_dict("records")
    assert (line["dataset"], line["n"], line["draws"]) == ("folder", 3, "0/0/0 0/0/1 0/0/2")
    assert line["mean"] == pytest.approx(70)
    assert "means over 1 draw, 1 seed, 3 splits" in render.to_markdown(board(tmp_path))


def test_other_images_or_official_splits_are_never_averaged(write, board, tmp_path: Path) -> None:
    write("a", 0.6, split(0))
    write("b", 0.7, split(1, images="other"))
    write("c", 0.8, {"split": None})
    assert sorted(board(tmp_path)["n"]) == [1, 1, 1]
    assert len(set(board(tmp_path)["dataset"])) == 3


def test_one_split_is_listed_as_ever(write, board, tmp_path: Path) -> None:
    write("a", 0.6, split(0))
    write("b", 0.8, split(0), source="draw:1")
    write("c", 0.8, split(5), method="mvfa")
    first, second = board(tmp_path).to_dict("records")
    assert (first["dataset"], first["draws"]) == ("folder", "0/0 1/0")
    assert (second["dataset"], second["draws"]) == ("folder", "0/0/5"), "another split is told"


def test_folds_are_a_column_of_their_own_and_missing_ones_are_named(write, board, tmp_path: Path) -> None:
    write("whole", 0.5, split(0))
    for fold in (0, 2):
        write(f"f{fold}", 0.6 + 0.1 * fold, split(0, fold, 3))
    lines = {line["dataset"]: line for line in board(tmp_path).to_dict("records")}
    assert lines["folder (3 folds)"]["mean"] == pytest.approx(70)
    assert (lines["folder (3 folds)"]["n"], lines["folder (3 folds)"]["draws"]) == (2, "0/0/0.0 0/0/0.2")
    assert lines["folder"]["mean"] == 50
    (sentence,) = partial_folds(collect([tmp_path]).records)
    assert sentence.startswith("madclip on folder (3 folds), draw 0, seed 0, split 0: fold 1 has no record")
    write("f1", 0.6, split(0, 1, 3))
    assert partial_folds(collect([tmp_path]).records) == []
    write("other", 0.6, split(0, 0, 3), source="draw:1")
    (sentence,) = partial_folds(collect([tmp_path]).records)
    assert "draw 1, seed 0, split 0: folds 1, 2 have no record; its figures are means of 1 of 3 folds" in sentence


def test_each_image_has_one_held_out_score(write, tmp_path: Path) -> None:
    for fold in (0, 1):
        write(f"f{fold}", 0.6, split(0, fold, 2))
        images = [f"test/normal/{fold}.png", f"test/abnormal/{fold}.png"]
        columns = {"image": images, "label": [0, 1], "score": [0.5 + fold, 2.0], "map_max": [0.0] * 2}
        columns |= {"map_mean": [0.0] * 2, "patient": ["p", "q"], "subgroup": ["a", "b"]}
        pd.DataFrame(columns).to_parquet(tmp_path / f"f{fold}" / "predictions.parquet")
    scores = scores_of(collect([tmp_path]).records)
    assert scores["image"].is_unique
    assert scores["fold"].tolist() == [0, 0, 1, 1]
    assert to_csv(scores).splitlines()[2].endswith("f0,test/normal/0.png,0,0.5,p,a")


def test_categories_have_an_average_of_their_own() -> None:
    names = [f"mvtec/{name}" for name in ("bottle", "cable")]
    assert averages([*names, "brainmri", "busi"]) == {
        "mean of 2": ["brainmri", "busi"],
        "mean of mvtec (2 of 15)": names,
    }
    assert averages(["mvtec/bottle", "mvtec/cable@aaaaaa", "mvtec/cable@bbbbbb"]) == {}, "a category counts once"
    assert averages(["mvtec/bottle", "brainmri"]) == {"mean of 2": ["mvtec/bottle", "brainmri"]}


def test_the_average_over_all_categories_meets_the_papers(write, board, tmp_path: Path) -> None:
    from adbench.config.axes import categories

    names = categories("mvtec")
    for i, name in enumerate(names):
        about = {"category": name, "from_test": True}
        write(name, 0.90 + 0.005 * i, about, dataset="mvtec", method="mvfa", shots=4)
    write("pooled", 0.5, {"category": "all", "from_test": True}, dataset="mvtec", method="mvfa", shots=4)
    rows = completed(published.added(board(tmp_path)))
    image = rows[(rows["metric"] == "image_auroc") & (rows["method"] == "mvfa")].set_index(["data", "dataset"])
    ours = image.loc["real", "mean of mvtec"]
    assert ours["mean"] == pytest.approx(93.5)
    assert (ours["published"], ours["standing"]) == (96.19, "test support")
    assert ours["difference"] == pytest.approx(93.5 - 96.19)
    assert image.loc["published", "mean of mvtec"]["mean"] == 96.19
    assert pd.isna(image.loc["real", "mvtec"]["published"]), "a paper's mean over categories is no pooled figure"
    text = render.to_markdown(published.added(board(tmp_path)))
    assert "[-2.69]" in text
    assert "abnormal support taken from the test split, which is scored without it" in text


def test_rows_with_support_from_the_test_split_stand_apart(write, board, tmp_path: Path) -> None:
    write("a", 0.9, {"category": "bottle", "from_test": True}, dataset="mvtec")
    write("b", 0.8, {"category": "bottle"}, dataset="mvtec", method="patchcore", dataset_content="a")
    assert set(table(collect([tmp_path]).records)["standing"]) == {"clean", "test support"}
    assert len(list(sections(board(tmp_path)))) == 2
