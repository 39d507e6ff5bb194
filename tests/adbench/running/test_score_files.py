"""`adbench score` on many images: batch by batch, and all files or none."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from adbench.errors import DataError
from adbench.running import score_files


@pytest.fixture
def record(adbench, tiny: Path, tmp_path: Path) -> Path:
    runs = tmp_path / "runs"
    answer = adbench("run", "method=clip", "batch_size=2", "gallery=0", f"data_root={tiny}", f"runs={runs}")
    assert answer.code == 0, answer.err
    (path,) = (path for path in runs.iterdir() if (path / "record.json").is_file())
    return path


@pytest.fixture
def images(tiny: Path) -> Path:
    return tiny / "Brain" / "test" / "Ungood" / "img"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_batch_is_in_memory_and_no_more(adbench, record, images, tmp_path: Path, monkeypatch) -> None:
    held, whole = [], score_files._Images.__getitem__
    monkeypatch.setattr(score_files._Images, "__getitem__", lambda self, rows: held.append(rows) or whole(self, rows))
    answer = adbench("score", record, images, f"out={tmp_path / 'out'}")
    assert answer.code == 0, answer.err
    assert [(rows.start, rows.stop) for rows in held] == [(0, 2), (2, 4), (4, 6)]
    assert len(names(tmp_path / "out")) == 6, "five heatmaps and the scores: what waited on disk is gone"


def test_a_broken_image_among_good_ones_leaves_nothing(adbench, record, images, tmp_path: Path) -> None:
    last = sorted(images.iterdir())[-1]
    last.write_bytes(last.read_bytes()[:100])
    before = names(tmp_path)
    answer = adbench("score", record, images, f"out={tmp_path / 'out'}")
    assert answer.code == 3
    assert last.name in answer.err
    assert names(tmp_path) == before


def test_a_folder_that_exists_keeps_its_other_files(adbench, record, images, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    (out / "scores.csv").write_text("old")
    answer = adbench("score", record, images, f"out={out}", "threshold=0")
    assert answer.code == 0, answer.err
    assert (out / "notes.txt").read_text() == "mine"
    assert len(pd.read_csv(out / "scores.csv")) == 5
    assert len(names(out)) == 2 + 5 + 5
    assert [name for name in names(tmp_path) if name.startswith(".")] == []


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_scored(
    adbench, record, images, tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(score_files, "_score", lambda *args: pytest.fail("scored in vain"))
    answer = adbench("score", record, images, f"out={tmp_path / 'file' / 'out'}")
    assert answer.code == 2
    assert "cannot write" in answer.err
    assert "out=DIR" in answer.err


def test_what_is_left_out_of_a_folder_is_told(adbench, record, images, tmp_path: Path) -> None:
    one, two = sorted(images.iterdir())[:2]
    place = tmp_path / "scans"
    (place / "@eaDir").mkdir(parents=True)
    for name in ("a.png", "._a.png", "@eaDir/a.png"):
        (place / name).write_bytes(one.read_bytes() if name == "a.png" else b"resource fork")
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "b.png").write_bytes(two.read_bytes())
    (place / "batch").symlink_to(tmp_path / "disk")
    (place / "c.gif").write_bytes(b"GIF89a")
    answer = adbench("score", record, place, place / "a.png", f"out={tmp_path / 'out'}")
    assert answer.code == 0, answer.err
    assert (
        f"Left out in {place}: 1 file without a known ending: .gif (1); 1 hidden file; 1 hidden folder." in answer.out
    )
    assert "1 image named twice is scored once." in answer.out
    assert [Path(path).name for path in pd.read_csv(tmp_path / "out" / "scores.csv")["image"]] == ["a.png", "b.png"]


def test_what_cannot_be_scored_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.gif").touch()
    with pytest.raises(DataError, match=r"holds no image \(.*; found 1 file without a known ending: \.gif \(1\)"):
        score_files.find_images([str(tmp_path)])
    os.mkfifo(tmp_path / "scan.png")
    for words in ([str(tmp_path)], [str(tmp_path / "scan.png")]):
        with pytest.raises(DataError, match=r"scan\.png is a pipe"):
            score_files.find_images(words)
    (tmp_path / "link.png").symlink_to("gone.png")
    with pytest.raises(DataError, match=r"link\.png is a link to gone\.png, which does not exist"):
        score_files.find_images([str(tmp_path / "link.png")])
    with pytest.raises(DataError, match=r"nowhere does not exist"):
        score_files.find_images([str(tmp_path / "nowhere")])


def test_a_file_that_is_named_is_read_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / ".hidden.png").touch()
    assert score_files.find_images([str(tmp_path / ".hidden.png")]) == ([tmp_path / ".hidden.png"], [])
