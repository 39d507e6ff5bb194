"""A record is of the content that was there: files that are swapped under the same name, size and time."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.backbone.build import build
from adbench.backbone.weights import check_weights, weights_file, weights_hash
from adbench.data import stamps
from adbench.errors import AdbenchError
from adbench.records.record import read_all


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remember files as new as those of a test."""
    monkeypatch.setattr(stamps, "SETTLED_NS", -(10**10))


def swapped(file: Path, save) -> None:
    """Put another content of the same size and modification time in the place of a file."""
    before, other = file.stat(), file.with_suffix(".new")
    save(other)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_swapped_images_are_another_cell(adbench, words, tiny: Path, tmp_path: Path) -> None:
    for file in [*tiny.rglob("*.png")]:
        Image.open(file).save(file.with_suffix(".bmp"))
        file.unlink()
    mine = ["run", "method=clip", *words, f"cache={tmp_path / 'cache'}", "input_size=56"]
    assert adbench(*mine).code == 0
    (first,) = read_all(tmp_path / "runs")
    for file in (tiny / "Brain" / "test").rglob("*.bmp"):
        pixels = np.roll(np.asarray(Image.open(file)), 9, 0)
        swapped(file, lambda other, pixels=pixels: Image.fromarray(pixels).save(other, "BMP"))
    answer = adbench(*mine)
    assert answer.code == 0, answer.err
    assert "recorded already" not in answer.out
    one, two = read_all(tmp_path / "runs")
    assert one.content["dataset"]["fingerprint"] != two.content["dataset"]["fingerprint"]
    assert first.key in (one.key, two.key)


def test_swapped_weights_have_another_hash_and_are_noticed_after_loading(facts, tmp_path: Path) -> None:
    shipped = weights_file(facts(), "phantom-clip")
    assert shipped is not None
    file, cache = tmp_path / "w.safetensors", tmp_path / "cache"
    shutil.copy(shipped, file)
    config = facts(weights=str(file))
    first = weights_hash(config, "phantom-clip", cache)
    assert first == weights_hash(config, "phantom-clip", cache)
    content = file.read_bytes()
    swapped(file, lambda other: other.write_bytes(content[:-1] + bytes([content[-1] ^ 1])))
    assert weights_hash(config, "phantom-clip", cache) != first
    loaded = build("phantom-clip", config, 56)
    with pytest.raises(AdbenchError, match=rf"{file} changed after this command had hashed it"):
        check_weights(loaded.weights_path, first, cache)


def test_force_hashes_anew_what_was_hashed_before_this_command(adbench, words, tiny: Path, tmp_path: Path) -> None:
    from adbench.data import fingerprint

    mine = ["run", "method=clip", *words, f"cache={tmp_path / 'cache'}", "input_size=56"]
    seen: list[Path] = []
    own = fingerprint._hash_file
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fingerprint, "_hash_file", lambda path: seen.append(path) or own(path))
        counts = []
        for more in ((), (), ("force=true",)):
            seen.clear()
            assert adbench(*mine, *more).code == 0
            counts.append(len({path for path in seen if tiny in path.parents}))
    every = len([*tiny.rglob("*.png")])
    assert counts == [every, 0, every]
