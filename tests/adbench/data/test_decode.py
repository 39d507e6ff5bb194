from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.data import arrays
from adbench.data.decode import image_size, read_image
from adbench.data.masks import read_mask
from adbench.errors import DataError

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
RGB = np.stack([RAMP, RAMP[::-1], RAMP.T], axis=-1)


def saved(path: Path, image: Image.Image) -> Path:
    image.save(path)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp"])
def test_grey_becomes_three_equal_channels(tmp_path: Path, name: str) -> None:
    pixels = read_image(saved(tmp_path / name, Image.fromarray(RAMP)), 16)
    assert pixels.dtype == np.uint8
    assert all(np.array_equal(pixels[..., c], RAMP) for c in range(3))


def test_rgb_rgba_and_palette_give_the_same_colours(tmp_path: Path) -> None:
    rgb = read_image(saved(tmp_path / "a.png", Image.fromarray(RGB)), 16)
    rgba = read_image(saved(tmp_path / "b.png", Image.fromarray(RGB).convert("RGBA")), 16)
    few = Image.fromarray(RGB // 128 * 255)
    palette = read_image(saved(tmp_path / "c.png", few.convert("P", palette=Image.Palette.WEB)), 16)
    assert np.array_equal(rgb, RGB)
    assert np.array_equal(rgba, RGB)
    assert np.array_equal(palette, np.asarray(few))


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    deep = RAMP.astype(np.uint16) * 257
    assert np.array_equal(read_image(saved(tmp_path / "a.png", Image.fromarray(deep)), 16)[..., 0], RAMP)


def test_one_bit_images_are_black_and_white(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(RAMP > 99).convert("1"))
    assert set(np.unique(read_image(path, 16))) == {0, 255}


def test_images_are_squashed_to_a_square(tmp_path: Path) -> None:
    wide = saved(tmp_path / "a.png", Image.fromarray(np.tile(RAMP, (1, 3))))
    assert read_image(wide, 8).shape == (8, 8, 3)


def test_grey_drops_the_colour(tmp_path: Path) -> None:
    pixels = read_image(saved(tmp_path / "a.png", Image.fromarray(RGB)), 16, grey=True)
    assert np.array_equal(pixels[..., 0], np.asarray(Image.fromarray(RGB).convert("L")))
    assert np.array_equal(pixels[..., 0], pixels[..., 2])


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    whole = saved(tmp_path / "whole.png", Image.fromarray(np.kron(RGB, np.ones((8, 8, 1), np.uint8))))
    cases = {
        "cut.png": (whole.read_bytes()[:-200], "truncated|broken|cannot be read"),
        "empty.png": (b"", "zero bytes"),
        "text.png": (b"this is a letter", "cannot identify"),
    }
    for name, (content, says) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name}.*({says})"):
            read_image(tmp_path / name, 16)
    with pytest.raises(DataError, match=r"gone\.png does not exist"):
        read_image(tmp_path / "gone.png", 16)


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.tif", Image.fromarray(RAMP.astype(np.float32)))
    with pytest.raises(DataError, match="floating-point"):
        read_image(path, 16)


@pytest.mark.parametrize("read", [lambda path: read_image(path, 4), image_size, lambda path: read_mask(path, 0)])
def test_an_image_of_too_many_pixels_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read) -> None:
    path = saved(tmp_path / "slide.png", Image.fromarray(RAMP))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=r"slide\.png has more than 200 pixels"):
        read(path)


def test_a_large_image_is_read_without_a_warning(tmp_path: Path) -> None:
    path = saved(tmp_path / "slide.png", Image.fromarray(RAMP))
    code = (
        "import sys; from pathlib import Path; from PIL import Image; from adbench.data.decode import read_image;"
        "Image.MAX_IMAGE_PIXELS = 200; print(read_image(Path(sys.argv[1]), 16).sum())"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"{3 * RAMP.sum()}\n", "")


def test_few_images_wait_in_memory() -> None:
    begun = []

    def decode(item: int) -> int:
        begun.append(item)
        return item

    with ThreadPoolExecutor(4) as pool:
        found = arrays._ahead(pool, decode, range(10 * arrays.AHEAD))
        assert next(found) == 0
        time.sleep(0.2)
        assert len(begun) == arrays.AHEAD
        assert list(found) == list(range(1, 10 * arrays.AHEAD))
