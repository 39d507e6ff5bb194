"""`adbench data check`: each fault in a dataset gives its finding."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def save(path: Path, pixels: object) -> Path:
    Image.fromarray(np.array(pixels, np.uint8)).save(path)
    return path


def first(folder: Path, number: int = 0) -> Path:
    return sorted(folder.iterdir())[number]


def truncated(brain: Path) -> None:
    path = first(brain / "test/good/img")
    path.write_bytes(path.read_bytes()[:60])


def other_size(brain: Path) -> None:
    save(first(brain / "test/Ungood/anomaly_mask"), np.eye(16) * 255)


def no_lesion(brain: Path) -> None:
    save(first(brain / "test/Ungood/anomaly_mask"), np.zeros((32, 32)))


def zero_and_one(brain: Path) -> None:
    save(first(brain / "valid/Ungood/anomaly_mask"), np.eye(32))


def grey_mask(brain: Path) -> None:
    mask = np.zeros((32, 32))
    mask[:16], mask[16:18] = 255, 120
    save(first(brain / "test/Ungood/anomaly_mask"), mask)


def inverted(brain: Path) -> None:
    mask = np.full((32, 32), 255)
    mask[:2] = 0
    save(first(brain / "test/Ungood/anomaly_mask"), mask)


def no_mask(brain: Path) -> None:
    first(brain / "test/Ungood/anomaly_mask").unlink()


def leaked(brain: Path) -> None:
    with Image.open(first(brain / "valid/good/img")) as image:
        image.convert("RGB").save(brain / "test/good/img/99999_1.png", compress_level=1)


def twice(brain: Path) -> None:
    path = first(brain / "test/good/img")
    shutil.copy(path, path.with_name("99999_1.png"))


def saved_again(brain: Path) -> None:
    with Image.open(first(brain / "valid/good/img")) as image:
        image.convert("RGB").save(brain / "test/good/img/99999_1.jpg", quality=95)


def both_labels(brain: Path) -> None:
    shutil.copy(first(brain / "test/Ungood/img"), brain / "test/good/img/99999_1.png")


def shared_patient(brain: Path) -> None:
    first(brain / "test/good/img").rename(brain / "test/good/img/00000_99.png")


def in_train(brain: Path) -> None:
    (brain / "train/good/img").mkdir(parents=True)
    shutil.copy(first(brain / "valid/good/img"), brain / "train/good/img/55555_1.png")


def patient_in_train(brain: Path) -> None:
    (brain / "train/good/img").mkdir(parents=True)
    save(brain / "train/good/img/00000_1.png", np.eye(32) * 255)


def all_grey(brain: Path) -> None:
    save(first(brain / "test/good/img"), np.full((32, 32), 9))


def mask_alone(brain: Path) -> None:
    save(brain / "test/Ungood/anomaly_mask/77777_1.png", np.eye(32) * 255)


def odd_ending(brain: Path) -> None:
    (brain / "test/good/img/scan.nii").write_bytes(b"x")


def no_abnormal(brain: Path) -> None:
    shutil.rmtree(brain / "test/Ungood")


def untouched(brain: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("change", "check", "level", "says"),
    [
        (truncated, "unreadable", "error", "00100_60.png cannot be read"),
        (other_size, "mask-size", "error", "Brain/test/Ungood/anomaly_mask/00110_60.png is 16 x 16, its image 32 x 32"),
        (no_lesion, "mask-empty", "error", "test/abnormal/00110_60.png: all zero"),
        (zero_and_one, "mask-empty", "error", "valid/abnormal/00010_60.png: highest value 1"),
        (grey_mask, "mask-values", "warning", "00110_60.png: 3 values, 6.2 % between"),
        (inverted, "mask-full", "warning", "test/abnormal/00110_60.png: 94 % abnormal"),
        (no_mask, "refused", "error", "00110_60.png has no mask"),
        (leaked, "identical-test", "error", "valid/normal/00000_60.png = test/normal/99999_1.png"),
        (saved_again, "alike-test", "warning", "valid/normal/00000_60.png ~ test/normal/99999_1.jpg (0.9"),
        (twice, "identical-within", "warning", "test/normal/00100_60.png = test/normal/99999_1.png"),
        (both_labels, "identical-labels", "error", "test/normal/99999_1.png = test/abnormal/00110_60.png"),
        (shared_patient, "patient-test", "error", "00000: 3 in valid, 1 in test"),
        (in_train, "identical-train-valid", "warning", "train/normal/55555_1.png = valid/normal/00000_60.png"),
        (patient_in_train, "patient-train-valid", "warning", "00000: 1 in train, 3 in valid"),
        (all_grey, "blank", "warning", "test/normal/00100_60.png"),
        (mask_alone, "stray", "warning", "Brain/test/Ungood/anomaly_mask/77777_1.png"),
        (odd_ending, "stray", "warning", "Brain/test/good/img/scan.nii"),
        (no_abnormal, "balance", "error", "5 normal and 0 abnormal: no metric"),
        (untouched, "counts", "warning", "test 5 + 5, published 640 + 3075"),
    ],
)
def test_each_fault_is_found_and_no_other(
    adbench, tiny: Path, change: Callable[[Path], None], check: str, level: str, says: str
) -> None:
    before = json.loads(adbench("data", "check", "brainmri", f"data_root={tiny}", "--json").out)
    assert [f["check"] for f in before["findings"] if f["level"] != "ok"] == ["counts"]
    change(tiny / "Brain")
    answer = adbench("data", "check", "brainmri", f"data_root={tiny}", "--json")
    assert answer.code == (1 if level == "error" else 0), answer.err
    report = json.loads(answer.out)
    bad = [f for f in report["findings"] if f["level"] != "ok"]
    said = {"note"} if check == "stray" else set()  # as a run says it too
    assert {f["check"] for f in bad} == {"counts", check} | said
    (finding,) = (f for f in bad if f["check"] == check)
    assert finding["level"] == level
    assert says in " ".join([*finding["where"], finding["why"]])
    assert finding["count"] == len(finding["where"]) or check in ("refused", "balance")
    assert finding["why"]
    assert report["levels"]["error"] == (level == "error")


def test_a_refused_dataset_is_still_examined(adbench, tiny: Path) -> None:
    no_mask(tiny / "Brain")
    leaked(tiny / "Brain")
    report = json.loads(adbench("data", "check", "brainmri", f"data_root={tiny}", "--json").out)
    errors = {f["check"]: f for f in report["findings"] if f["level"] == "error"}
    assert set(errors) == {"refused", "identical-test"}


def test_words_reach_into_the_dataset(adbench, tiny: Path) -> None:
    no_lesion(tiny / "Brain")
    root = f"data_root={tiny}"
    assert adbench("data", "check", "brainmri", root).code == 1
    allowed = adbench("data", "check", "brainmri", root, "dataset.empty_masks=allow", "--json")
    assert (allowed.code, '"mask-empty",\n      "level": "warning"' in allowed.out) == (0, True)
    blind = adbench("data", "check", "brainmri", root, "dataset.patient_pattern=null", "--json")
    unknown = next(f for f in json.loads(blind.out)["findings"] if f["check"] == "patient-unknown")
    assert (unknown["level"], unknown["count"], len(unknown["where"])) == ("warning", 22, 3)


def test_the_table_shows_levels_examples_and_how_many_more(adbench, tiny: Path) -> None:
    for i in range(5):
        path = tiny / "Brain/test/good/img" / f"9999{i}_[bold]1.png"
        save(path, np.full((32, 32), 9 + i))
    answer = adbench("data", "check", "brainmri", f"data_root={tiny}")
    assert answer.code == 0
    row = answer.out[answer.out.index("blank images") :]
    assert "5   test/normal/99990_[bold]1.png" in row
    assert "and 2 more" in row
    assert "ok        every abnormal image has a mask" in answer.out
    assert "4 warnings," in answer.out, "blank images, counts, and twice the patients of these names"


def test_json_goes_to_a_file_as_well(adbench, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "found" / "brainmri.json"
    answer = adbench("data", "check", "brainmri", f"data_root={tiny}", "--out", out)
    assert f"written: {out}" in answer.out
    content = json.loads(out.read_text())
    assert (content["dataset"], content["data"], content["images"]) == ("brainmri", "real", 22)
    again = adbench("data", "check", "brainmri", f"data_root={tiny}", "--json")
    assert json.loads(again.out) == content, "the same from the cache, and nothing but JSON on standard output"


def test_phantoms_are_in_order_and_named_as_such(adbench, tmp_path: Path) -> None:
    assert adbench("data", "phantom", "--root", tmp_path, "--dataset", "liverct", "--test", "24").code == 0
    answer = adbench("data", "check", "liverct", f"data_root={tmp_path}", "--json")
    report = json.loads(answer.out)
    assert (answer.code, report["data"]) == (0, "phantom")
    assert [f["check"] for f in report["findings"] if f["level"] != "ok"] == []
    checks = {f["check"] for f in report["findings"]}
    assert {"layout", "counts", "balance", "slice-position", "image-size", "colour-mode", "brightness"} <= checks


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["brain"], 2, "did you mean 'brainmri'"),
        (["brainmri", "data_root=/nowhere"], 3, "data_root=/nowhere is not a folder"),
        (["brainmri", "shots=4"], 2, "unknown key 'shots' here"),
        (["brainmri", "dataset.maskz=false"], 2, "did you mean 'masks'"),
    ],
)
def test_bad_words_are_one_sentence(adbench, words: list[str], code: int, says: str) -> None:
    answer = adbench("data", "check", *words)
    assert (answer.code, answer.err.count("\n")) == (code, 1)
    assert says in answer.err
