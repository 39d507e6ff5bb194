"""Leaderboards over records made up on disk: aggregation, marks, averages, published figures."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from adbench import published, render
from adbench.leaderboard import collect, table


def write(runs: Path, key: str, auroc: float, **changes: object) -> None:
    """A record of just what a leaderboard reads."""
    resolved = {"method": "madclip", "backbone": "b", "schedule": "paper", "selection": "last"}
    resolved |= {name: changes.pop(name) for name in list(changes) if name in resolved}
    facts = {
        "method": resolved["method"],
        "dataset": changes.pop("dataset", "brainmri"),
        "data": changes.pop("dataset_content", "d"),
        "dataset_facets": {},
        "weights": "w",
    }
    facts |= {"params": {"epochs": changes.pop("epochs", 60)}, "support": key, "seed": 0, "train_on": None}
    content = {
        "schema": 1, "key": key, "status": "complete", "data": "real", "overlap": 0, "resolved": resolved,
        "facts": facts, "protocol": "few_shot", "support": {"shots": 16}, "histogram": None,
        "metrics": {"image_auroc": auroc, "pixel_auroc": changes.pop("pixel", None)},
        "seconds": {"fit": 10.0}, "images_per_second": 5.0, "peak_memory": {"host_bytes": 2e9}, "gflops_per_image": 1.0,
        "parameters": {"trainable": 100},
    }  # fmt: skip
    folder = runs / key
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps(content | changes))
    for name in ("predictions.parquet", "method.safetensors"):
        (folder / name).touch()


def markdown(runs: Path, **options: bool) -> str:
    return render.to_markdown(table(collect([runs]), **options))


def test_categories_have_columns_of_their_own(tmp_path: Path) -> None:
    for category in ("bottle", "cable", "all"):
        write(tmp_path, category, 0.9, dataset="mvtec")
        file = tmp_path / category / "record.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"dataset": {"category": category}}))
    assert set(table(collect([tmp_path]))["dataset"]) == {"mvtec/bottle", "mvtec/cable", "mvtec"}


def test_an_average_is_printed_for_complete_rows_alone(tmp_path: Path) -> None:
    write(tmp_path, "a", 0.9, dataset="brainmri")
    write(tmp_path, "b", 0.8, dataset="liverct")
    write(tmp_path, "c", 0.7, dataset="brainmri", method="mvfa")
    lines = markdown(tmp_path).splitlines()
    assert "mean of 2 image auroc" in lines[2]
    assert lines[4] == "| madclip | 90.00 | 80.00 | 85.00 |"
    assert lines[5] == "| mvfa | 70.00 | missing | missing |"


def test_draws_are_averaged_and_other_settings_are_not(tmp_path: Path) -> None:
    write(tmp_path, "a", 0.90)
    write(tmp_path, "b", 0.80)
    write(tmp_path, "c", 0.50, epochs=8)
    long = table(collect([tmp_path]))
    image = long[long["metric"] == "image_auroc"].set_index("variant")
    assert image.loc["epochs=60", ["mean", "n"]].tolist() == [pytest.approx(85.0), 2]
    assert image.loc["epochs=60", "std"] == pytest.approx(50**0.5)
    assert image.loc["epochs=8", "n"] == 1


def test_leaks_stand_apart_and_say_so(tmp_path: Path) -> None:
    write(tmp_path, "a", 0.9)
    write(tmp_path, "b", 0.95, selection="oracle")
    write(tmp_path, "c", 0.99, overlap=3)
    titles = [title for title, _, _ in render.parts(table(collect([tmp_path])))]
    assert len(titles) == 3
    assert sum("chosen on the test split" in title for title in titles) == 1
    assert sum("among the training data" in title for title in titles) == 1


def test_costs_only_where_asked(tmp_path: Path) -> None:
    write(tmp_path, "a", 0.9)
    assert "fit_seconds" not in set(table(collect([tmp_path]))["metric"])
    costs = table(collect([tmp_path]), costs=True).set_index("metric")["mean"]
    assert costs["fit_seconds"] == 10
    assert costs["peak_gb"] == 2


def test_published_figures_and_the_difference(tmp_path: Path) -> None:
    write(tmp_path, "a", 0.9, pixel=0.95)
    write(tmp_path, "b", 0.9, data="phantom")
    rows = published.beside(table(collect([tmp_path]))).set_index(["data", "metric"])
    real = rows.loc[("real", "image_auroc")]
    assert real["published"] == 95.90  # MadCLIP, 16 shots, Table 1
    assert real["difference"] == pytest.approx(90 - 95.90)
    assert real["source"] == "MadCLIP (MICCAI 2025) Table 1"
    assert pd.isna(rows.loc[("phantom", "image_auroc"), "published"])


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
    long = table(collect([tmp_path]))
    assert set(long["dataset"]) == {"brainmri"}
    assert published.beside(long)["published"].notna().any()
    write(tmp_path, "c", 0.7, data="real", dataset_content="another")
    assert len(set(table(collect([tmp_path]))["dataset"])) == 3
