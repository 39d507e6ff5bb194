"""A record of a CLIP whose text files lie in another folder of this machine than when it was made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import adbench as ad
from adbench.commands.serve import prepared
from adbench.errors import RecordError
from tests.adbench.backbone.other_clips import BERT, MODELS, text_folder
from tests.adbench.plugins.packages import install

YAML = (
    "title: bio\nmodel: bio.json\nweights: random\ntext: bio-text\ninput_size: 32\nactivation: gelu\n"
    "normalisation: clip\nlicence: MIT\n"
)


@pytest.fixture
def moved(adbench: Any, site: Path, tiny: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A record that names `text`, and the folder in which the files of `text` are now."""
    files = {
        "hospital/__init__.py": "", "hospital/backbone/bio.yaml": YAML,
        "hospital/backbone/bio.json": json.dumps(MODELS["biomed"]),
    }  # fmt: skip
    install(site, "hospital", {"configs": ["hospital = hospital"]}, files)
    text = text_folder(tmp_path / "text", BERT)
    words = ["method=clip", "backbone=bio", f"backbone.text={text}", "gallery=0", "operating=none"]
    answer = adbench("run", *words, f"data_root={tiny}", f"runs={tmp_path / 'runs'}")
    assert answer.code == 0, answer.err
    (record,) = ad.read_all(tmp_path / "runs")
    return record.path, text.rename(tmp_path / "moved")


def test_score_load_and_serve_take_the_folder_and_name_the_key_without_it(
    adbench: Any, moved: tuple[Path, Path], tiny: Path, tmp_path: Path
) -> None:
    record, text = moved
    image = next((tiny / "Brain" / "test" / "good").rglob("*.png"))
    refused = adbench("score", record, image)
    assert refused.code == 2
    assert f"backbone.text={tmp_path / 'text'} is not a folder." in refused.err
    answer = adbench("score", record, image, f"backbone.text={text}", f"out={tmp_path / 'scored'}")
    assert answer.code == 0, answer.err
    assert "note: reads the text" not in answer.out
    assert ad.load(record, text=str(text)).score(image).image.isfinite().all()
    server = prepared([str(record), f"backbone.text={text}", f"data_root={tiny}"], None, tmp_path / "cases")
    assert server.cells[0].facts()
    empty = adbench("score", record, image, "backbone.text=")
    assert (empty.code, "backbone.text= is empty" in empty.err) == (2, True)


def test_verify_compares_with_the_folder_and_without_it_says_what_it_did_not_check(
    adbench: Any, moved: tuple[Path, Path], tiny: Path
) -> None:
    record, text = moved
    words = ("verify", record, f"data_root={tiny}", "--rescore", "all")
    without = adbench(*words)
    assert without.code == 0, without.out
    assert "FINDING" not in without.out
    assert "not checked: the data, scores and training: backbone.text=" in without.out
    assert "1 record verified, 1 of them not compared with the data, 0 findings." in without.out
    answer = adbench(*words, f"backbone.text={text}")
    assert answer.code == 0, answer.out
    assert "10 images scored again: the same bits" in answer.out


def test_text_files_of_another_model_are_refused(moved: tuple[Path, Path], tmp_path: Path) -> None:
    record, _ = moved
    other = text_folder(tmp_path / "other", BERT)
    (other / "vocab.txt").write_text((other / "vocab.txt").read_text() + "\nzebra")
    with pytest.raises(RecordError, match=r"other text files than those in .*Give the right folder: backbone.text="):
        ad.load(record, text=str(other))


def test_a_folder_that_the_record_alone_names_is_told(moved: tuple[Path, Path], tmp_path: Path) -> None:
    record, text = moved
    text.rename(tmp_path / "text")
    (note,) = ad.load(record).notes
    assert note.startswith(f"reads the text files {tmp_path / 'text'}, which {record} names; backbone.text=FOLDER")
