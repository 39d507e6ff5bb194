"""`adbench score` on many images: batch by batch, and all files or none."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import adbench as ad
from adbench.errors import AdbenchError, DataError
from adbench.metrics.keys import to_floats, to_keys
from adbench.records.files import HELD_OUT, HELD_OUT_PIXELS
from adbench.running import score_files
from adbench.running.find import find_images
from adbench.running.fitted import Pixels
from tests.adbench.data.test_dicom import dicom


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
    held, whole = [], Pixels.__getitem__
    monkeypatch.setattr(Pixels, "__getitem__", lambda self, rows: held.append(rows) or whole(self, rows))
    answer = adbench("score", record, images, f"out={tmp_path / 'out'}")
    assert answer.code == 0, answer.err
    assert [(rows.start, rows.stop) for rows in held] == [(0, 2), (2, 4), (4, 6)]
    assert len(names(tmp_path / "out")) == 5 + 3, "five heatmaps and three tables: what waited on disk is gone"


def test_a_broken_image_among_good_ones_leaves_nothing(adbench, record, images, tmp_path: Path) -> None:
    last = sorted(images.iterdir())[-1]
    last.write_bytes(last.read_bytes()[:100])
    before = names(tmp_path)
    answer = adbench("score", record, images, f"out={tmp_path / 'out'}")
    assert answer.code == 3
    assert last.name in answer.err
    assert names(tmp_path) == before


def test_a_folder_that_exists_is_replaced_with_force_alone_and_keeps_other_files(
    adbench, record, images, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ("score", record, images, f"out={out}")
    assert adbench(*words, "threshold=0", "map_threshold=0", "maps=npy").code == 0
    assert len(names(out)) == 3 + 4 * 5
    first = (out / "results.json").read_text()
    answer = adbench(*words)
    assert answer.code == 2
    assert f"out={out} is there already, with 0001_" in answer.err
    assert "force=true" in answer.err
    assert answer.err.count("\n") == 1
    assert (out / "results.json").read_text() == first
    assert adbench(*words, "force=true").code == 0
    assert len(names(out)) == 3 + 5, "masks, outlines and maps of the first call are gone"
    (out / "notes.txt").write_text("mine")
    (out / "folder").mkdir()
    (out / "folder" / "0001_mask.png").write_text("mine too")
    assert adbench(*words, "map_threshold=0", "force=true").code == 0
    assert (out / "notes.txt").read_text() == "mine"
    assert (out / "folder" / "0001_mask.png").read_text() == "mine too"
    assert len(names(out)) == 2 + 3 + 3 * 5
    assert len(pd.read_csv(out / "scores.csv")) == 5
    assert [name for name in names(tmp_path) if name.startswith(".")] == []


def test_a_folder_where_a_shell_stands_stays_the_same_folder(
    adbench, record, images, tmp_path: Path, monkeypatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.chdir(out)
    inode = out.stat().st_ino
    for extra in ((), ("force=true",)):
        assert adbench("score", record, images, "out=.", *extra).code == 0
        assert out.stat().st_ino == inode
        assert len(names(Path())) == 3 + 5


def test_default_folders_of_one_second_differ(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(score_files.time, "strftime", lambda _: "now")
    found = []
    for _ in range(3):
        found.append(score_files.default_folder())
        found[-1].mkdir(parents=True)
    assert [str(path) for path in found] == ["scores/now", "scores/now-2", "scores/now-3"]


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_scored(
    adbench, record, images, tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(score_files, "_score", lambda *args: pytest.fail("scored in vain"))
    answer = adbench("score", record, images, f"out={tmp_path / 'file' / 'out'}")
    assert answer.code == 2
    assert "cannot write" in answer.err
    assert "out=DIR" in answer.err


@pytest.fixture
def with_normals(record: Path) -> Path:
    """The record as if 40 normal and 20 abnormal images had been held out; a third of their scores are 0.95."""
    labels = np.arange(60) >= 40
    scores = np.where(np.arange(60) % 3 == 0, 0.95, 0.3 + 0.01 * np.arange(60)).astype(np.float32)
    table = pd.DataFrame({"image": [f"valid/{i}" for i in range(60)], "label": labels.astype(np.int8), "score": scores})
    table["map_max"], table["patient"] = scores, pd.array([f"p{i}" for i in range(60)], dtype="string")
    table.to_parquet(record / HELD_OUT)
    keys = to_keys(np.array([0.25, 0.5, 0.75], np.float32))
    pd.DataFrame({"bin": keys >> 16, "pixels": np.array([900, 60, 40])}).to_parquet(record / HELD_OUT_PIXELS)
    content = json.loads((record / "record.json").read_text())
    content["held_out"] |= {"images": 60, "patients": 60, "normal": 40, "abnormal": 20, "of": 60, "shift": 16}
    (record / "record.json").write_text(json.dumps(content))
    return record


def test_a_specificity_gives_both_thresholds_from_the_record(adbench, with_normals, images, tmp_path: Path) -> None:
    answer = adbench("score", with_normals, images, f"out={tmp_path / 'out'}", "specificity=0.6")
    assert answer.code == 0, answer.err
    fitted = ad.load(with_normals)
    fixed = fitted.thresholds(0.6)
    # 24 of the 26 scores that are not 0.95 lie below; 600 of 1000 pixels do as soon as the first bin does.
    assert fixed.image.reached == 0.6
    assert fixed.pixel.value == to_floats(np.array([(to_keys(np.array([0.25], np.float32))[0] + 2**16)]))[0]
    assert f"threshold={fixed.image.value:.9g}: a specificity of 0.6 on 40 held-out normal images" in answer.out
    assert f"map_threshold={fixed.pixel.value:.9g}: a specificity of 0.9 on their pixels" in answer.out
    table = pd.read_csv(tmp_path / "out" / "scores.csv")
    assert list(table.columns) == ["image", "score", "abnormal", "probability"]
    assert ((table["score"] >= fixed.image.value) == (table["abnormal"] == 1)).all()
    scores = fitted.score(sorted(images.iterdir()))
    assert table["probability"].to_numpy() == pytest.approx(fitted.platt().probabilities(scores.image.numpy()))
    assert sum(name.endswith("_mask.png") for name in names(tmp_path / "out")) == 5


REFUSED = (
    (["specificity=0.95", "threshold=1"], "takes both thresholds from the record: leave out threshold or specificity"),
    (["specificity=0.9", "map_threshold=1", "threshold=1"], "leave out threshold and map_threshold or specificity"),
    (["specificity=95"], "specificity=95.0 is not possible: a share between 0 and 1"),
    (["specificity=much"], "specificity=much is not a number"),
    (["map_threshold=nan"], "map_threshold=nan is not possible"),
    (["specificity=0.95", "method.prompts.normal=['healthy {}']"], "not possible with method.prompts.normal="),
    (["specificity=0.99"], "needs at least 100 held-out normal images; there are 40. Give threshold=NUMBER"),
)


def test_two_sources_of_a_threshold_or_none_are_one_sentence(adbench, with_normals, images, tmp_path: Path) -> None:
    for words, why in REFUSED:
        answer = adbench("score", with_normals, images, f"out={tmp_path / 'out'}", *words)
        assert answer.code == 2, words
        assert why in answer.err
        assert answer.err.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_a_record_without_enough_normals_says_so(adbench, record, images, tmp_path: Path) -> None:
    answer = adbench("score", record, images, f"out={tmp_path / 'out'}", "specificity=0.95")
    assert answer.code == 2
    assert "specificity 0.95 needs at least 20 held-out normal images; there are 6. Give threshold=" in answer.err
    answer = adbench("score", record, images, f"out={tmp_path / 'out'}", "threshold=0.5")
    assert answer.code == 0
    assert (
        "No probabilities: probabilities need held-out normal images of at least 10 patients; there are" in answer.out
    )
    assert "No map_threshold given: no pixels are outlined." in answer.out
    assert not any(name.endswith("_mask.png") for name in names(tmp_path / "out"))


def test_other_prompts_have_no_thresholds_and_no_probabilities(with_normals) -> None:
    fitted = ad.load(with_normals, {"prompts.normal": ["healthy {}"]})
    for function in (fitted.thresholds, fitted.platt):
        with pytest.raises(AdbenchError, match=r"scored with another value of method\.prompts\.normal"):
            function()


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
        find_images([str(tmp_path)])
    os.mkfifo(tmp_path / "scan.png")
    for words in ([str(tmp_path)], [str(tmp_path / "scan.png")]):
        with pytest.raises(DataError, match=r"scan\.png is a pipe"):
            find_images(words)
    (tmp_path / "link.png").symlink_to("gone.png")
    with pytest.raises(DataError, match=r"link\.png is a link to gone\.png, which does not exist"):
        find_images([str(tmp_path / "link.png")])
    with pytest.raises(DataError, match=r"nowhere does not exist"):
        find_images([str(tmp_path / "nowhere")])


def test_a_file_that_is_named_is_read_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / ".hidden.png").touch()
    assert find_images([str(tmp_path / ".hidden.png")]) == ([tmp_path / ".hidden.png"], [])


def test_what_score_wrote_is_not_scored_again(adbench, record, images, tmp_path: Path) -> None:
    place = tmp_path / "ward"
    shutil.copytree(images, place)
    for _ in range(2):
        answer = adbench("score", record, place, f"out={place / 'scores'}", "map_threshold=0.5", "force=true")
        assert answer.code == 0, answer.err
        assert "5 images scored" in " ".join(answer.out.split())
    assert "15 files that adbench score wrote, such as scores/" in " ".join(answer.out.split())


def test_dicom_objects_that_are_no_images_are_left_out(tmp_path: Path) -> None:
    place = tmp_path / "study"
    place.mkdir()
    for number, (modality, maker) in enumerate((("MR", "x"), ("SEG", "x"), ("OT", "adbench"), ("SR", "x"))):
        dicom(place / f"{number}.dcm", np.zeros((16, 16), np.uint16), Modality=modality, Manufacturer=maker)
    found, (sentence,) = find_images([str(place)])
    assert [path.name for path in found] == ["0.dcm"]
    assert sentence == (
        f"Left out in {place}: 1 file that adbench score wrote, such as 2.dcm; 2 DICOM objects (SEG or SR), no image: "
        "1.dcm."
    )
    assert find_images([str(place / "1.dcm")])[0] == [place / "1.dcm"], "a file that is named is read"


def touched(place: Path, *names: str) -> Path:
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).touch()
    return place


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        (["normal/a.png", "abnormal/b.png"], ["masks/b.png"]),
        (["test/good/a.png", "test/Ungood/p1/b.png"], ["test/Masks/p1/b.png"]),
        (["test/Ungood/img/b.png"], ["test/Ungood/anomaly_mask/b.png"]),
        (["test/crack/b.png"], ["ground_truth/crack/b_mask.png"]),
        (["images/abnormal/b.png"], ["masks/abnormal/b.png"]),
    ],
)
def test_masks_next_to_images_are_left_out_of_a_folder_and_read_where_they_are_named(
    tmp_path: Path, images: list[str], masks: list[str]
) -> None:
    place = touched(tmp_path / "small", *images, *masks)
    found, (sentence,) = find_images([str(place)])
    assert sorted(found) == sorted(place / name for name in images)
    assert sentence == f"Left out in {place}: 1 mask, such as {masks[0]}."
    for named in (place / masks[0], (place / masks[0]).parent):
        assert find_images([str(named)]) == ([place / masks[0]], [])


def test_a_folder_that_is_called_like_masks_and_stands_alone_holds_images(tmp_path: Path) -> None:
    place = touched(tmp_path / "ward", "masks/a.png", "patient/b.png")
    assert find_images([str(place)]) == ([place / "masks/a.png", place / "patient/b.png"], [])


def test_pictures_have_the_images_own_pixels(adbench, record, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    answer = adbench("score", record, tmp_path / "wide.png", f"out={tmp_path / 'out'}", "map_threshold=1000")
    assert answer.code == 0, answer.err
    (outline,) = (tmp_path / "out").glob("*_outline.png")
    assert np.array_equal(np.asarray(Image.open(outline)), pixels), "no pixel reaches the threshold"


def test_deep_images_are_named_and_formulas_are_text(adbench, record, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64)).save("=1+1.png")
    answer = adbench("score", record, "./=1+1.png", f"out={tmp_path / 'out'}")
    assert answer.code == 0, answer.err
    assert "have more than 8 bits and no window" in " ".join(answer.out.split())
    (row,) = pd.read_csv(tmp_path / "out" / "scores.csv").to_dict("records")
    assert row["image"] == "'=1+1.png"
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert "more than 8 bits" in content["notes"][0]


def test_a_name_that_is_no_text_is_refused_where_it_is_named_too(tmp_path: Path) -> None:
    place = tmp_path / os.fsdecode(b"\xff.png")
    place.touch()
    with pytest.raises(DataError, match="has a name that is not UTF-8. Rename it"):
        find_images([str(place)])
