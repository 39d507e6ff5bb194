"""Rows of a leaderboard over records made up on disk: which records are read, and what is averaged."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from adbench.board import published, render
from adbench.board.figure import HEADLINE
from adbench.board.latex import to_latex
from adbench.board.leaderboard import choose, collect


def test_records_of_two_versions_are_named(write_record, adbench, tmp_path: Path) -> None:
    for number, version in enumerate(("0.1.0", "0.0.3", "0.1.0")):
        code = {"version": version, "commit": None, "dirty": None}
        write_record(tmp_path, f"r{number}", 0.8, source=f"draw:{number}", code=code)
    assert "records of adbench 0.0.3, 0.1.0 stand side by side" in adbench("leaderboard", tmp_path).err


def test_categories_have_columns_of_their_own(write_record, board, tmp_path: Path) -> None:
    for category in ("bottle", "cable", "all"):
        write_record(tmp_path, category, 0.9, dataset="mvtec", category=category)
    assert set(board(tmp_path)["dataset"]) == {"mvtec/bottle", "mvtec/cable", "mvtec"}


def test_methods_and_datasets_can_be_chosen(write_record, adbench, tmp_path: Path) -> None:
    for dataset in ("brainmri", "resc", "busi"):
        for method in ("madclip", "mvfa", "clip"):
            write_record(tmp_path / "runs", f"{method}-{dataset}", 0.9, dataset=dataset, method=method)
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
    assert re.search(r"--dataset liverct matches no record.*brainmri, busi, resc", wrong.err)


def test_protocols_can_be_chosen(write_record, adbench, tmp_path: Path) -> None:
    for protocol in ("few_shot", "full_normal", "zero_shot"):
        write_record(tmp_path / "runs", protocol, 0.9, protocol=protocol)
    chosen = choose(collect([tmp_path / "runs"]).records, protocol="full_normal,zero*")
    assert {record.key for record in chosen} == {"full_normal", "zero_shot"}
    answer = adbench("leaderboard", tmp_path / "runs", "--protocol", "few_shot", "--csv", tmp_path / "b.csv")
    assert answer.code == 0, answer.err
    assert set(pd.read_csv(tmp_path / "b.csv")["protocol"]) == {"few_shot"}
    wrong = adbench("compare", tmp_path / "runs", "--protocol", "unified")
    assert wrong.code == 2
    assert re.search(r"--protocol unified matches no record.*few_shot, full_normal, zero_shot", wrong.err)


def test_draws_are_averaged_and_other_settings_are_not(write_record, board, image_auroc, tmp_path: Path) -> None:
    write_record(tmp_path, "a", 0.90)
    write_record(tmp_path, "b", 0.80)
    write_record(tmp_path, "c", 0.50, params={"epochs": 8}, overrides={"method": {"epochs": 8}})
    image = image_auroc(board(tmp_path)).set_index("variant")
    assert image.loc["", ["mean", "n"]].tolist() == [pytest.approx(85.0), 2]
    assert image.loc["", "std"] == pytest.approx(50**0.5)
    assert image.loc["epochs=8", "n"] == 1


def test_phantoms_of_a_set_do_not_take_the_name_of_the_real_one(write_record, board, tmp_path: Path) -> None:
    write_record(tmp_path, "a", 0.9, data="real")
    write_record(tmp_path, "b", 0.8, data="phantom", dataset_content="other")
    long = board(tmp_path)
    assert set(long["dataset"]) == {"brainmri"}
    assert published.compared(long)["published"].notna().any()
    write_record(tmp_path, "c", 0.7, data="real", dataset_content="another")
    assert len(set(board(tmp_path)["dataset"])) == 3


def test_the_oracles_leak_is_a_number_over_the_same_records(write_record, board, tmp_path: Path) -> None:
    oracle = {"selection": "oracle"}
    write_record(tmp_path, "a", 0.95, pixel=0.90, last={"image_auroc": 0.90, "pixel_auroc": 0.91}, **oracle)
    write_record(tmp_path, "b", 0.85, pixel=0.90, last={"image_auroc": 0.84, "pixel_auroc": 0.90}, **oracle)
    write_record(
        tmp_path, "c", 0.80, pixel=0.80, last={"image_auroc": 0.70, "pixel_auroc": 0.80}, method="mvfa", **oracle
    )
    long = board(tmp_path)
    leak = long[long["metric"] == "image_auroc_leak"].set_index("method")
    assert leak.loc["madclip", ["mean", "std", "n"]].tolist() == [pytest.approx(3), pytest.approx(8**0.5), 2]
    image, pixel = render.parts(long, HEADLINE)
    assert image.header == pixel.header == ["method", "brainmri", "brainmri, last epoch", "brainmri, leak"]
    assert image.rows[1] == ["mvfa", "80.00", "70.00", "10.00"]
    assert pixel.rows[1] == ["mvfa", "80.00", "80.00", "0.00"]
    assert set(long.loc[long["metric"].str.endswith("_leak"), "unit"]) == {"points"}
    text = to_latex(long)
    assert "image AUROC, leak" in text
    assert r" & 10.00 & " in text, "a leak is not ranked"


def test_an_oracle_without_figures_of_the_last_epoch_has_no_leak(write_record, board, tmp_path: Path) -> None:
    write_record(tmp_path, "a", 0.95, selection="oracle")
    assert set(board(tmp_path)["metric"]) == {"image_auroc"}


def test_costs_only_where_asked(write_record, board, tmp_path: Path) -> None:
    write_record(tmp_path, "a", 0.9)
    assert "fit_seconds" not in set(board(tmp_path)["metric"])
    costs = board(tmp_path, costs=True).set_index("metric")["mean"]
    assert costs["fit_seconds"] == 10
    assert costs["peak_gb"] == 2


def test_the_command_writes_what_it_prints(write_record, adbench, tmp_path: Path) -> None:
    write_record(tmp_path / "runs", "a", 0.9, pixel=0.95)
    file = tmp_path / "board.json"
    answer = adbench("leaderboard", tmp_path / "runs", "--markdown", "--published", "--costs", "--json", file)
    assert answer.code == 0, answer.err
    assert "90.00 [-5.90]" in answer.out
    assert answer.out.index("### Real data") < answer.out.index("### Published figures, epoch chosen as in the papers")
    assert "fit seconds" in answer.out
    rows = json.loads(file.read_text())
    (own,) = (row for row in rows if row["data"] == "real" and row["metric"] == "image_auroc")
    assert own["mean"] == 90.0
    assert own["difference"] == -5.9
    assert own["std"] is None
    assert own["n"] == 1
    theirs = [row for row in rows if row["data"] == "published"]
    assert {row["standing"] for row in theirs} == {"as published"}, "who keeps clean rows keeps none of them"
    assert {row["n"] for row in theirs} == {None}


# --- one cell, several records


def test_records_that_differ_in_the_last_bits_agree_and_the_first_one_stands(write_record, tmp_path: Path) -> None:
    for folder, auroc in (("laptop", 0.90125), ("server", 0.9012500001)):
        write_record(tmp_path / folder, "a", auroc, pixel=0.8)
    found = collect([tmp_path / "server", tmp_path / "laptop"])
    assert found.left_out == []
    assert [record.path for record in found.records] == [tmp_path / "server" / "a"]


def test_records_that_disagree_are_all_told_and_left_out(write_record, markdown_rows, adbench, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, auroc in ((one, 0.9), (two, 0.8)):
        write_record(folder, "a", auroc)
        write_record(folder, "b", auroc, dataset="resc")
    write_record(one, "c", 0.7, method="mvfa")
    write_record(two, "d", 0.6, method="clip")
    answer = adbench("leaderboard", one, two, "--markdown", "--csv", tmp_path / "board.csv")
    assert answer.code == 4
    for key in "ab":
        assert f"{one / key} and {two / key} are records of one cell" in answer.err
    assert "image_auroc 90.00 and 80.00" in answer.err
    assert markdown_rows(answer.out)["mvfa"] == ["70.00"]
    assert set(pd.read_csv(tmp_path / "board.csv")["method"]) == {"mvfa", "clip"}
    (one / "c").rename(tmp_path / "c")
    (two / "d").rename(tmp_path / "d")
    alone = adbench("leaderboard", one, two)
    assert alone.code == 4
    assert "left out" in alone.err.lower()
    assert alone.out == ""


def test_a_figure_that_only_one_of_two_records_has_is_a_disagreement(write_record, tmp_path: Path) -> None:
    write_record(tmp_path / "one", "a", 0.9, pixel=0.8)
    write_record(tmp_path / "two", "a", 0.9)
    (said,) = collect([tmp_path / "one", tmp_path / "two"]).left_out
    assert "pixel_auroc 80.00 and missing" in said


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda file: file.write_text("{"), "damaged"),
        (lambda file: file.write_text("[]"), "damaged"),
        (lambda file: file.write_bytes(b"\xff"), "damaged"),
        (lambda file: file.unlink(), "no record.json"),
        (lambda file: file.write_text(file.read_text().replace('"schema": 2', '"schema": 7')), "schema 7"),
        (lambda file: file.write_text(file.read_text().replace('"protocol": "few_shot", ', "")), "protocol is missing"),
        (lambda file: (file.parent / "method.safetensors").unlink(), "incomplete"),
    ],
)
def test_a_record_that_cannot_be_read_is_left_out_and_told(
    write_record, markdown_rows, adbench, tmp_path: Path, damage: Callable[[Path], object], said: str
) -> None:
    for key, method in (("a", "madclip"), ("b", "mvfa")):
        write_record(tmp_path / "runs", key, 0.9, method=method)
    damage(tmp_path / "runs" / "a" / "record.json")
    answer = adbench("leaderboard", tmp_path / "runs", "--markdown", "--csv", tmp_path / "board.csv")
    assert answer.code == 4
    assert re.search(rf"left out of the leaderboard: .*{tmp_path / 'runs' / 'a'}.*{said}", answer.err)
    assert markdown_rows(answer.out)["mvfa"] == ["90.00"]
    assert set(pd.read_csv(tmp_path / "board.csv")["method"]) == {"mvfa"}
    (tmp_path / "runs" / "b").rename(tmp_path / "b")
    alone = adbench("leaderboard", tmp_path / "runs")
    assert (alone.code, alone.out) == (4, "")
