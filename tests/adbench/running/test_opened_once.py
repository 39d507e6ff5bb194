"""The test split is opened once, and everything is decoded before the first epoch."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

METHOD = """
from dataclasses import dataclass
from pathlib import Path

from adbench import Capability, Method, Scores


@dataclass
class Params:
    epochs: int = 2


class Tattler(Method[Params]):
    @classmethod
    def capability(cls, params, architecture):
        return Capability(support="both", blocks=(1,), maps=False, epochs=0)

    def prepare(self, support):
        Path(__file__).with_name("fitted").touch()

    def score(self, batch):
        return Scores(batch.images.float().mean((1, 2, 3)))
"""
HEARD: list[list[str]] = []


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and HEARD and isinstance(arguments[0], str | os.PathLike):
        HEARD[-1].append(os.fspath(arguments[0]))  # type: ignore[arg-type]


sys.addaudithook(_hear)


@contextmanager
def opened() -> Iterator[list[str]]:
    """The paths that Python opens in the block."""
    HEARD.append([])
    try:
        yield HEARD[-1]
    finally:
        HEARD.pop()


@pytest.mark.parametrize("method", ["patchcore", "clip"])
def test_a_warm_cell_opens_test_images_and_masks_once(adbench, tiny: Path, tmp_path: Path, method: str) -> None:
    words = [f"method={method}", f"data_root={tiny}", "shots=2", "gallery=2", f"cache={tmp_path / 'cache'}"]
    assert adbench("run", *words, f"runs={tmp_path / 'cold'}").code == 0
    arrays = sorted((tmp_path / "cache" / "decoded").glob("*.npy"))
    with opened() as paths:
        assert adbench("run", *words, f"runs={tmp_path / 'warm'}").code == 0
    decoded = [path for path in paths if path.endswith(".npy")]
    test = [path for path in set(decoded) if Path(path).stat().st_size > 10 * 32 * 32]
    counts = {path: decoded.count(path) for path in test}
    # Of the test split its images (112 px) and masks (240 px); of a support, images for it and for the overlap.
    sizes = {path: Path(path).stat().st_size for path in test}
    whole = [path for path, size in sizes.items() if size in (10 * 112 * 112 * 3 + 128, 10 * 240 * 240 + 128)]
    assert len(whole) == 2, sizes
    assert [counts[path] for path in whole] == [1, 1]
    assert sorted((tmp_path / "cache" / "decoded").glob("*.npy")) == arrays, "a gallery leaves no array of its own"


@pytest.mark.parametrize("where", ["test/good/img", "test/Ungood/img", "test/Ungood/anomaly_mask", "valid/good/img"])
def test_a_damaged_file_is_found_before_anything_is_fitted(adbench, tiny: Path, tmp_path: Path, where: str) -> None:
    (tmp_path / "tattler.py").write_text(METHOD)
    for path in sorted((tiny / "Brain" / where).iterdir()):
        path.write_bytes(path.read_bytes()[:60])
    words = [f"method={tmp_path / 'tattler.py'}:Tattler", f"data_root={tiny}", "shots=6", f"runs={tmp_path / 'runs'}"]
    answer = adbench("run", *words)
    assert answer.code == 3, answer.err
    assert "cannot be read as an image" in answer.err
    assert where.rpartition("/")[0] in answer.err
    assert not (tmp_path / "fitted").exists()
    assert not list((tmp_path / "runs").glob("*"))


def test_a_damaged_held_out_image_is_found_before_anything_is_fitted(adbench, tiny: Path, tmp_path: Path) -> None:
    for path in (tiny / "Brain/valid/good/img").iterdir():
        whole = path.read_bytes()
        path.write_bytes(whole[:60])
        words = ["method=madclip", "method.epochs=1", f"data_root={tiny}", "shots=1", "selection=valid"]
        answer = adbench("run", *words, f"runs={tmp_path / 'runs'}", f"cache={tmp_path / 'cache'}")
        assert (answer.code, path.name in answer.err) == (3, True), answer.err
        assert not (tmp_path / "cache" / "features").exists()
        path.write_bytes(whole)
        break
