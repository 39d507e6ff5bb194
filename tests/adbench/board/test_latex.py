"""LaTeX tables: structure, ranks, escaped text; compiled where there is a LaTeX."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from adbench.board.latex import escape, to_latex
from adbench.board.leaderboard import ROW
from adbench.board.sections import notes, sections


def row(method: str, mean: float, **changes: object) -> dict[str, object]:
    """One line of an aggregated leaderboard, of one draw."""
    head: dict[str, object] = dict.fromkeys(ROW, "")
    head |= {"data": "real", "standing": "clean", "method": method, "backbone": "ViT", "shots": "16"}
    head |= {"dataset": "brainmri", "metric": "image_auroc", "mean": mean, "std": float("nan"), "n": 1}
    head |= {"half_width": 0.0, "draws": " ".join(f"{draw}/0" for draw in range(int(str(changes.get("n", 1)))))}
    return head | changes


def body(text: str) -> list[list[str]]:
    """The cells of the lines between the middle and the bottom rule."""
    (inside,) = re.findall(r"\\midrule\n(.*?)\\bottomrule", text, re.S)
    return [line.removesuffix(r" \\").split(" & ") for line in inside.strip().splitlines()]


def test_what_never_ran_is_missing_and_without_comparisons_nothing_is_bold() -> None:
    rows = [row("a", 90.0), row("b", 80.0), row("c", 70.0)]
    rows += [row("a", 60.0, dataset="liverct"), row("b", 65.0, dataset="liverct")]
    assert body(to_latex(pd.DataFrame(rows))) == [
        ["a", "90.00", "60.00", "75.00"],
        ["b", "80.00", "65.00", "72.50"],
        ["c", "70.00", "missing", "missing"],
    ]


def judged_row(method: str, mean: float, rank: int, **changes: object) -> dict[str, object]:
    """One line of a leaderboard with intervals."""
    ends = {"ci_low": mean - 5, "ci_high": mean + 4, "ci_note": "", "best": rank < 3}
    return row(method, mean, rank=rank, rank_low=min(rank, 2), rank_high=max(rank, 2), **ends | changes)


def test_intervals_ranks_and_rules_between_numbers_of_shots() -> None:
    rows = [judged_row("madclip", 90.0, 1), judged_row("b", 89.5, 2), judged_row("c", 70.0, 3)]
    rows += [judged_row("z", 40.0, float("nan"), shots="0", best=False, ci_low=float("nan"), ci_note="no interval: x")]
    text = to_latex(pd.DataFrame(rows))
    assert body(text) == [
        ["z", "0", "\\textendash{}", "40.00"], ["\\midrule"],
        ["MadCLIP", "16", "1 (1-2)", "\\textbf{90.00} {[}85.00, 94.00]"],
        ["b", "16", "2 (2-2)", "\\textbf{89.50} {[}84.50, 93.50]"],
        ["c", "16", "3 (2-3)", "70.00 {[}65.00, 74.00]"],
    ]  # fmt: skip
    assert "method & shots & rank & Brain MRI" in text
    assert "% z 0: no interval: x" in text
    assert "mean and its 95 \\% interval for new patients and new draws; bold: the best row of its protocol" in text


def test_a_note_on_one_of_several_metrics_names_it() -> None:
    rows = [judged_row("a", 90.0, 1), judged_row("a", 80.0, 1, metric="pixel_auroc", ci_note="no interval: x")]
    rows += [judged_row("a", 70.0, 1, metric="pixel_ap", ci_note="no interval: x")]
    (section,) = sections(pd.DataFrame(rows), ["image_auroc", "pixel_auroc", "pixel_ap"])
    assert notes(section) == ["in pixel AUROC, pixel AP: no interval: x"]
    (section,) = sections(pd.DataFrame(rows), ["pixel_ap"])
    assert notes(section) == ["every row: no interval: x"]


def test_one_row_has_no_best() -> None:
    assert body(to_latex(pd.DataFrame([row("a", 90.0)]))) == [["a", "90.00"]]


def test_columns_are_grouped_by_metric_under_their_rules() -> None:
    rows = [row("a", 90.0), row("a", 80.0, dataset="resc"), row("a", 70.0, dataset="resc", metric="pixel_auroc")]
    text = to_latex(pd.DataFrame(rows))
    assert r"\begin{tabular}{@{}lrrrr@{}}" in text
    assert r"\multicolumn{3}{c}{image AUROC} & \multicolumn{1}{c}{pixel AUROC} \\" in text
    assert r"\cmidrule(lr){2-4} \cmidrule(lr){5-5}" in text
    assert r"method & Brain MRI & RESC & mean of 2 & RESC \\" in text
    assert text.index(r"\toprule") < text.index(r"\midrule") < text.index(r"\bottomrule")


def test_one_number_of_draws_stands_in_the_caption_and_several_in_the_cells() -> None:
    same = to_latex(pd.DataFrame([row("a", 90.0, std=1.25, n=3), row("b", 80.0, std=0.5, n=3)]))
    assert r"mean $\pm$ standard deviation over 3 draws, 1 seed" in same
    assert body(same)[0] == ["a", r"90.00 $\pm$ 1.25"]
    seeds = to_latex(pd.DataFrame([row("a", 90.0, std=1.25, n=2, draws="-/0 -/1")]))
    assert r"mean $\pm$ standard deviation over 2 seeds" in seeds
    others = to_latex(pd.DataFrame([row("a", 90.0, n=2), row("b", 80.0, n=2, draws="0/1 0/2")]))
    assert r"mean $\pm$ standard deviation over 2 runs" in others
    mixed = to_latex(pd.DataFrame([row("a", 90.0, std=1.25, n=3), row("b", 80.0)]))
    assert "; over (3): 3 draws, 1 seed}" in mixed
    assert [cells[1] for cells in body(mixed)] == [r"90.00 $\pm$ 1.25 (3)", r"80.00"]
    within = to_latex(pd.DataFrame([row("a", 90.0, std=1.25, n=3), row("a", 95.0, dataset="resc")]))
    assert body(within) == [["a", r"90.00 $\pm$ 1.25 (3)", "95.00 (1)", "missing"]]


def test_what_is_known_within_a_half_width_is_marked_and_the_caption_says_so() -> None:
    rows = [
        row(name, mean, metric="pixel_auroc", half_width=half) for name, mean, half in (("a", 90, 1), ("b", 89.5, 0))
    ]
    text = to_latex(pd.DataFrame(rows))
    assert [cells[1] for cells in body(text)] == [r"$\approx$90.00", "89.50"]
    assert r"$\approx$: computation error at most 1.00" in text


def test_phantom_real_and_leaks_have_tables_of_their_own() -> None:
    rows = [row("a", 90.0), row("a", 80.0, data="phantom"), row("a", 99.0, standing="oracle")]
    text = to_latex(pd.DataFrame(rows))
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 3
    captions = re.findall(r"\\caption\{(.*)\}", text)
    assert [sum(word in one for one in captions) for word in ("Phantom", "Real", "a leak")] == [1, 2, 1]
    assert len(set(re.findall(r"\\label\{(.*)\}", text))) == 3


def test_costs_are_not_ranked_and_not_in_per_cent() -> None:
    rows = [row("a", 10.0, metric="fit_seconds"), row("b", 20.0, metric="fit_seconds")]
    text = to_latex(pd.DataFrame(rows), ("image_auroc", "fit_seconds"))
    assert "textbf" not in text
    assert "per cent" not in text
    assert "costs in the unit of their name" in text
    both = to_latex(pd.DataFrame([*rows, row("a", 90.0)]), ("image_auroc", "fit_seconds"))
    assert r"\caption{Real data; per cent, costs in the unit of their name" in both


def test_differences_to_papers_are_shown() -> None:
    text = to_latex(pd.DataFrame([row("a", 90.0, difference=-5.9), row("b", 80.0, difference=float("nan"))]))
    assert body(text) == [["a", r"90.00 {[}-5.90]"], ["b", r"80.00"]]


@pytest.mark.parametrize(
    ("plain", "printed"),
    [
        ("a_b&c", r"a\_b\&c"),
        (r"50% of $x #1 {y}", r"50\% of \$x \#1 \{y\}"),
        ("back\\slash", r"back\textbackslash{}slash"),
        ("a~b^c", r"a\textasciitilde{}b\textasciicircum{}c"),
        ("<s>|", r"\textless{}s\textgreater{}\textbar{}"),
        ("[x]", "{[}x]"),
        ("*x", "{*}x"),
        ("one\ntwo", "one two"),
        ("a---b", "a-{}-{}-b"),
    ],
)
def test_text_is_escaped(plain: str, printed: str) -> None:
    assert escape(plain) == printed


def test_names_are_escaped_wherever_they_stand() -> None:
    text = to_latex(pd.DataFrame([row(name, 90.0, backbone="b_1", dataset="d#1") for name in ("a_b&c", "x")]))
    assert r"a\_b\&c & " in text
    assert r"backbone b\_1" in text
    assert r"method & d\#1 \\" in text
    assert all(line.count("&") - line.count(r"\&") == 1 for line in text.splitlines() if line.endswith(r"\\"))


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_it_compiles(tmp_path: Path) -> None:
    rows = [row(name, 50.0 + i, std=1.0, n=2) for i, name in enumerate(["a_b&c", "[x]", "*y", '<~^\\>|"`', "50%$#{}"])]
    rows += [row("a_b&c", 1.0, data="phantom"), row("z", 99.0, standing="oracle")]
    head, foot = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n", "\\end{document}\n"
    (tmp_path / "board.tex").write_text(head + to_latex(pd.DataFrame(rows)) + foot, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "board.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_the_command_prints_it(adbench, tiny: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    assert adbench("run", "method=patchcore", "shots=2", f"data_root={tiny}", f"runs={runs}", "gallery=0").code == 0
    answer = adbench("leaderboard", runs, "--latex")
    assert answer.code == 0, answer.err
    assert answer.out.count(r"\begin{table}") == 1
    assert body(answer.out)[0][0] == "PatchCore"
    both = adbench("leaderboard", runs, "--latex", "--markdown")
    assert both.code == 2
    assert "Keep one" in both.err
