"""Leaderboards over records made up on disk: aggregation, marks, averages, published figures."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from adbench.board import published, render
from adbench.board.latex import to_latex
from adbench.board.leaderboard import choose, collect, table


def write(runs: Path, key: str, auroc: float, **changes: object) -> None:
    """A record of just what a leaderboard reads."""
    resolved = {"method": "madclip", "backbone": "b", "schedule": "paper", "selection": "last", "overrides": {}}
    resolved |= {name: changes.pop(name) for name in list(changes) if name in resolved}
    last = changes.pop("last", None)
    support = {"shots": changes.pop("shots", 16), "source": changes.pop("source", "draw:0")}
    facts = {
        "method": resolved["method"],
        "dataset": changes.pop("dataset", "brainmri"),
        "data": changes.pop("dataset_content", "d"),
        "dataset_facets": {},
        "weights": changes.pop("weights", "w"),
    }
    facts |= {"params": changes.pop("params", {}), "support": changes.pop("manifest", key)}
    facts |= {"seed": changes.pop("seed", 0)}
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


def own(long: pd.DataFrame) -> pd.DataFrame:
    """The lines of image AUROC."""
    return long[long["metric"] == "image_auroc"]


def cells(text: str, metric: str = "image AUROC") -> dict[str, list[str]]:
    """The lines of one metric's table in Markdown by their first cell, in their order."""
    table = text.partition(f"#### {metric}, ")[2].partition("\n####")[0]
    lines = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return {name: rest for name, *rest in lines}


def test_an_average_is_printed_for_complete_rows_alone(tmp_path: Path) -> None:
    write(tmp_path, "a", 0.9, dataset="brainmri")
    write(tmp_path, "b", 0.8, dataset="liverct")
    write(tmp_path, "c", 0.7, dataset="brainmri", method="mvfa")
    assert cells(render.to_markdown(board(tmp_path))) == {
        "method": ["brainmri", "liverct", "mean of 2"],
        "madclip": ["**90.00**", "80.00", "85.00"],
        "mvfa": ["*70.00*", "missing", "missing"],
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
    tmp_path: Path, liver: list[tuple[str, int]], count: int, whole: bool
) -> None:
    for draw, auroc in ((0, 0.7), (1, 0.8)):
        write(tmp_path, f"a{draw}", auroc, source=f"draw:{draw}")
    for number, (source, seed) in enumerate(liver):
        write(tmp_path, f"b{number}", 0.85, dataset="liverct", source=source, seed=seed)
    for name, dataset in (("c", "brainmri"), ("d", "liverct"), ("e", "brainmri")):
        write(tmp_path, name, 0.01, dataset=dataset, method="clip" if name == "e" else "mvfa")
    rows = cells(render.to_markdown(board(tmp_path)))
    names = ["madclip", "mvfa", "clip"] if whole else ["mvfa", "clip", "madclip"]
    assert list(rows) == ["method", *names], "no place without it"
    assert rows["madclip"][0] == "**75.00** ± 7.07 (2)"
    assert rows["madclip"][1].endswith(f"({count})"), "two numbers of draws in a row are told"
    assert rows["madclip"][2] == ("**80.00** (2)" if whole else "missing")
    assert rows["mvfa"][2] == ("*1.00*" if whole else "1.00"), "there is no best of one"


def test_a_method_without_draws_is_whole_with_one_record_of_each_dataset(tmp_path: Path) -> None:
    for dataset in ("brainmri", "liverct"):
        write(tmp_path, f"c-{dataset}", 0.6, method="clip", shots=0, source="none", dataset=dataset)
        for draw in (0, 1):
            write(tmp_path, f"m{draw}-{dataset}", 0.7, source=f"draw:{draw}", dataset=dataset)
    found = cells(render.to_markdown(board(tmp_path)))
    assert [row[-1] for row in found.values()] == ["mean of 2", "**70.00** (2)", "*60.00*"]
    assert set(board(tmp_path)["draws"]) == {"-/0", "0/0 1/0"}


BMAD = ("brainmri", "liverct", "resc", "oct17", "chestxray", "his")


def test_averages_are_the_papers_six_and_three_whatever_else_was_run(tmp_path: Path) -> None:
    for number, dataset in enumerate(BMAD):
        write(tmp_path, dataset, 0.8 + number / 100, dataset=dataset, pixel=0.9 if number < 3 else None)
    write(tmp_path, "busi", 0.1, dataset="busi", pixel=0.1)
    write(tmp_path, "other", 0.99, dataset="busi", method="clip", pixel=0.9)
    image, pixel = render.parts(board(tmp_path))
    assert (image.header[-1], pixel.header[-1]) == ("mean of bmad", "mean of bmad_masked")
    assert [row[-1] for row in image.rows] == ["82.50", "missing"]
    assert [row[-1] for row in pixel.rows] == ["90.00", "missing"]
    assert image.rows[0][0] == "madclip", "a row without the average is not the best, however easy its only dataset"


def test_what_never_ran_is_missing_and_what_does_not_apply_is_not(adbench, tmp_path: Path) -> None:
    runs, csv, file = tmp_path / "runs", tmp_path / "board.csv", tmp_path / "board.json"
    for dataset in ("brainmri", "liverct"):
        write(runs, f"a-{dataset}", 0.9, pixel=0.8, dataset=dataset)
        write(runs, f"d-{dataset}", 0.7, method="draem", dataset=dataset)
    write(runs, "c", 0.6, pixel=0.5, method="clip")
    answer = adbench("leaderboard", runs, "--markdown", "--csv", csv, "--json", file)
    assert answer.code == 0, answer.err
    assert cells(answer.out)["clip"] == ["60.00", "missing", "missing"]
    pixel = cells(answer.out, "pixel AUROC")
    assert pixel["clip"] == ["*50.00*", "missing", "missing"]
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
    image, pixel = render.parts(long, render.HEADLINE)
    assert image.header == pixel.header == ["method", "brainmri", "brainmri, last epoch", "brainmri, leak"]
    assert image.rows[1] == ["mvfa", "80.00", "70.00", "10.00"]
    assert pixel.rows[1] == ["mvfa", "80.00", "80.00", "0.00"]
    assert set(long.loc[long["metric"].str.endswith("_leak"), "unit"]) == {"points"}
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
    assert board(tmp_path)["draws"].tolist() == ["0/0 1/0", "-/0"]
    write(tmp_path, "d", 0.6, source="list:16-shot.txt", dataset="resc", dataset_content="r")
    assert set(board(tmp_path)["variant"]) == set(found), "one name may be another list on another dataset"
    write(tmp_path, "e", 0.6, source="list:16-shot.txt", manifest="fedcba987")
    assert set(board(tmp_path)["variant"]) == {*found, "support=16-shot.txt@c", "support=16-shot.txt@fedcba"}


def test_draws_are_averaged_and_other_settings_are_not(tmp_path: Path) -> None:
    write(tmp_path, "a", 0.90)
    write(tmp_path, "b", 0.80)
    write(tmp_path, "c", 0.50, params={"epochs": 8}, overrides={"method": {"epochs": 8}})
    image = own(board(tmp_path)).set_index("variant")
    assert image.loc["", ["mean", "n"]].tolist() == [pytest.approx(85.0), 2]
    assert image.loc["", "std"] == pytest.approx(50**0.5)
    assert image.loc["epochs=8", "n"] == 1


# --- what a row is called


@pytest.mark.parametrize(
    ("typed", "facts", "variant"),
    [
        ({"method": {"learning_rate": 0.1}}, {}, "learning_rate=0.1"),
        ({"method": {"learn_prompts": "none", "adapter_norm": False}}, {}, "adapter_norm=false learn_prompts=none"),
        ({"method": {"levels": [3, 6], "prompts": {"normal": ["{}"]}}}, {}, 'levels=[3,6] prompts.normal=["{}"]'),
        ({"method": {"frame": "a scan of"}}, {}, 'frame="a scan of"'),
        ({"method": {"batch_size": 4}}, {}, "method.batch_size=4"),
        ({"backbone": {"weights": "here/w.safetensors", "activation": "gelu"}}, {"weights": "cafe"},
         "backbone.activation=gelu weights=cafe"),
        ({}, {"weights": "random-00ff"}, "weights=random-27e69a"),
        ({"trainer": {"log_every_n_steps": 3}, "dataset": {"object_name": "x"}}, {}, ""),
    ],
)  # fmt: skip
def test_a_row_is_called_after_what_was_typed_whatever_stands_beside_it(
    tmp_path: Path, typed: dict[str, Any], facts: dict[str, Any], variant: str
) -> None:
    params = {"epochs": 60, "learning_rate": 0.001} | typed.get("method", {})
    write(tmp_path, "a", 0.9, params=params, overrides=typed, **facts)
    assert set(board(tmp_path)["variant"]) == {variant}
    for key, rate in (("b", 0.5), ("c", 0.2)):
        changed = {"overrides": {"method": {"learning_rate": rate}}, "params": params | {"learning_rate": rate}}
        write(tmp_path, key, 0.8, **changed)
    found = own(board(tmp_path)).set_index("variant")["mean"].to_dict()
    assert found == pytest.approx({variant: 90.0, "learning_rate=0.5": 80.0, "learning_rate=0.2": 80.0})


def test_keys_of_a_run_that_are_no_column_are_in_the_name(tmp_path: Path) -> None:
    write(tmp_path, "a", 0.9)
    file = tmp_path / "a" / "record.json"
    content = json.loads(file.read_text())
    content["resolved"] |= {"precision": "16-mixed", "input_size": 56, "eval_size": "240", "threads": 2}
    content["resolved"] |= {"data_root": "/mine", "cache": "/mine", "workers": 3, "preset": "paper"}
    content["facts"]["trainer"] = {"devices": 2}
    file.write_text(json.dumps(content))
    assert set(board(tmp_path)["variant"]) == {"input_size=56 precision=16-mixed threads=2 trainer.devices=2"}


def test_a_default_written_out_makes_no_row_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, "a", 0.9, params={"epochs": 60}, source="draw:0")
    write(tmp_path, "b", 0.8, params={"epochs": 60}, source="draw:1", overrides={"method": {"epochs": 60}})
    (row,) = board(tmp_path).to_dict("records")
    assert (row["variant"], row["n"]) == ("", 2)


def test_records_of_two_versions_say_what_one_does_not_have(tmp_path: Path) -> None:
    write(tmp_path, "a", 0.9, params={"learn_prompts": True})
    for key, shots in (("b", 16), ("c", 2)):
        write(tmp_path, key, 0.8, params={"learn_prompts": "none", "contrast": True}, shots=shots)
    found = own(board(tmp_path))
    assert list(zip(found["variant"], found["shots"], strict=True)) == [
        ("contrast=- learn_prompts=true", "16"),
        ("contrast=true learn_prompts=none", "16"),
        ("contrast=true learn_prompts=none", "2"),
    ]


def test_leaks_stand_apart_and_say_so(tmp_path: Path) -> None:
    write(tmp_path, "a", 0.9)
    write(tmp_path, "b", 0.95, selection="oracle")
    write(tmp_path, "c", 0.99, overlap=3)
    titles = [section.title for section in render.sections(board(tmp_path))]
    assert len(titles) == 3
    assert sum("chosen on the test split" in title for title in titles) == 1
    assert sum("among the training data" in title for title in titles) == 1


def test_costs_only_where_asked(tmp_path: Path) -> None:
    write(tmp_path, "a", 0.9)
    assert "fit_seconds" not in set(board(tmp_path)["metric"])
    costs = board(tmp_path, costs=True).set_index("metric")["mean"]
    assert costs["fit_seconds"] == 10
    assert costs["peak_gb"] == 2


def test_costs_are_in_the_unit_of_their_name(adbench, tmp_path: Path) -> None:
    write(tmp_path / "runs", "a", 0.9)
    answer = adbench("leaderboard", tmp_path / "runs", "--costs", "--markdown", "--csv", tmp_path / "b.csv")
    assert answer.code == 0, answer.err
    headings = re.findall("#### (.*)", answer.out)
    assert headings[:3] == ["image AUROC, per cent", "fit seconds, s", "images per second, images/s"]
    units = pd.read_csv(tmp_path / "b.csv").set_index("metric")["unit"]
    assert (units["peak_gb"], units["image_auroc"]) == ("GB", "per cent")


# --- figures that are known within a half-width


def test_the_largest_half_width_stands_in_the_row_and_its_figure_is_marked(adbench, tmp_path: Path) -> None:
    for draw, half in ((0, 0.001), (1, 0.0515)):
        write(tmp_path / "runs", f"a{draw}", 0.9, pixel=0.8, source=f"draw:{draw}", half_widths={"pixel_auroc": half})
    write(tmp_path / "runs", "b", 0.8, pixel=0.84, method="mvfa", half_widths={"pixel_auroc": 4e-5})
    answer = adbench("leaderboard", tmp_path / "runs", "--markdown", "--csv", tmp_path / "b.csv")
    assert answer.code == 0, answer.err
    assert re.findall("#### (.*)", answer.out) == [
        "image AUROC, per cent", "pixel AUROC, per cent, ≈: known within a half-width of up to 5.15",
    ]  # fmt: skip
    pixel = cells(answer.out, "pixel AUROC")
    assert pixel["madclip"] == ["≈80.00 ± 0.00 (2)"]
    assert pixel["mvfa"] == ["84.00"], "4 points are no rank within 5"
    found = pd.read_csv(tmp_path / "b.csv").set_index(["method", "metric"])["half_width"]
    assert found["madclip", "pixel_auroc"] == 5.15
    assert found["mvfa", "pixel_auroc"] == found["madclip", "image_auroc"] == 0


@pytest.mark.parametrize(
    ("means", "halves", "marks"),
    [
        ([90, 80, 70], [0, 0, 0], ["best", "second", ""]),
        ([90, 80, 70], [5, 5, 0], ["", "", ""]),
        ([90, 80, 70], [5, 4.9, 0], ["best", "second", ""]),
        ([90, 80, 70], [0, 5, 5], ["best", "", ""]),
        ([90, 80, 70], [20, 0, 0], ["", "", ""]),
        ([90, 90, 70], [0, 0, 0], ["best", "best", "second"]),
        ([90, 90, 70], [0, 0.1, 0], ["", "", ""]),
        ([90, 89.99, 70], [0.005, 0.005, 0.005], ["best", "second", ""]),
        ([90, float("nan"), 70], [0, float("nan"), 0], ["best", "", "second"]),
        ([90, 80], [float("nan"), float("nan")], ["best", "second"]),
    ],
)
def test_no_rank_rests_on_a_difference_within_half_widths(
    means: list[float], halves: list[float], marks: list[str]
) -> None:
    assert render.standouts("pixel_ap", means, halves) == marks


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
    assert found.left_out == []
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
    assert cells(answer.out)["mvfa"] == ["**70.00**"]
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
    (said,) = collect([tmp_path / "one", tmp_path / "two"]).left_out
    assert "pixel_auroc 80.00 and missing" in said


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda file: file.write_text("{"), "damaged"),
        (lambda file: file.write_text("[]"), "damaged"),
        (lambda file: file.write_bytes(b"\xff"), "damaged"),
        (lambda file: file.unlink(), "no record.json"),
        (lambda file: file.write_text(file.read_text().replace('"schema": 1', '"schema": 7')), "schema 7"),
        (lambda file: file.write_text(file.read_text().replace('"protocol": "few_shot", ', "")), "'protocol'"),
        (lambda file: (file.parent / "method.safetensors").unlink(), "incomplete"),
    ],
)
def test_a_record_that_cannot_be_read_is_left_out_and_told(
    adbench, tmp_path: Path, damage: Callable[[Path], object], said: str
) -> None:
    for key, method in (("a", "madclip"), ("b", "mvfa")):
        write(tmp_path / "runs", key, 0.9, method=method)
    damage(tmp_path / "runs" / "a" / "record.json")
    answer = adbench("leaderboard", tmp_path / "runs", "--markdown", "--csv", tmp_path / "board.csv")
    assert answer.code == 4
    assert re.search(rf"left out of the leaderboard: .*{tmp_path / 'runs' / 'a'}.*{said}", answer.err)
    assert cells(answer.out)["mvfa"] == ["90.00"]
    assert set(pd.read_csv(tmp_path / "board.csv")["method"]) == {"mvfa"}
    (tmp_path / "runs" / "b").rename(tmp_path / "b")
    alone = adbench("leaderboard", tmp_path / "runs")
    assert (alone.code, alone.out) == (4, "")


def test_the_command_writes_what_it_prints(adbench, tmp_path: Path) -> None:
    write(tmp_path / "runs", "a", 0.9, pixel=0.95)
    file = tmp_path / "board.json"
    answer = adbench("leaderboard", tmp_path / "runs", "--markdown", "--published", "--costs", "--json", file)
    assert answer.code == 0, answer.err
    assert "90.00 [-5.90]" in answer.out
    assert answer.out.index("### Real data") < answer.out.index("### Published figures, epoch chosen as published")
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


def test_published_figures_name_their_source() -> None:
    figures = published.figures()
    assert len(figures) > 300
    assert figures["variant"].str.contains(" Table ").all()
    assert figures["mean"].between(0, 100).all()
    assert not figures["dataset"].str.startswith("mean_of").any()
    assert set(figures["metric"]) == {"image_auroc", "pixel_auroc"}
    assert not figures["protocol"].str.startswith(("ablation", "model_size")).any()
    assert not figures.duplicated([name for name in figures if name not in ("mean", "std")]).any()


def test_phantoms_of_a_set_do_not_take_the_name_of_the_real_one(tmp_path: Path) -> None:
    write(tmp_path, "a", 0.9, data="real")
    write(tmp_path, "b", 0.8, data="phantom", dataset_content="other")
    long = board(tmp_path)
    assert set(long["dataset"]) == {"brainmri"}
    assert published.beside(long)["published"].notna().any()
    write(tmp_path, "c", 0.7, data="real", dataset_content="another")
    assert len(set(board(tmp_path)["dataset"])) == 3
