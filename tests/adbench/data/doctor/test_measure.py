"""Measurements of image and mask files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.data import stamps
from adbench.data.doctor import measure
from adbench.data.doctor.measure import ImageStats, MaskStats
from adbench.data.items import DatasetConfig


def save(path: Path, pixels: object, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(np.array(pixels, np.uint8))
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def test_content_is_that_of_the_pixels_not_of_the_file(tmp_path: Path) -> None:
    pixels = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    packed = save(tmp_path / "a.png", pixels, compress_level=0)
    others = [
        save(tmp_path / "b.png", pixels, compress_level=9), save(tmp_path / "c.png", pixels, "RGB"),
        save(tmp_path / "d.bmp", pixels), save(tmp_path / "e.tif", pixels),
    ]  # fmt: skip
    assert len({path.read_bytes() for path in [packed, *others]}) == 5
    assert {measure.image_stats(path).content for path in others} == {measure.image_stats(packed).content}
    pixels[5, 5] ^= 1
    assert measure.image_stats(save(tmp_path / "f.png", pixels)).content != measure.image_stats(packed).content
    flat = [measure.image_stats(save(tmp_path / "g.png", np.zeros(shape))).content for shape in ((4, 16), (16, 4))]
    assert flat[0] != flat[1], "the shape counts"


def test_measurements_of_an_image_by_hand(tmp_path: Path) -> None:
    grey = measure.image_stats(save(tmp_path / "a.png", [[0, 255, 255], [0, 255, 0]]))
    assert (grey.width, grey.height, grey.mode, grey.colour, grey.mean, grey.spread) == (3, 2, "L", False, 127.5, 127.5)
    assert measure.image_stats(save(tmp_path / "b.png", [[[9, 9, 9], [9, 9, 8]]])).colour
    assert not measure.image_stats(save(tmp_path / "c.png", [[[9, 9, 9], [7, 7, 7]]])).colour
    (tmp_path / "d.png").write_bytes(b"")
    assert "zero bytes" in measure.image_stats(tmp_path / "d.png").error
    assert "does not exist" in measure.image_stats(tmp_path / "gone.png").error


def test_measurements_of_a_mask_by_hand(tmp_path: Path) -> None:
    by = {level: DatasetConfig("Set", "object", mask_threshold=level) for level in (127, 99, None)}
    path = save(tmp_path / "m.png", [[0, 0, 0, 0, 0], [100, 100, 255, 255, 255]])
    text = "0, 100, 255"
    assert measure.mask_stats(path, by[127]) == MaskStats(5, 2, 3, 255, 0.3, 0.2, 0, "plain", text)
    assert measure.mask_stats(path, by[99]).above == 0.5
    assert measure.mask_stats(save(tmp_path / "z.png", [[0, 0]]), by[127]) == MaskStats(
        2, 1, 1, 0, how="plain", levels="0"
    )
    unclear = measure.mask_stats(save(tmp_path / "u.png", [[1, 2]]), by[None])
    assert "u.png holds the values 1, 2 and no 0" in unclear.unclear
    tiny = np.zeros((720, 720))
    tiny[0, 0] = tiny[1, 1] = tiny[360:, :100] = 1
    assert measure.mask_stats(save(tmp_path / "t.png", tiny), by[None]).kept == 0, "the second row and column are taken"
    tiny[1, 1] = 0
    assert measure.mask_stats(save(tmp_path / "s.png", tiny), by[None]).kept == 1


def test_a_file_is_decoded_again_only_after_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [save(tmp_path / f"{i}.png", [[i, 200]]) for i in range(3)]
    read: list[Path] = []

    def counting(path: Path, own: Callable[[Path], ImageStats] = measure.image_stats) -> ImageStats:
        read.append(path)
        return own(path)

    monkeypatch.setattr(measure, "image_stats", counting)
    monkeypatch.setattr(stamps, "SETTLED_NS", -(10**10))  # files as new as these are not remembered otherwise
    first = measure.measure_images(paths, tmp_path / "cache", "x")
    assert sorted(read) == paths
    assert measure.measure_images(paths, tmp_path / "cache", "x") == first
    assert len(read) == 3
    save(paths[1], [[77, 77]])
    os.utime(paths[1], (1, 1))
    assert measure.measure_images(paths, tmp_path / "cache", "x")[paths[1]].mean == 77
    assert read[3:] == [paths[1]]
