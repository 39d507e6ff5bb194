"""`adbench data describe` and contact sheets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from adbench.commands import contact
from adbench.data.items import DatasetConfig, Item


def save(path: Path, pixels: object) -> Path:
    Image.fromarray(np.array(pixels, np.uint8)).save(path)
    return path


def test_describe_prints_the_facts_and_outlines_masks(adbench, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    answer = adbench("data", "describe", "brainmri", f"data_root={tiny}", "--out", out)
    assert answer.code == 0, answer.err
    for text in (
        "BMAD Brain MRI",
        "not the published set",
        r"_\d+$",
        "640 + 3075",
        f"drawn: {out}",
    ):
        assert text in answer.out
    row = next(line for line in answer.out.splitlines() if " test " in line)
    assert row.replace("│", " ").split()[:5] == ["test", "5", "5", "4", "5"]
    with Image.open(out) as sheet:
        pixels = np.asarray(sheet)
    assert (pixels == contact.COLOUR).all(-1).sum() > 100


def test_pictures_are_png(adbench, tiny: Path, tmp_path: Path) -> None:
    out, data = tmp_path / "sheet.jpg", f"data_root={tiny}"
    for command in (("data", "describe", "brainmri"), ("data", "synthesise", "brainmri"), ("support", "show")):
        answer = adbench(*command, data, "--out", out)
        assert answer.code == 2
        assert "the picture is a PNG" in answer.err
    assert not out.exists()


def test_a_tile_keeps_proportions_and_draws_the_union_of_masks(tmp_path: Path) -> None:
    path = save(tmp_path / "x.png", np.zeros((50, 100)))
    left, right = np.zeros((50, 100)), np.zeros((50, 100))
    left[10:40, 5:35] = right[10:40, 65:95] = 255
    masks = save(tmp_path / "l.png", left), save(tmp_path / "r.png", right)
    tile = np.asarray(contact.tile(Item("x", "test", 1, path, masks), DatasetConfig("Set", "object")))
    assert tile.shape == (contact.TILE, contact.TILE, 3)
    quarter = contact.TILE // 4
    assert (tile[0, 0] > 200).all()
    assert (tile[: quarter - 1] == tile[0, 0]).all(), "a band above a wide image"
    drawn = (tile == contact.COLOUR).all(-1)
    assert drawn[:, : contact.TILE // 2].any()
    assert drawn[:, contact.TILE // 2 :].any()
    assert (
        not (np.asarray(contact.tile(Item("x", "test", 0, path), DatasetConfig("Set", "object"))) == contact.COLOUR)
        .all(-1)
        .any()
    )


def test_long_names_are_cut_in_the_middle() -> None:
    name = "TCGA_DU_5851_19950428_a_very_long_name_12.png"
    short = contact.fitting(name, 120, contact.TEXT)
    assert contact.TEXT.getlength(short) <= 120
    assert (short[:4], short[-6:], "…" in short) == ("TCGA", "12.png", True)


def test_nothing_is_left_where_an_image_cannot_be_drawn(adbench, tiny: Path, tmp_path: Path) -> None:
    path = sorted((tiny / "Brain/test/good/img").iterdir())[0]
    path.write_bytes(path.read_bytes()[:60])
    out = tmp_path / "out" / "sheet.png"
    answer = adbench("data", "describe", "brainmri", f"data_root={tiny}", "--out", out)
    assert (answer.code, "cannot be read" in answer.err, out.parent.exists()) == (3, True, False)
