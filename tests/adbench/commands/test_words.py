"""Titles, singular and plural, and names as they are printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


@pytest.fixture
def recorded(adbench, tiny: Path, tmp_path: Path) -> Path:
    """A folder with one record of clip."""
    answer = adbench("run", "method=clip", f"data_root={tiny}", f"runs={tmp_path / 'runs'}", "gallery=0")
    assert answer.code == 0, answer.err
    assert f"data: real ({tiny}), backbone: phantom-clip" in answer.out
    return tmp_path / "runs"


def above_the_table(text: str, first: str) -> str:
    """Return the line in front of a table's first line, which begins with a character of its frame or its header."""
    lines = text.splitlines()
    (number,) = (number for number, line in enumerate(lines) if line.lstrip().startswith(first))
    return lines[number - 1]


@pytest.mark.parametrize("columns", ["40", "80"])
def test_the_title_of_the_leaderboard_is_one_line_however_narrow_the_table(
    adbench, recorded: Path, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    out = adbench("leaderboard", recorded, "--dataset", "brainmri").out
    titles = [line for line in out.splitlines() if line.startswith("Real data; ")]
    assert [title.split("; ")[1].split(",")[0] for title in titles] == ["image AUROC", "pixel AUROC"]
    for title in titles:
        assert "backbone phantom-clip" in title
        assert "protocol zero_shot" in title
    table = [line for line in out.splitlines() if line.startswith(("┏", "└"))]
    assert max(map(len, table)) < min(map(len, titles)), "a title as wide as its table proves nothing"


def test_the_title_of_a_data_check_is_one_line(adbench, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    out = adbench("data", "check", "brainmri", f"data_root={tiny}").out
    assert out.splitlines()[0] == f"brainmri (real data, 22 images) at {tiny}"


def test_one_is_singular(adbench, recorded: Path, tiny: Path, tmp_path: Path) -> None:
    (record,) = (path for path in recorded.iterdir() if (path / "record.json").is_file())
    answer = adbench("score", record, next(tiny.rglob("*.png")), f"out={tmp_path / 'out'}")
    assert re.search(r"^No threshold given: images were scored, not classified\.$", answer.out, re.M)
    assert re.search(r"^1 image scored by ", answer.out, re.M)
    answer = adbench("plan", "method=clip", f"data_root={tiny}", f"runs={recorded}")
    assert re.search(r"^1 cell: 1 recorded already, 0 to run$", answer.out, re.M)
    answer = adbench("support", "show", f"data_root={tiny}", "shots=1", f"--out={tmp_path / 's.png'}")
    assert answer.out.startswith("brainmri, draw 0, 1 shot, normal and abnormal\n")
    answer = adbench("run", "method=patchcore", "shots=1", f"data_root={tiny}", f"runs={recorded}", "gallery=0")
    assert ", 1 shot, draw 0, " in answer.out


def test_a_description_says_where_patients_are_known_from(adbench, tiny: Path, tmp_path: Path) -> None:
    words = ("data", "describe", "brainmri", f"data_root={tiny}", f"--out={tmp_path / 'x.png'}")
    assert re.search(r"^patients    from file names, by the pattern ", adbench(*words).out, re.M)
    assert re.search(r"^patients    unknown$", adbench(*words, "dataset.patient_pattern=null").out, re.M)
    for label in ("normal", "abnormal"):
        (tmp_path / "mine" / label).mkdir(parents=True)
    lines = ["path,label,patient"]
    for number, image in enumerate(sorted(tiny.rglob("img/*.png"))):
        label = "abnormal" if "Ungood" in str(image) else "normal"
        (tmp_path / "mine" / label / f"{number}.png").write_bytes(image.read_bytes())
        lines.append(f"{label}/{number}.png,{label},p{number}")
    (tmp_path / "mine" / "images.csv").write_text("\n".join(lines) + "\n")
    answer = adbench("data", "describe", "folder", f"data_root={tmp_path / 'mine'}", f"--out={tmp_path / 'x.png'}")
    assert answer.code == 0, answer.err
    assert re.search(r"^patients    from images\.csv$", answer.out, re.M)
