"""Published figures: their source, and the difference to a record's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import adbench as ad
from adbench.board import papers, published
from adbench.board.stand_ins import stand_ins
from adbench.config.groups import groups
from adbench.config.layers import preset
from adbench.plugins import registry
from tests.adbench.board.conftest import BELIEVING


def test_published_figures_name_their_source() -> None:
    figures = published.figures()
    assert len(figures) == 646  # of 649: the three sizes of models are no setting of a row
    assert figures["variant"].str.contains(" Table ").all()
    assert figures["mean"].between(0, 100).all()
    assert not figures["dataset"].str.startswith("mean_of").any()
    assert figures["metric"].value_counts()["image_accuracy"] == 8
    assert (
        figures["variant"].str.contains(r" Table \d: ").sum() == 76 - 18 + 9
    )  # ablations; MVFA's Table 4 has a full row
    assert not figures["protocol"].str.startswith(("ablation", "model_size")).any()
    assert not figures.duplicated([name for name in figures if name not in ("mean", "std")]).any()


def test_published_figures_and_the_difference(write_record, board, tmp_path: Path) -> None:
    write_record(tmp_path, "a", 0.9, pixel=0.95)
    write_record(tmp_path, "b", 0.9, data="phantom")
    rows = published.compared(board(tmp_path)).set_index(["data", "metric"])
    real = rows.loc[("real", "image_auroc")]
    assert real["published"] == 95.90  # MadCLIP, 16 shots, Table 1
    assert real["difference"] == pytest.approx(90 - 95.90)
    assert real["source"] == "MadCLIP (MICCAI 2025) Table 1"
    assert pd.isna(rows.loc[("phantom", "image_auroc"), "published"])


THREE = {
    "backbone": "ViT-B-16",
    "method": "tgumiad",
    "protocol": "unified_full_normal",
    "shots": "full",
    "dataset": "resc",
}


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
    (row,) = published.compared(board(tmp_path)).to_dict("records")
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


def test_the_methods_chosen_are_those_of_the_papers_rows_too(write_record, adbench, tmp_path: Path) -> None:
    write_record(tmp_path / "runs", "a", 0.9, method="madclip")
    write_record(tmp_path / "runs", "b", 0.8, method="mvfa")
    in_python = ad.leaderboard(tmp_path / "runs", method="madclip", published=True, intervals=False)
    assert set(in_python["data"]) == {"real", "published"}
    assert set(in_python["method"]) == {"madclip"}
    file = tmp_path / "board.csv"
    words = "--method", "madclip", "--published", "--no-intervals", "--csv", file
    assert adbench("leaderboard", tmp_path / "runs", *words).code == 0
    in_csv = pd.read_csv(file)
    assert in_csv[["data", "method", "dataset", "metric"]].equals(in_python[["data", "method", "dataset", "metric"]])
    assert len(ad.leaderboard(tmp_path / "runs", published=True, intervals=False)["method"].unique()) > 2


def test_datasets_that_no_paper_has_are_named(write_record, adbench, tmp_path: Path) -> None:
    write_record(tmp_path, "a", 0.9, dataset="mine")
    answer = adbench("leaderboard", tmp_path, "--published")
    assert answer.code == 0
    assert "no published figures for mine" in answer.err


def test_images_that_are_not_the_published_set_are_compared_with_nothing(write_record, board, tmp_path: Path) -> None:
    counts = {"expected": {"test": [640, 3075]}, "counts": {"test": [12, 30]}}
    about = {"real": {"published": True}, "own": {"published": False} | counts, "older": {}}
    for number, (name, one) in enumerate(about.items()):
        write_record(tmp_path / name, f"a{number}", 0.9, dataset_content=name)
        file = tmp_path / name / f"a{number}" / "record.json"
        content = json.loads(file.read_text())
        content["dataset"], content["seen"] = content["dataset"] | one, [{"dataset": "brainmri", **one}]
        file.write_text(json.dumps(content))
        (row,) = published.compared(board(tmp_path / name)).to_dict("records")
        assert pd.isna(row["difference"]) is (name == "own")
        assert row["content"] == ("not the published set: test 12 + 30 instead of 640 + 3075" if name == "own" else "")
        assert row["dataset"].startswith("brainmri@") is (name == "own")


def test_a_set_to_learn_from_that_is_not_the_published_one_counts_too(write_record, board, tmp_path: Path) -> None:
    seen = [{"dataset": "brainmri", "published": False}]
    write_record(tmp_path, "a", 0.9, protocol="cross_dataset", train_on="brainmri", dataset="adni", seen=seen)
    (row,) = published.compared(board(tmp_path)).to_dict("records")
    assert pd.isna(row["difference"])
    assert row["content"] == "learned from brainmri, which is not the published set"


PAPER = """source,table,protocol,shots,method,train_dataset,test_dataset,metric,value,std
theirs,2,paper_few,16,madclip,,brainmri,image_auroc,91.5,
theirs,2,paper_zero,0,theirs,all_but_resc,resc,image_auroc,50.25,1.5
theirs,2,paper_few,16,theirs,,mean_of_2,image_auroc,1.0,
theirs,2,paper_few,16,theirs,,resc,image_accuracy,2.0,
theirs,3,ablation_few,16,theirs,,resc,image_auroc,3.0,
"""
SETTINGS = """title: figures of theirs
sources: {theirs: Theirs (2026)}
protocols: {paper_few: few_shot, paper_zero: leave_one_out_published}
shots: {leave_one_out_published: full}
all_but: bmad_masked
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of configurations with the figures of one paper."""
    (tmp_path / "configs" / "published").mkdir(parents=True)
    (tmp_path / "configs" / "published" / "theirs.yaml").write_text(SETTINGS)
    (tmp_path / "configs" / "published" / "theirs.csv").write_text(PAPER)
    return tmp_path / "configs"


def test_a_package_of_somebody_else_ships_figures_of_its_own(folder: Path) -> None:
    figures, settings, problems = published.collect((*registry.config_folders(), folder))
    assert problems == ()
    assert len(figures) == len(settings) == len(published.figures()) + 4
    assert figures.tail(4).drop(columns=["data", "metric"]).astype(object).fillna("").to_numpy().tolist() == [
        ["madclip", "Theirs (2026) Table 2", "", "few_shot", "16", "", "brainmri", 91.5, ""],
        ["theirs", "Theirs (2026) Table 2", "", "leave_one_out_published", "0", "all_but_resc", "resc", 50.25, 1.5],
        ["theirs", "Theirs (2026) Table 2", "", "few_shot", "16", "", "resc", 2.0, ""],
        ["theirs", "Theirs (2026) Table 3", "", "ablation_few", "16", "", "resc", 3.0, ""],
    ]
    assert settings[["shots", "sets", "own", "joined"]].tail(4).to_numpy().tolist() == [
        ["16", "", False, True],
        ["full", "brainmri+liverct", True, True],
        ["16", "", True, True],
        ["16", "", True, True],
    ]


def one_row(write_record, board, folder: Path, **changes: Any) -> dict[str, Any]:
    write_record(folder, "a", 0.9, **changes)
    (row,) = published.compared(board(folder)).to_dict("records")
    return row


FEW_NORMAL = {"protocol": "few_normal_shot", "shots": 4}
ZERO = {"protocol": "zero_shot", "shots": 0, "backbone": "ViT-B-16-plus-240"}


@pytest.mark.parametrize(
    ("changes", "figure", "source"),
    [  # each was joined to another row, or to none
        (FEW_NORMAL | {"method": "mediclip", "backbone": "ViT-L-14"}, 83.82, "MadCLIP (MICCAI 2025) Table 2"),
        (FEW_NORMAL | {"method": "winclip"}, 66.85, "MVFA (CVPR 2024) Table 1, backbone not stated"),
        (
            ZERO | {"method": "winclip", "overrides": {"method": {"reference": False}}},
            66.49,
            "MVFA (CVPR 2024) Table 2, backbone not stated",
        ),
        (FEW_NORMAL | {"method": "clip"}, None, ""),
        (FEW_NORMAL | {"method": "clip_normal"}, 74.31, "MVFA (CVPR 2024) Table 1, backbone not stated"),
        ({"protocol": "full_normal", "shots": "full", "method": "patchcore"}, 91.55, "backbone wide-resnet-50-2"),
        ({"method": "madclip", "backbone": "ViT-B-16"}, 95.9, "Table 1, backbone ViT-L-14-336"),
        (
            {"method": "madclip", "backbone": "ViT-L-14-336", "weights": "random-5"},
            95.9,
            "Table 1, backbone ViT-L-14-336 with trained weights",
        ),
    ],
)
def test_each_figure_is_joined_to_its_own_row_and_another_backbone_is_named(
    write_record, board, tmp_path: Path, changes: dict[str, Any], figure: float | None, source: str
) -> None:
    row = one_row(write_record, board, tmp_path, **changes)
    assert row["source"].endswith(source)
    assert row["published"] == figure or (figure is None and pd.isna(row["published"]))
    exact = changes.get("backbone") == "ViT-L-14"
    assert pd.isna(row["difference"]) is not exact


def test_an_ablation_is_compared_with_the_rows_of_its_setting_alone(write_record, board, tmp_path: Path) -> None:
    common = {"method": "mediclip", "protocol": "few_normal_shot", "dataset": "busi", "backbone": "ViT-L-14"}
    whole = one_row(write_record, board, tmp_path / "whole", **common)
    assert whole["published"] == 89.9
    part = {"overrides": {"method": {"tasks": ["source"]}}}
    ablation = one_row(write_record, board, tmp_path / "part", **common, **part)
    assert ablation["published"] == 87.9
    assert ablation["source"] == "MediCLIP (MICCAI 2024) Table 5: source"
    other = {"overrides": {"method": {"tasks": ["source"]}}, "shots": 4}
    assert pd.isna(one_row(write_record, board, tmp_path / "other", **common, **other)["published"])


def test_accuracies_and_ablations_are_shown(write_record, adbench, tmp_path: Path) -> None:
    accuracy = {"metrics": {"image_auroc": 0.6, "image_accuracy": 0.7, "pixel_auroc": None}}
    write_record(tmp_path, "a", 0.6, method="clip", protocol="zero_shot", shots=0, **accuracy)
    answer = adbench("leaderboard", tmp_path, "--published", "--markdown")
    assert answer.code == 0
    part = answer.out.partition("#### image accuracy")[2].partition("####")[0]
    assert "70.00 [-12.23]" in part
    assert "MediCLIP (MICCAI 2024) Table 5" not in answer.out  # of other datasets
    assert "MVFA (CVPR 2024) Table 4: projectors" in answer.out


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("theirs.csv", "source,table\n", "has no column protocol"),
        ("theirs.csv", PAPER.replace("91.5", "ninety"), "can't be read"),
        ("theirs.csv", None, "can't be read"),
        ("theirs.yaml", "papers: {}\n", "unknown key 'papers'"),
        ("theirs.yaml", "title: [\n", "is not readable YAML"),
    ],
)
def test_figures_that_cannot_be_read_are_left_out_with_a_sentence(
    folder: Path, name: str, content: str | None, message: str
) -> None:
    file = folder / "published" / name
    file.write_text(content) if content is not None else file.unlink()
    figures, _, problems = published.collect((folder,))
    assert len(figures) == 0
    assert list(figures) == list(published.figures())
    (problem,) = problems
    assert str(file) in problem
    assert message in problem


def test_the_command_prints_figures_of_an_installed_package_and_notes_broken_ones(
    write_record, folder: Path, tmp_path: Path
) -> None:
    write_record(tmp_path / "runs", "a", 0.9, method="mine")
    info = tmp_path / "site" / "theirs-1.0.dist-info"
    info.mkdir(parents=True)
    folder.rename(tmp_path / "site" / "their_configs")
    (tmp_path / "site" / "their_configs" / "__init__.py").touch()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[adbench.configs]\ntheirs = their_configs\n")
    (tmp_path / "site" / "their_configs" / "published" / "broken.yaml").write_text("title: [\n")
    command = [sys.executable, "-c", BELIEVING, "leaderboard", tmp_path / "runs", "--published", "--markdown"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "Theirs (2026) Table 2" in done.stdout
    assert "MadCLIP (MICCAI 2025) Table 1" in done.stdout
    assert re.search(r"note: .*broken\.yaml is not readable YAML", done.stderr)


def test_a_backbone_is_a_stand_in_where_its_yaml_says_so() -> None:
    assert stand_ins() == {"phantom-clip"}


def test_each_figure_that_can_be_repeated_is_compared_with_the_row_of_its_own_cell() -> None:
    """A row made of the words of the cell as published has the paper's figure, or that of the method's own paper."""
    bmad = groups()["bmad"]["dataset"]
    figures = [one for one in papers.all_figures() if one.metric != "parameters_millions"]
    found = [(one, papers.repetition(one)) for one in figures]
    rows = []
    for one, repetition in found:
        words = repetition.published
        if repetition.reason:
            continue
        protocol, trained = words["protocol"], words.get("train_on", "")
        others = "+".join(name for name in bmad if name != one.test_dataset)
        rows.append({
            "data": "real", "method": words["method"], "content": "", "mean": 0.0, "metric": one.metric,
            "stand_in": False,
            "backbone": preset(words["method"], "paper")["backbone"], "variant": repetition.variant,
            "protocol": "unified_full_normal" if protocol == "full_normal" and trained else protocol,
            "shots": "full" if protocol in ("full_normal", "leave_one_out_published") else words.get("shots", "0"),
            "train_on": others if protocol == "leave_one_out_published" else trained,
            "dataset": "mean of mvtec" if one.test_dataset == "mvtec" else papers.mean_name(one), "value": one.value,
        })  # fmt: skip
    assert len(rows) == 471
    compared = published.compared(pd.DataFrame(rows))
    assert compared["published"].notna().all()
    assert compared["difference"].isna().sum() == 72  # WinCLIP, CLIP and DRA in MVFA's tables: no backbone is stated
    other = compared[compared["published"] != compared["value"]]
    assert set(other["value"]) == {90.8}  # MediCLIP's Tables 4 and 5 print another figure on BUSI than its Table 1


def test_papers_figures_stand_beside_the_model_without_a_difference(write_record, board, tmp_path: Path) -> None:
    rows = published.figures().query("method == 'anomalib'")
    assert set(rows["variant"]) == {
        "MadCLIP (MICCAI 2025) Table 1, model=Cflow", "MVFA (CVPR 2024) Table 1, model=Cflow",
        "TGUMIAD Table 1, model=Draem",
    }  # fmt: skip
    changes = {"protocol": "full_normal", "shots": "full", "capability": {"maps": True, "own_backbone": True}}
    for key, model in (("a", "Cflow"), ("b", "Padim")):
        write_record(tmp_path, key, 0.8, method="anomalib", backbone="own", params={"model": model}, **changes)
        file = tmp_path / key / "record.json"
        content = json.loads(file.read_text())
        content["backbone"] |= {"model": "wide_resnet50_2"}
        file.write_text(json.dumps(content))
    shown = published.compared(board(tmp_path)).query("metric == 'image_auroc'").set_index("variant")
    assert set(shown.index) == {"model=Cflow", "model=Padim"}, "of many models a row names its own, the default too"
    assert set(shown["backbone"]) == {"wide_resnet50_2"}
    cflow = shown.loc["model=Cflow"]
    assert cflow["published"] == 73.97
    assert cflow["source"].endswith("Table 1, model=Cflow, backbone not stated")
    assert pd.isna(cflow["difference"])
    assert pd.isna(shown.loc["model=Padim", "published"])
