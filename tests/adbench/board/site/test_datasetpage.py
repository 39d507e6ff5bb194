"""The page of a dataset: published figures, and methods compared on the same test images."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd

from adbench.board import leaderboard
from adbench.board.site import datasetpage
from adbench.board.site.records import site_records


def test_papers_stand_beside_every_content_of_a_dataset(make_record, build_site, read_page, tmp_path: Path) -> None:
    for key, hashed in (("e0", "d"), ("e1", "f")):
        make_record(
            tmp_path / "runs", key, method="madclip", shots=16, data="real", backbone="b", hashed=hashed, pictures=0
        )
    built = build_site(tmp_path / "runs", tmp_path / "site", papers=True).parent
    found = [read_page(path).text for path in (built / "datasets").glob("*.html")]
    assert len(found) == 2
    assert all("MadCLIP (MICCAI 2025)" in text for text in found)


def test_papers_stand_beside_real_figures_alone(pages: dict[str, Any]) -> None:
    assert re.search(r"\[[+-]\d+\.\d\d\]", pages["datasets/real-brainmri.html"].text)
    assert "MadCLIP (MICCAI 2025)" in pages["datasets/real-brainmri.html"].text
    assert "MICCAI" not in pages["datasets/phantom-brainmri.html"].text


def test_one_cell_per_method_is_compared_and_test_figures_have_no_say(runs: Path) -> None:
    here = [one for one in site_records(leaderboard.collect([runs]).records) if one.line["dataset"] == "brainmri"]
    chosen = datasetpage.representatives([one for one in here if one.line["data"] == "phantom"])
    assert sorted(one.record.key for one in chosen) == ["a2", "b0"]  # 4 shots, draw 0; the leak never


def test_the_comparison_as_csv_holds_every_image(site: Path) -> None:
    table = pd.read_csv(site / "datasets" / "phantom-brainmri.csv")
    assert list(table) == ["image", "label", "clip", "patchcore"]
    assert len(table) == 12
    assert table["patchcore"].between(0, 1).all()


def test_what_differs_most_comes_first_and_the_rest_is_counted(make_record, build_site, tmp_path: Path) -> None:
    make_record(tmp_path / "runs", "a0", images=207)
    make_record(tmp_path / "runs", "b0", method="clip", shots=0, images=207)
    page = build_site(tmp_path / "runs", tmp_path / "site").parent / "datasets" / "phantom-brainmri.html"
    text = page.read_text()
    spreads = [float(value) for value in re.findall(r'data-value="([\d.]+)">\d+</td></tr>', text)]
    assert len(spreads) == 200
    assert spreads == sorted(spreads, reverse=True)
    assert "7 more are in the CSV file" in text


def test_a_support_list_is_named_as_such(make_record, build_site, read_page, tmp_path: Path) -> None:
    folder = make_record(tmp_path / "runs", "a", pictures=0)
    content = json.loads((folder / "record.json").read_text())
    content["support"]["source"] = "list:16-shot.txt"
    (folder / "record.json").write_text(json.dumps(content))
    built = build_site(tmp_path / "runs", tmp_path / "site").parent
    assert re.search(r"support\s*16-shot\.txt", read_page(built / "cells" / "a.html").text)
    assert "support=16-shot.txt" in read_page(built / "datasets" / "phantom-brainmri.html").text
