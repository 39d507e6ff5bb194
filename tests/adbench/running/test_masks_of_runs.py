"""What runs say of masks, and which of them stop one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Own images of 480 x 480 with masks: 4 normal, 4 abnormal; each mask has a lesion of one pixel and a large one."""
    rng = np.random.default_rng(0)
    root = tmp_path / "own"
    for name in ("normal", "abnormal", "masks"):
        (root / name).mkdir(parents=True)
    for i in range(4):
        for name in ("normal", "abnormal"):
            Image.fromarray(rng.integers(0, 255, (480, 480), dtype=np.uint8)).save(root / name / f"{name[0]}{i}.png")
        mask = np.zeros((480, 480), np.uint8)
        mask[100:200, 100:150], mask[40 + 2 * i, 300] = 1, 7
        Image.fromarray(mask).save(root / "masks" / f"a{i}.png")
    return root


def test_a_record_counts_regions_that_keep_a_pixel_and_says_so(adbench, own: Path, tmp_path: Path) -> None:
    words = ["method=clip", "dataset=folder", f"data_root={own}", "gallery=0", f"cache={tmp_path / 'cache'}"]
    outs = []
    for runs in ("cold", "warm", "warm"):  # decoded, from the cache, from the record
        answer = adbench("run", *words, f"runs={tmp_path / runs}")
        assert answer.code == 0, answer.err
        outs.append([line for line in answer.out.splitlines() if "folder test" in line])
    assert outs[0] == outs[1] == outs[2]
    assert "note: folder test: 2 lesion regions of 2 images, lost at 240 x 240 pixels, keep one pixel each." in outs[0]
    assert any("2 masks with several classes, as that of test/abnormal/a" in line for line in outs[0])
    for runs in ("cold", "warm"):
        (file,) = (tmp_path / runs).glob("*/record.json")
        content = json.loads(file.read_text())
        counts = {"size": 240, "images": 2, "kept_regions": 2, "images_with_kept_regions": 2}
        assert content["masks"] == counts
        assert any("keep one pixel each" in note for note in content["notes"])


def test_an_inverted_mask_stops_a_run_of_own_images(adbench, own: Path, tmp_path: Path) -> None:
    for path in (own / "masks").iterdir():
        Image.fromarray(np.where(np.asarray(Image.open(path)) > 0, 0, 255).astype(np.uint8)).save(path)
    words = ["run", "method=clip", "dataset=folder", f"data_root={own}", "gallery=0", f"runs={tmp_path / 'runs'}"]
    answer = adbench(*words)
    assert answer.code == 3
    assert "98 % of its image" in answer.err
    assert "dataset.full_masks=allow" in answer.err
    assert not list((tmp_path / "runs").glob("*/record.json"))
    allowed = adbench(*words, "dataset.full_masks=allow")
    assert allowed.code == 0, allowed.err
    assert "2 masks covering more than 90 % of the image" in allowed.out
    report = adbench("data", "check", "folder", f"data_root={own}", "--json")
    levels = {f["check"]: f["level"] for f in json.loads(report.out)["findings"]}
    assert (report.code, levels["mask-full"]) == (1, "error")


def test_the_mask_of_a_normal_image_must_be_empty(adbench, own: Path, tmp_path: Path) -> None:
    words = ["run", "method=clip", "dataset=folder", f"data_root={own}", "gallery=0", f"runs={tmp_path / 'runs'}"]
    for i in range(4):
        Image.new("L", (480, 480)).save(own / "masks" / f"n{i}.png")
    assert adbench(*words).code == 0
    for i in range(4):
        Image.new("L", (480, 480), 255).save(own / "masks" / f"n{i}.png")
    answer = adbench(*words)
    assert answer.code == 3
    assert "the normal image" in answer.err
    assert "has a mask, " in answer.err
    report = adbench("data", "check", "folder", f"data_root={own}", "--json")
    levels = {f["check"]: f["level"] for f in json.loads(report.out)["findings"]}
    assert levels["mask-of-normal"] == "error"
