"""Leaderboards over records made up on disk: aggregation, marks, averages, published figures."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from adbench.board import published, render
from adbench.board.latex import to_latex
from adbench.board.leaderboard import choose, collect, table


def write(runs: Path, key: str, auroc: float, **changes: object) -> None:
    """A record of just what a leaderboard reads."""
    resolved = {"method": "madclip", "backbone": "b", "schedule": "paper", "selection": "last"}
    resolved |= {name: changes.pop(name) for name in list(changes) if name in resolved}
    last = changes.pop("last", None)
    support = {"shots": changes.pop("shots", 16), "source": changes.pop("source", "draw:0")}
    facts = {
        "method": resolved["method"],
        "dataset": changes.pop("dataset", "brainmri"),
        "data": changes.pop("dataset_content", "d"),
        "dataset_facets": {},
        "weights": "w",
    }
    facts |= {"params": {"epochs": changes.pop("epochs", 60)}, "support": changes.pop("manifest", key), "seed": 0}
    facts |= {"train_on": changes.pop("train_on", None)}
    content = {
        "schema": 1, "key": key, "status": "complete", "data": "real", "overlap": 0, "resolved": resolved,
        "facts": facts, "protocol": "few_shot", "support": support, "histogram": None,
        "selection": {"last": last},
        "metrics": {"image_auroc": auroc, "pixel_auroc": changes.pop("pixel", None)},
        "seconds": {"fit": 10.0}, "images_per_second": 5.0, "peak_memory": {"host_bytes": 2e9}, "gflops_per_image": 1.0,
        "parameters": {"trainable": 100},
    }  # fmt: skip
    folder = runs / key
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps(content | changes))
    for name in ("predictions.parquet", "method.safetensors"):
        (folder / name).touch()


def board(*runs: Path, **options: bool) -> pd.DataFrame:
    return table(collect(runs).records, **options)


def test_categories_have_columns_of_their_own(tmp_path: Path) -> None:
    for category in ("bottle", "cable", "all"):
        write(tmp_path, category, 0.9, dataset="mvtec")
        file = tmp_path / category / "record.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"dataset": {"category": category}}))
    assert set(board(tmp_path)["dataset"]) == {"mvtec/bottle", "mvtec/cable", "mvtec"}


def test_an_average_is_printed_for_complete_rows_alone(tmp_path: Path) -> None:
    write(tmp_path, "a", 0.9, dataset="brainmri")
    write(tmp_path, "b", 0.8, dataset="liverct")
    write(tmp_path, "c", 0.7, dataset="brainmri", method="mvfa")
    lines = render.to_markdown(board(tmp_path)).splitlines()
    assert "mean of 2 image auroc" in lines[2]
    assert lines[4] == "| madclip | 90.00 | 80.00 | 85.00 |"
    assert lines[5] == "| mvfa | 70.00 | missing | missing |"


BMAD = ("brainmri", "liverct", "resc", "oct17", "chestxray", "his")


def test_averages_are_the_papers_six_and_three_whatever_else_was_run(tmp_path: Path) -> None:
    for number, dataset in enumerate(BMAD):
        write(tmp_path, dataset, 0.8 + number / 100, dataset=dataset, pixel=0.9 if number < 3 else None)
    write(tmp_path, "busi", 0.1, dataset="busi", pixel=0.1)
    write(tmp_path, "other", 0.99, dataset="busi", method="clip", pixel=0.9)
    ((_, header, rows),) = render.parts(board(tmp_path))
    assert [name for name in header if "mean" in name] == [
        "mean of bmad image auroc", "mean of bmad_masked pixel auroc",
    ]  # fmt: skip
    found = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
    assert found["madclip"]["mean of bmad image auroc"] == "82.50"
    assert found["madclip"]["mean of bmad_masked pixel auroc"] == "90.00"
    assert found["clip"]["mean of bmad image auroc"] == "missing"
    assert rows[0][0] == "madclip", "a row without the average is not the best, however easy its only dataset"


def test_methods_and_datasets_can_be_chosen(adbench, tmp_path: Path) -> None:
    for dataset in ("brainmri", "resc", "busi"):
        for method in ("madclip", "mvfa", "clip"):
            write(tmp_path / "runs", f"{method}-{dataset}", 0.9, dataset=dataset, method=method)
    chosen = choose(collect([tmp_path / "runs"]).records, "m*", "bmad_masked")
    assert {record.key for record in chosen} == {"madclip-brainmri", "madclip-resc", "mvfa-brainmri", "mvfa-resc"}
    own = ("--method", "clip,mvfa", "--dataset", "busi")
    answer = adbench("leaderboard", tmp_path / "runs", *own, "--published", "--csv", tmp_path / "b.csv")
    assert answer.code == 0, answer.err
    long = pd.read_csv(tmp_path / "b.csv")
    assert set(long["method"]) <= {"clip", "mvfa"}
    assert set(long["dataset"]) == {"busi"}
    wrong = adbench("leaderboard", tmp_path / "runs", "--dataset", "busi,liverct")
    assert wrong.code == 2
    assert re.search(r"--dataset liverct fits no record.*brainmri, busi, resc", wrong.err)


def test_the_oracles_leak_is_a_number_over_the_same_records(tmp_path: Path) -> None:
    oracle = {"selection": "oracle"}
    write(tmp_path, "a", 0.95, pixel=0.90, last={"image_auroc": 0.90, "pixel_auroc": 0.91}, **oracle)
    write(tmp_path, "b", 0.85, pixel=0.90, last={"image_auroc": 0.84, "pixel_auroc": 0.90}, **oracle)
    write(tmp_path, "c", 0.80, pixel=0.80, last={"image_auroc": 0.70, "pixel_auroc": 0.80}, method="mvfa", **oracle)
    long = board(tmp_path)
    leak = long[long["metric"] == "image_auroc_leak"].set_index("method")
    assert leak.loc["madclip", ["mean", "std", "n"]].tolist() == [pytest.approx(3), pytest.approx(8**0.5), 2]
    ((_, header, rows),) = render.parts(long, render.HEADLINE)
    assert header[1:] == [
        f"brainmri {kind} auroc{end}" for kind in ("image", "pixel") for end in ("", " last", " leak")
    ]
    assert rows[1] == ["mvfa", "80.00", "70.00", "10.00", "80.00", "80.00", "0.00"]
    text = to_latex(long)
    assert "image AUROC, leak" in text
    assert r" & 10.00 & " in text, "a leak is not ranked"
    assert r"\underline{70.00}" in text


def test_an_oracle_without_figures_of_the_last_epoch_has_no_leak(tmp_path: Path) -> None:
    write(tmp_path, "a", 0.95, selection="oracle")
    assert set(board(tmp_path)["metric"]) == {"image_auroc"}


def test_a_support_list_is_not_averaged_with_draws_nor_with_another_list(tmp_path: Path) -> None:
    write(tmp_path, "a", 0.9, source="draw:0")
    write(tmp_path, "b", 0.8, source="draw:1")
    write(tmp_path, "c", 0.7, source="list:16-shot.txt")
    found = board(tmp_path).set_index("variant")["n"].to_dict()
    assert found == {"": 2, "support=16-shot.txt": 1}
    write(tmp_path, "d", 0.6, source="list:16-shot.txt", dataset="resc", dataset_content="r")
    assert set(board(tmp_path)["variant"]) == set(found), "one name may be another list on another dataset"
    write(tmp_path, "e", 0.6, source="list:16-shot.txt", manifest="fedcba987")
    assert set(board(tmp_path)["variant"]) == {*found, "support=16-shot.txt@c", "support=16-shot.txt@fedcba"}


def test_draws_are_averaged_and_other_settings_are_not(tmp_path: Path) -> None:
    write(tmp_path, "a", 0.90)
    write(tmp_path, "b", 0.80)
    write(tmp_path, "c", 0.50, epochs=8)
    long = board(tmp_path)
    image = long[long["metric"] == "image_auroc"].set_index("variant")
    assert image.loc["epochs=60", ["mean", "n"]].tolist() == [pytest.approx(85.0), 2]
    assert image.loc["epochs=60", "std"] == pytest.approx(50**0.5)
    assert image.loc["epochs=8", "n"] == 1


def test_leaks_stand_apart_and_say_so(tmp_path: Path) -> None:
    write(tmp_path, "a", 0.9)
    write(tmp_path, "b", 0.95, selection="oracle")
    write(tmp_path, "c", 0.99, overlap=3)
    titles = [title for title, _, _ in render.parts(board(tmp_path))]
    assert len(titles) == 3
    assert sum("chosen on the test split" in title for title in titles) == 1
    assert sum("among the training data" in title for title in titles) == 1


def test_costs_only_where_asked(tmp_path: Path) -> None:
    write(tmp_path, "a", 0.9)
    assert "fit_seconds" not in set(board(tmp_path)["metric"])
    costs = board(tmp_path, costs=True).set_index("metric")["mean"]
    assert costs["fit_seconds"] == 10
    assert costs["peak_gb"] == 2


def test_published_figures_and_the_difference(tmp_path: Path) -> None:
    write(tmp_path, "a", 0.9, pixel=0.95)
    write(tmp_path, "b", 0.9, data="phantom")
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
    tmp_path: Path, changes: dict[str, Any], paper: float | None
) -> None:
    write(tmp_path, "a", 0.9, **changes)
    (row,) = published.beside(board(tmp_path)).to_dict("records")
    if paper is None:
        assert pd.isna(row["difference"])
        assert row["source"] == ""
    else:
        assert row["difference"] == pytest.approx(90 - paper)
        assert " Table " in row["source"]


def test_two_contents_of_a_dataset_are_both_beside_the_paper(tmp_path: Path) -> None:
    write(tmp_path, "a", 0.9)
    write(tmp_path, "b", 0.8, dataset_content="fewer files")
    long = published.added(board(tmp_path))
    own = long[long["data"] == "real"]
    assert own["dataset"].nunique() == 2
    assert own["difference"].notna().all()
    assert set(long[long["data"] == "published"]["dataset"]) == {"brainmri"}


def test_datasets_that_no_paper_has_are_named(adbench, tmp_path: Path) -> None:
    write(tmp_path, "a", 0.9, dataset="mine")
    answer = adbench("leaderboard", tmp_path, "--published")
    assert answer.code == 0
    assert "no paper's figures on mine" in answer.err


# --- one cell, several records


def test_records_that_differ_in_the_last_bits_agree_and_the_first_one_stands(tmp_path: Path) -> None:
    for folder, auroc in (("laptop", 0.90125), ("server", 0.9012500001)):
        write(tmp_path / folder, "a", auroc, pixel=0.8)
    found = collect([tmp_path / "server", tmp_path / "laptop"])
    assert found.disagreements == []
    assert [record.path for record in found.records] == [tmp_path / "server" / "a"]


def test_records_that_disagree_are_all_told_and_left_out(adbench, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, auroc in ((one, 0.9), (two, 0.8)):
        write(folder, "a", auroc)
        write(folder, "b", auroc, dataset="resc")
    write(one, "c", 0.7, method="mvfa")
    write(two, "d", 0.6, method="clip")
    answer = adbench("leaderboard", one, two, "--markdown", "--csv", tmp_path / "board.csv")
    assert answer.code == 4
    for key in "ab":
        assert f"{one / key} and {two / key} are records of one cell" in answer.err
    assert "image_auroc 90.00 and 80.00" in answer.err
    assert "| mvfa | 70.00 |" in answer.out
    assert set(pd.read_csv(tmp_path / "board.csv")["method"]) == {"mvfa", "clip"}
    (one / "c").rename(tmp_path / "c")
    (two / "d").rename(tmp_path / "d")
    alone = adbench("leaderboard", one, two)
    assert alone.code == 4
    assert "left out" in alone.err.lower()
    assert alone.out == ""


def test_a_figure_that_only_one_of_two_records_has_is_a_disagreement(tmp_path: Path) -> None:
    write(tmp_path / "one", "a", 0.9, pixel=0.8)
    write(tmp_path / "two", "a", 0.9)
    (said,) = collect([tmp_path / "one", tmp_path / "two"]).disagreements
    assert "pixel_auroc 80.00 and missing" in said


def test_the_command_writes_what_it_prints(adbench, tmp_path: Path) -> None:
    write(tmp_path / "runs", "a", 0.9, pixel=0.95)
    file = tmp_path / "board.json"
    answer = adbench("leaderboard", tmp_path / "runs", "--markdown", "--published", "--costs", "--json", file)
    assert answer.code == 0, answer.err
    assert "90.00 [-5.90]" in answer.out
    assert "### Published figures" in answer.out
    assert "fit seconds" in answer.out
    rows = json.loads(file.read_text())
    (own,) = (row for row in rows if row["data"] == "real" and row["metric"] == "image_auroc")
    assert own["mean"] == 90.0
    assert own["difference"] == -5.9
    assert own["std"] is None


def test_published_figures_name_their_source() -> None:
    figures = published.figures()
    assert len(figures) > 300
    assert figures["variant"].str.contains(" Table ").all()
    assert figures["mean"].between(0, 100).all()
    assert not figures["dataset"].str.startswith("mean_of").any()


def test_phantoms_of_a_set_do_not_take_the_name_of_the_real_one(tmp_path: Path) -> None:
    write(tmp_path, "a", 0.9, data="real")
    write(tmp_path, "b", 0.8, data="phantom", dataset_content="other")
    long = board(tmp_path)
    assert set(long["dataset"]) == {"brainmri"}
    assert published.beside(long)["published"].notna().any()
    write(tmp_path, "c", 0.7, data="real", dataset_content="another")
    assert len(set(board(tmp_path)["dataset"])) == 3
