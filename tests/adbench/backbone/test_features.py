from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from adbench.backbone import chunks
from adbench.backbone.contract import Backbone, Features
from adbench.backbone.features import FrozenFeatures, signature
from adbench.backbone.outputs import Outputs
from adbench.backbone.segment import ENTRY, HEAD, LARGEST, Segment
from adbench.system.files import INDEX, shrink


def frozen(
    random_clip: Backbone,
    folder: Path | None,
    precision: str = "32-true",
    blocks: tuple[int, ...] = (3, 12),
    pooled: bool = True,
) -> FrozenFeatures:
    made = FrozenFeatures(random_clip, "weights", Outputs(blocks, pooled), precision, folder)
    made.sizes = (4, 8)  # test_chunks.py looks at how a backbone is asked
    return made


@pytest.fixture
def passes(random_clip: Backbone, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, tuple[int, ...], bool]]:
    """Every pass of the backbone: how many images, which blocks, and whether pooled."""
    seen: list[tuple[int, tuple[int, ...], bool]] = []
    features = random_clip.features

    def counted(images: torch.Tensor, blocks: Sequence[int], pooled: bool = False) -> Features:
        seen.append((len(images), tuple(blocks), pooled))
        return features(images, blocks, pooled)

    monkeypatch.setattr(random_clip, "features", counted)
    return seen


def entries(folder: Path) -> int:
    """How many rows are kept."""
    return sum((file.stat().st_size - HEAD) // ENTRY.size for file in folder.rglob(f"*{INDEX}"))


def same(one: Features, two: Features) -> bool:
    assert list(one.blocks) == list(two.blocks)
    assert (one.pooled is None) == (two.pooled is None)
    pairs = [(one.blocks[b], two.blocks[b]) for b in one.blocks]
    pairs += [(one.pooled, two.pooled)] if one.pooled is not None else []
    return all(torch.equal(a, b) and a.dtype == b.dtype for a, b in pairs)


def test_cold_warm_and_absent_caches_give_the_same_bits(
    tmp_path: Path, random_clip: Backbone, noise: torch.Tensor
) -> None:
    absent = frozen(random_clip, None)(noise)
    cold = frozen(random_clip, tmp_path)(noise)
    warm = frozen(random_clip, tmp_path)(noise)
    assert same(cold, absent)
    assert same(warm, absent)


def test_images_that_are_not_seen_again_are_not_kept(
    tmp_path: Path, random_clip: Backbone, noise: torch.Tensor, passes: list[object]
) -> None:
    again, expected = torch.tensor([False, True, False, True]), frozen(random_clip, None)(noise)
    passes.clear()
    for _ in range(2):
        assert same(frozen(random_clip, tmp_path)(noise, keep=again), expected), "in their order"
    assert len(passes) == 3, "the two that are kept are found the second time"
    assert entries(tmp_path) == 2 * 3, "two images of blocks 3, 12 and pooled"
    assert same(frozen(random_clip, None)(noise, keep=again), expected)
    assert len(passes) == 4, "without a cache all go through together"


def test_an_images_features_do_not_depend_on_its_company(random_clip: Backbone, noise: torch.Tensor) -> None:
    together = frozen(random_clip, None)(noise)
    alone = frozen(random_clip, None)(noise[2:3])
    assert torch.equal(together.blocks[12][2:3], alone.blocks[12])


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_methods_share_the_blocks_that_both_read(
    tmp_path: Path, random_clip: Backbone, noise: torch.Tensor, passes: list[object], precision: str
) -> None:
    wanted = [((3, 6, 9, 12), False), ((9, 6), False), ((12,), True), ((), True), ((0, 3), False)]
    plain = [frozen(random_clip, None, precision, blocks, pooled)(noise) for blocks, pooled in wanted]
    passes.clear()
    for (blocks, pooled), expected in zip(wanted, plain, strict=True):
        assert same(frozen(random_clip, tmp_path, precision, blocks, pooled)(noise), expected)
    # one pass for the chunk's first reader; the second and the fourth reader find all
    assert passes == [(4, (3, 6, 9, 12), False), (4, (), True), (4, (0,), False)]
    assert entries(tmp_path) == 4 * 6
    assert len(list(tmp_path.rglob("*.rows"))) == 6, "one file for each part"


def test_a_chunk_goes_through_once_for_all_that_it_lacks(
    tmp_path: Path, random_clip: Backbone, noise: torch.Tensor, passes: list[object]
) -> None:
    def reading(folder: Path | None, *blocks: int) -> FrozenFeatures:
        return frozen(random_clip, folder, blocks=blocks, pooled=False)

    reading(tmp_path, 3)(noise[:1])
    reading(tmp_path, 3, 12)(noise[1:2])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.rows*")}
    passes.clear()
    found = reading(tmp_path, 3, 12)(noise)
    assert passes == [(4, (3, 12), False)], "three images, as the second is complete, and one to fill up"
    assert entries(tmp_path) == 4 * 2
    assert len(before) == 2 * 2
    assert all(path.read_bytes().startswith(content) for path, content in before.items()), "not written again"
    expected = reading(None, 3, 12)(noise)
    for block in (3, 12):
        assert torch.equal(found.blocks[block], expected.blocks[block])


def test_the_signature_is_that_of_the_folder_and_knows_no_blocks(tmp_path: Path, random_clip: Backbone) -> None:
    facts: dict[str, object] = {
        "weights": "weights", "model": random_clip.model_hash, "activation": random_clip.activation,
        "normalisation": random_clip.normalisation, "input_size": 112, "precision": "32-true",
    }  # fmt: skip
    plain = signature(facts)
    assert frozen(random_clip, tmp_path).folder == tmp_path / "features" / plain
    assert signature(facts | {"method": "madclip", "blocks": [3]}) == plain
    others = {signature(facts | {name: "other"}) for name in facts}
    assert len({plain, signature(facts, "a GPU"), *others}) == len(facts) + 2


def test_other_pixels_or_another_precision_are_other_features(
    tmp_path: Path, random_clip: Backbone, noise: torch.Tensor
) -> None:
    first = frozen(random_clip, tmp_path)(noise[:1])
    changed = noise[:1].clone()
    changed[0, 0, 0, 0] += 1e-3
    assert not torch.equal(frozen(random_clip, tmp_path)(changed).blocks[12], first.blocks[12])
    half = frozen(random_clip, tmp_path, "bf16-mixed")(noise[:1])
    assert half.blocks[3].dtype == torch.bfloat16


def to_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()
    (file / "x").touch()


def to_loop(file: Path) -> None:
    file.unlink()
    file.symlink_to(file)


def other(file: Path, dtype: torch.dtype, *shape: int) -> None:
    """Put an index in place of one, of rows of another type or shape."""
    made = Segment.create(file.parent, dtype, shape)
    made.data.unlink()
    made.index.rename(file)


@pytest.mark.parametrize(
    ("suffix", "spoil"),
    [
        ("", lambda file: file.write_bytes(file.read_bytes()[:100])),
        ("", lambda file: file.write_bytes(b"")),
        ("", lambda file: file.write_bytes(b"\xff" * 8 + file.read_bytes()[8:])),
        ("", to_folder),
        ("", to_loop),
        (INDEX, lambda file: file.write_bytes(file.read_bytes()[:100])),
        (INDEX, lambda file: file.write_bytes(b"")),
        (INDEX, lambda file: file.write_bytes(b"\xff" * 8 + file.read_bytes()[8:])),
        (INDEX, lambda file: other(file, torch.float32, 3, 4)),
        (INDEX, to_folder),
        (INDEX, to_loop),
    ],
)
def test_damaged_features_are_computed_again(
    tmp_path: Path, random_clip: Backbone, noise: torch.Tensor, capsys, suffix: str, spoil
) -> None:
    whole = frozen(random_clip, tmp_path)(noise[:1])
    (data,) = tmp_path.rglob("rows-12/*.rows")
    content, file = data.read_bytes(), data.with_name(data.name + suffix)
    spoil(file)
    frozen(random_clip, tmp_path, blocks=(3,))(noise[:1])  # reads the other files alone
    assert capsys.readouterr().err == ""
    assert same(frozen(random_clip, tmp_path)(noise[:1]), whole)
    said = capsys.readouterr().err
    assert said.count("warning") == 1
    assert re.search(rf"{file} is damaged .* and is made again", said)
    (again,) = tmp_path.rglob("rows-12/*.rows")
    assert again.read_bytes()[-len(content) :] == content
    assert same(frozen(random_clip, tmp_path)(noise[:1]), whole)
    assert capsys.readouterr().err == ""


def test_the_cache_stays_within_its_limit_and_drops_the_oldest_segments(
    tmp_path: Path, random_clip: Backbone, noise: torch.Tensor, monkeypatch: pytest.MonkeyPatch, passes: list[object]
) -> None:
    size = 65 * 128 * 4
    assert size < LARGEST
    monkeypatch.setattr("adbench.backbone.segment.LARGEST", size)
    reader = frozen(random_clip, tmp_path, blocks=(3,), pooled=False)
    whole = reader(noise)
    first, *_ = sorted(tmp_path.rglob("*.rows"))
    assert len(list(tmp_path.rglob("*.rows"))) == 4
    (old := tmp_path / "features" / "ab").mkdir()
    (old / "abc.3.safetensors").write_bytes(b"x" * size)  # of an adbench that kept a file for each image
    os.utime(old / "abc.3.safetensors", (1e9, 1e9))
    reader(noise[:1])  # used last
    assert shrink([tmp_path], 2.5 * size / 1e9) == 1 + 2 * 2, "the old file, and two segments with their indices"
    left = set(tmp_path.rglob("*.rows"))
    assert len(left) == 2
    assert first in left
    passes.clear()
    assert same(reader(noise), whole)
    assert passes == [(4, (3,), False)], "what is gone is computed again"


def test_features_of_another_kind_of_processor_are_others(tmp_path: Path, random_clip: Backbone, monkeypatch) -> None:
    here = frozen(random_clip, tmp_path).folder
    monkeypatch.setattr(chunks, "machine", lambda: "another")
    assert frozen(random_clip, tmp_path).folder != here
