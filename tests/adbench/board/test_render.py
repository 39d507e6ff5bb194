"""Tables of a leaderboard as text: sections, units, ranks, half-widths."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from adbench.board.sections import sections
from adbench.system.text import inert


def test_leaks_stand_apart_and_say_so(write_record, board, tmp_path: Path) -> None:
    write_record(tmp_path, "a", 0.9)
    write_record(tmp_path, "b", 0.95, selection="oracle")
    write_record(tmp_path, "c", 0.99, overlap=3)
    titles = [section.title for section in sections(board(tmp_path))]
    assert len(titles) == 3
    assert sum("chosen on the test split" in title for title in titles) == 1
    assert sum("among the training data" in title for title in titles) == 1


def test_costs_are_in_the_unit_of_their_name(write_record, adbench, tmp_path: Path) -> None:
    write_record(tmp_path / "runs", "a", 0.9)
    answer = adbench("leaderboard", tmp_path / "runs", "--costs", "--markdown", "--csv", tmp_path / "b.csv")
    assert answer.code == 0, answer.err
    headings = re.findall("#### (.*)", answer.out)
    assert headings[:3] == ["image AUROC, per cent", "fit seconds, s", "images per second, images/s"]
    units = pd.read_csv(tmp_path / "b.csv").set_index("metric")["unit"]
    assert (units["peak_gb"], units["image_auroc"]) == ("GB", "per cent")


def test_the_largest_half_width_stands_in_the_row_and_its_figure_is_marked(
    write_record, markdown_rows, adbench, tmp_path: Path
) -> None:
    for draw, half in ((0, 0.001), (1, 0.0515)):
        write_record(
            tmp_path / "runs", f"a{draw}", 0.9, pixel=0.8, source=f"draw:{draw}", half_widths={"pixel_auroc": half}
        )
    write_record(tmp_path / "runs", "b", 0.8, pixel=0.84, method="mvfa", half_widths={"pixel_auroc": 4e-5})
    answer = adbench("leaderboard", tmp_path / "runs", "--markdown", "--csv", tmp_path / "b.csv")
    assert answer.code == 0, answer.err
    assert re.findall("#### (.*)", answer.out) == [
        "image AUROC, per cent", "pixel AUROC, per cent, ≈: computation error at most 5.15",
    ]  # fmt: skip
    pixel = markdown_rows(answer.out, "pixel AUROC")
    assert pixel["madclip"] == ["≈80.00 ± 0.00 (2)"]
    assert pixel["mvfa"] == ["84.00"]
    found = pd.read_csv(tmp_path / "b.csv").set_index(["method", "metric"])["half_width"]
    assert found["madclip", "pixel_auroc"] == 5.15
    assert found["mvfa", "pixel_auroc"] == found["madclip", "image_auroc"] == 0


NASTY = "=1+1|`x`*y*[red](x)<script>\\input{x}"


def test_names_are_inert_wherever_they_are_printed(write_record, adbench, tmp_path: Path) -> None:
    for key, method in (("a", NASTY), ("b", "clip")):
        write_record(tmp_path / "runs", key, 0.9, method=method, params={"\x1b[31m": "\u202e"})
    answer = adbench("leaderboard", tmp_path / "runs", "--csv", tmp_path / "board.csv")
    assert answer.code == 0
    assert NASTY in answer.out, "brackets are no markup of the terminal"
    methods = pd.read_csv(tmp_path / "board.csv")["method"]
    assert set(methods) == {f"'{NASTY}", "clip"}
    markdown = adbench("leaderboard", tmp_path / "runs", "--markdown").out
    assert r"| =1+1\|\`x\`\*y\*[red]\(x)\<script>\\input{x} |" in markdown
    latex = adbench("leaderboard", tmp_path / "runs", "--latex").out
    assert r"=1+1\textbar{}\textasciigrave{}x" in latex
    assert r"\textbackslash{}input\{x\}" in latex
    for text in (answer.out, markdown, latex, (tmp_path / "board.csv").read_text()):
        assert "\x1b" not in text
        assert "\u202e" not in text


def test_negative_numbers_stay_numbers() -> None:
    assert [inert(text) for text in ("-5", "+1.5e3", "-0/0", "@x", "\tx", "a=b", "")] == [
        "-5", "+1.5e3", "'-0/0", "'@x", "'\tx", "a=b", "",
    ]  # fmt: skip
