from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from adbench.backbone.contract import Backbone, Features
from adbench.backbone.features import FrozenFeatures, signature
from adbench.backbone.outputs import Outputs
from adbench.system.files import shrink


def frozen(
    random_clip: Backbone,
    folder: Path | None,
    precision: str = "32-true",
    blocks: tuple[int, ...] = (3, 12),
    pooled: bool = True,
) -> FrozenFeatures:
    made = FrozenFeatures(random_clip, "weights", Outputs(blocks, pooled), precision, folder)
    made.sizes = (2, 8)  # test_chunks.py looks at how a backbone is asked
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
    assert passes == [(8, (3, 6, 9, 12), False), (8, (), True), (8, (0,), False)]
    assert len(list(tmp_path.rglob("*.safetensors"))) == 4 * 6


def test_a_chunk_goes_through_once_for_all_that_it_lacks(
    tmp_path: Path, random_clip: Backbone, noise: torch.Tensor, passes: list[object]
) -> None:
    def reading(folder: Path | None, *blocks: int) -> FrozenFeatures:
        return frozen(random_clip, folder, blocks=blocks, pooled=False)

    reading(tmp_path, 3)(noise[:1])
    reading(tmp_path, 3, 12)(noise[1:2])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")}
    passes.clear()
    found = reading(tmp_path, 3, 12)(noise)
    assert passes == [(8, (3, 12), False)], "three images, as the second is complete, and five to fill up"
    after = {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")}
    assert len(after) == 4 * 2
    assert before.items() <= after.items(), "what was there is not written again"
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


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.write_bytes(file.read_bytes()[:100]),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"\xff" * 8 + file.read_bytes()[8:]),
        lambda file: file.write_bytes(save({"other": torch.zeros(1)})),
        lambda file: file.write_bytes(save({"12": torch.zeros(3, 4)})),
        lambda file: file.write_bytes(save({"12": torch.zeros(65, 192, dtype=torch.int32)})),
        to_folder,
        to_loop,
    ],
)
def test_damaged_features_are_computed_again(tmp_path: Path, random_clip: Backbone, noise, capsys, spoil) -> None:
    whole = frozen(random_clip, tmp_path)(noise[:1])
    (file,) = tmp_path.rglob("*.12.safetensors")
    content = file.read_bytes()
    spoil(file)
    frozen(random_clip, tmp_path, blocks=(3,))(noise[:1])  # reads the other file alone
    assert capsys.readouterr().err == ""
    assert same(frozen(random_clip, tmp_path)(noise[:1]), whole)
    said = capsys.readouterr().err
    assert said.count("warning") == 1
    assert re.search(rf"{file} is damaged .* and is made again", said)
    assert file.read_bytes() == content


def test_the_cache_stays_within_its_limit_and_drops_the_oldest(
    tmp_path: Path, random_clip: Backbone, noise: torch.Tensor
) -> None:
    reader = frozen(random_clip, tmp_path, blocks=(3,), pooled=False)
    for image in noise:
        reader(image[None])
    files = {path: path.stat().st_size for path in tmp_path.rglob("*.safetensors")}
    first = min(files, key=lambda path: path.stat().st_mtime_ns)
    reader(noise[:1])  # used last
    assert shrink([tmp_path], 2.5 * files[first] / 1e9) == 2
    left = set(tmp_path.rglob("*.safetensors"))
    assert len(left) == 2
    assert first in left
