"""What `adbench score` leaves: tables, page, pictures, maps, masks, DICOM objects and volumes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import nibabel
import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image

import adbench as ad
from tests.adbench.exports.sources import saved, source

AFFINE = np.array([[0, -1.5, 0, 10], [2, 0, 0, -5], [0, 0, -3, 7], [0, 0, 0, 1.0]])


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture whose name is hard on URLs, a CT, a DICOM file that can't be referred to, and a volume of 3 slices."""
    folder = tmp_path_factory.mktemp("scans")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (40, 60), dtype=np.uint8)).save(folder / "a 50% #1?.png")
    saved(source("CT", 140, 150), folder / "b.dcm")
    lost = source("OT")
    del lost.SOPInstanceUID
    saved(lost, folder / "c.dcm")
    volume: Any = nibabel.Nifti1Image(rng.normal(size=(9, 7, 3)).astype(np.float32), AFFINE)
    volume.set_sform(AFFINE, 1)
    nibabel.save(volume, folder / "d.nii.gz")
    return folder


@pytest.fixture(scope="module")
def out(applied: ad.Record, scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one call with everything that can be asked for."""
    from adbench.commands.score import score_words

    folder = tmp_path_factory.mktemp("outputs") / "out"
    words = [str(scans), f"out={folder}", "threshold=0.5", "map_threshold=0.5", "maps=npy", "method.temperature=0.02"]
    score_words(applied.path, words)
    return folder


@pytest.fixture(scope="module")
def results(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "results.json").read_text())
    return found


def test_results_say_what_scored_what(out: Path, results: dict[str, Any], applied: ad.Record) -> None:
    assert results["record"]["key"] == applied.key
    assert results["method"]["name"] == "clip"
    assert results["method"]["changed"] == ["method.temperature"]
    assert results["method"]["parameters"]["temperature"] == 0.02
    assert results["method"]["prompts"]["prompts"] == applied.content["facts"]["params"]["prompts"]
    assert results["thresholds"] == {name: {"value": 0.5, "source": "given"} for name in ("image", "pixel")}
    assert results["probabilities"]["why"].startswith("method.temperature= changes the scores")
    assert results["versions"]["version"] == ad.__version__
    assert {"torch", "highdicom", "nibabel"} <= set(results["versions"]["packages"])
    reading, note = results["notes"]
    assert "have more than 8 bits and no window" in reading
    assert re.search(r"c\.dcm: no DICOM Segmentation and no Secondary Capture: its header lacks SOPInstanceUID", note)
    table = pd.read_csv(out / "scores.csv")
    rows = pd.DataFrame(results["images"])
    assert rows["image"].tolist() == table["image"].tolist()
    assert [Path(name).name for name in table["image"]][-2:] == ["d.nii.gz#001", "d.nii.gz#002"]
    assert rows["score"].to_numpy() == pytest.approx(table["score"])
    assert (rows["abnormal"] == (table["abnormal"] == 1)).all()
    named = {name for files in rows["files"] for name in files.values()}
    assert {path.name for path in out.iterdir()} == named | {"results.json", "scores.csv", "index.html"}


def test_maps_masks_and_outlines_have_the_size_of_the_image(out: Path, results: dict[str, Any]) -> None:
    for row in results["images"]:
        size = row["height"], row["width"]
        scores = np.load(out / row["files"]["map"])
        assert scores.shape == size
        assert scores.dtype == np.float32
        mask = np.asarray(Image.open(out / row["files"]["mask"]))
        assert np.array_equal(mask, np.where(scores >= 0.5, 255, 0))
        assert np.asarray(Image.open(out / row["files"]["outline"])).shape == (*size, 3)


def test_every_heatmap_has_a_colour_bar(out: Path, results: dict[str, Any]) -> None:
    bars = []
    for row in results["images"]:
        picture = np.asarray(Image.open(out / row["files"]["heatmap"]))
        assert picture.shape[1] > row["width"]
        bars.append(picture[:, row["width"] :])
    column = bars[0][:, len(bars[0][0]) // 6 + 1]
    assert column[0].tolist() == [252, 254, 164], "the pale yellow of inferno"
    assert column[-1].max() <= 4, "its black"


def test_dicom_objects_follow_the_map(out: Path, results: dict[str, Any], scans: Path) -> None:
    import highdicom

    row = next(row for row in results["images"] if row["image"].endswith("b.dcm"))
    segmentation = highdicom.seg.segread(out / row["files"]["segmentation"])
    mask = np.asarray(Image.open(out / row["files"]["mask"]))
    assert np.array_equal(segmentation.pixel_array.reshape(mask.shape) * 255, mask)
    capture = pydicom.dcmread(out / row["files"]["capture"])
    assert (capture.Rows, capture.Columns) == (140, 150)
    assert "from 0.5 on" in capture.DerivationDescription
    assert not {"segmentation", "capture"} & set(results["images"][0]["files"])


def test_volumes_have_the_affine_of_the_image(out: Path, results: dict[str, Any], scans: Path) -> None:
    rows = [row for row in results["images"] if "d.nii.gz" in row["image"]]
    maps, masks = (nibabel.load(out / rows[0]["files"][kind]) for kind in ("map_volume", "mask_volume"))
    given = nibabel.load(scans / "d.nii.gz")
    for made in (maps, masks):
        assert made.shape == given.shape
        assert np.array_equal(made.affine, given.affine)
        assert made.header["sform_code"] == 1
    assert np.array_equal(masks.get_fdata() == 1, maps.get_fdata() >= 0.5)
    # As shown, superior to inferior: the third voxel axis runs downwards, so slice 0 is its last.
    canonical = nibabel.as_closest_canonical(maps).get_fdata()
    for number, row in enumerate(rows):
        shown = np.load(out / row["files"]["map"])
        assert np.array_equal(canonical[::-1, ::-1, number].T.astype(np.float32), shown)


class Links(HTMLParser):
    """Collects what a page loads or leads to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attributes if name in ("src", "href") and value]


def test_the_page_needs_nothing_but_its_folder(out: Path, results: dict[str, Any]) -> None:
    text = (out / "index.html").read_text()
    links = Links()
    links.feed(text)
    assert "0001_a 50% #1?_heatmap.png" in map(unquote, links.found)
    for link in links.found:
        assert link == "data:," or link == "#main" or (out / unquote(link)).is_file(), link
    assert "http:" not in text.replace("http://www.w3.org/", "")
    assert "https:" not in text
    for shown in ("For research use. Not a medical device.", results["record"]["key"], "0.5: given", "c.dcm: no DICOM"):
        assert shown in text
    assert text.count("<tr>") == len(results["images"]) + 1


def test_tiff_maps_hold_the_same_numbers(
    adbench: Any, applied: ad.Record, scans: Path, out: Path, tmp_path: Path
) -> None:
    words = (applied.path, scans / "b.dcm", f"out={tmp_path / 'tiff'}", "maps=tiff", "method.temperature=0.02")
    answer = adbench("score", *words)
    assert answer.code == 0, answer.err
    (file,) = (tmp_path / "tiff").glob("*_map.tiff")
    assert np.array_equal(np.asarray(Image.open(file)), np.load(next(out.glob("*_b_map.npy"))))
    assert not list((tmp_path / "tiff").glob("*_seg.dcm")), "no threshold, no mask"
    assert list((tmp_path / "tiff").glob("*_sc.dcm"))


REFUSED = (
    (["maps=png"], "maps=png is not possible: npy or tiff"),
    (["force=yes"], "force=yes is not possible: true or false"),
    (["out="], "out= names no folder"),
    (["method.prompts.normal=healthy"], "a list of texts is needed, as in \"method.prompts.normal=['healthy {}']\""),
    (["method.prompts=healthy"], "it has parts, method.prompts.normal= and method.prompts.abnormal="),
    (["method.templates=[]"], "method.templates=[] is not possible: give at least one template"),
    (["method.epochs=3"], "unknown parameter method.epochs of clip: allowed: prompts, temperature, templates"),
    (["method.activation=gelu"], "can't be changed after training of clip; prompts and templates and temperature can"),
)


@pytest.mark.parametrize(("words", "says"), REFUSED)
def test_misuse_is_one_sentence(
    adbench: Any, applied: ad.Record, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str],
    says: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    answer = adbench("score", applied.path, scans / "b.dcm", *words)
    assert answer.code == 2
    assert says in answer.err
    assert answer.err.count("\n") == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_as_many_prompts_as_were_trained_are_asked_for() -> None:
    from adbench.running.apply import _refused

    made = {"prompts": {"normal": ["a", "b"], "abnormal": ["c"]}}
    for given in ({"prompts.normal": ["x"]}, {"prompts": {"normal": ["x"]}}):
        said = str(_refused(given, made, "madclip", RuntimeError("size mismatch")))
        assert said.startswith("method.prompts.normal has 1 text, and madclip was trained with 2: give as many, or run")
    same = str(_refused({"prompts.normal": ["x", "y"]}, made, "madclip", RuntimeError("too long")))
    assert "can't be used after training of madclip (RuntimeError: too long)" in same


def test_a_method_without_maps_has_tables_and_a_page_alone(
    adbench: Any, applied: ad.Record, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adbench.method import Scores
    from adbench.running.fitted import Fitted

    batches = Fitted.batches
    monkeypatch.setattr(
        Fitted, "batches", lambda self, images: ((n, Scores(s.image)) for n, s in batches(self, images))
    )
    answer = adbench("score", applied.path, scans / "b.dcm", f"out={tmp_path / 'out'}")
    assert answer.code == 0, answer.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["index.html", "results.json", "scores.csv"]


@pytest.mark.parametrize("force", [False, True])
def test_a_call_that_ends_while_it_writes_changes_nothing(
    applied: ad.Record, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    from adbench.running.score_files import Options, score_files
    from adbench.running.score_pictures import Writer

    fitted, out, written = ad.load(applied), tmp_path / "out", Writer.write
    if force:
        score_files(fitted, [scans / "b.dcm"], out)
        before = (out / "results.json").read_bytes()

    def stop(self: Writer, *words: Any) -> None:
        written(self, *words)
        raise KeyboardInterrupt

    monkeypatch.setattr(Writer, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        score_files(fitted, [scans / "b.dcm"], out, Options(force=force))
    assert [path.name for path in tmp_path.iterdir()] == ["out"] * force
    assert not force or (out / "results.json").read_bytes() == before


@pytest.mark.slow
def test_a_killed_call_leaves_nothing_that_the_next_one_does_not_clean_up(
    applied: ad.Record, scans: Path, tmp_path: Path
) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for number in range(300):
        shutil.copy(scans / "a 50% #1?.png", many / f"{number:03d}.png")
    words = ["score", str(applied.path), str(many), f"out={tmp_path / 'out'}"]
    child = subprocess.Popen([sys.executable, "-m", "adbench", *words], stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 200
        while not (begun := list(tmp_path.glob(".out.*.tmp/*"))) and time.monotonic() < until:
            time.sleep(0.02)
        assert begun
    finally:
        child.kill()
        child.wait()
    assert not (tmp_path / "out").exists()
    from adbench.commands.score import score_words

    score_words(applied.path, [str(scans / "b.dcm"), f"out={tmp_path / 'out'}"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["many", "out"]
