"""Decoded arrays in the cache: of the content that was hashed, and made again where they are damaged."""

from __future__ import annotations

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.data import arrays, stamps
from adbench.data.fingerprint import Hashes, hash_items
from adbench.data.items import DatasetConfig, Item
from adbench.errors import DataError

FACTS = DatasetConfig("t", "o", masks=True)


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    """Three abnormal images with masks, 4 x 4 pixels."""
    made = []
    for i in range(3):
        image, mask = tmp_path / f"{i}.bmp", tmp_path / f"{i}_mask.bmp"
        Image.fromarray(np.full((4, 4), 50 * i, np.uint8)).save(image)
        Image.fromarray(np.pad(np.full((2, 2), 255, np.uint8), 1)).save(mask)
        made.append(Item(f"test/abnormal/{i}", "test", 1, image, (mask,)))
    return made


def decoded(items: list[Item], hashes: Hashes, cache: Path) -> tuple[bytes, bytes]:
    images = arrays.images(items, hashes, cache, 4, "bicubic", False, "x")
    masks, _ = arrays.masks(items, hashes, cache, 4, FACTS, "x")
    assert (images.shape, masks.shape) == ((3, 4, 4, 3), (3, 4, 4))
    return images.tobytes(), masks.tobytes()


def test_another_mask_decodes_masks_again_and_no_image(items: list[Item], tmp_path: Path) -> None:
    def arrays_of() -> list[str]:
        decoded(items, hash_items(items, tmp_path / "cache", "x"), tmp_path / "cache")
        return sorted(str(np.load(path, "r").shape[1:]) for path in (tmp_path / "cache" / "decoded").glob("*.npy"))

    images, masks = "(4, 4, 3)", "(4, 4)"
    assert arrays_of() == [masks, images]
    with Image.open(items[1].mask_files[0]) as mask:
        pixels = np.asarray(mask).copy()
    pixels[0, 0] ^= 255
    Image.fromarray(pixels).save(items[1].mask_files[0])
    assert arrays_of() == [masks, masks, images]


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("which", ["image", "mask"])
def test_a_file_that_changes_between_hashing_and_decoding_is_named(
    items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str, new: bool
) -> None:
    if not new:
        monkeypatch.setattr(stamps, "SETTLED_NS", -(10**10))
    hashes = hash_items(items, tmp_path / "cache", "x")
    assert len(hashes.stamps) == (0 if new else 6)
    file = items[1].path if which == "image" else items[1].mask_files[0]
    before = file.stat()
    pixels = np.asarray(Image.open(file)).copy()
    pixels[0, 0] ^= 255
    Image.fromarray(pixels).save(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    with pytest.raises(DataError, match=rf"{file} changed after this command had hashed it. Run the command again"):
        decoded(items, hashes, tmp_path / "cache")
    assert decoded(items, hash_items(items, tmp_path / "cache", "x"), tmp_path / "cache")


def test_a_file_that_was_only_touched_has_the_content_that_was_hashed(items: list[Item], tmp_path: Path) -> None:
    hashes = hash_items(items, tmp_path / "cache", "x")
    items[0].path.touch()
    os.link(items[1].path, tmp_path / "another name")
    assert decoded(items, hashes, tmp_path / "cache")


def saved(array: object) -> bytes:
    file = BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


class Trap:
    """A pickle that must never be loaded."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, ("/tmp/a pickle was loaded",)


def to_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def to_loop(file: Path) -> None:
    file.unlink()
    file.symlink_to(file)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:40]),
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        lambda file: file.write_bytes(file.read_bytes() + b"x"),
        lambda file: file.write_bytes(b"\x00" + file.read_bytes()[1:]),
        lambda file: file.write_bytes(file.read_bytes().replace(b"|u1", b"|i1")),
        lambda file: file.write_bytes(saved(np.zeros((2, 4, 4), np.uint8))),
        lambda file: file.write_bytes(saved(np.zeros((3, 4, 4), np.float32))),
        lambda file: file.write_bytes(saved(np.array([Trap()], object))),
        lambda file: file.write_bytes(b"PK\x03\x04" + file.read_bytes()),
        to_folder,
        to_loop,
    ],
)
def test_a_damaged_array_is_decoded_again_with_one_warning(
    items: list[Item], tmp_path: Path, capsys, spoil: Callable[[Path], None]
) -> None:
    cache = tmp_path / "cache"
    hashes = hash_items(items, cache, "x")
    before = decoded(items, hashes, cache)
    files = {file: file.read_bytes() for file in (cache / "decoded").glob("*.npy")}
    assert len(files) == 2
    for file, content in files.items():
        spoil(file)
        assert decoded(items, hashes, cache) == before
        said = capsys.readouterr().err
        assert said.count("warning") == 1
        assert f"{file} is damaged" in said
        assert file.read_bytes() == content
    assert not Path("/tmp/a pickle was loaded").exists()
