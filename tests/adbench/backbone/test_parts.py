"""The cache of stages, register tokens and V-V streams; and V-V attention against its equation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from adbench.backbone.contract import Backbone, Features
from adbench.backbone.features import FrozenFeatures
from adbench.backbone.outputs import Outputs
from adbench.backbone.segment import Segment
from adbench.system.files import INDEX

CASES = {
    "vit_small_patch14_reg4_dinov2": Outputs((1, 3), True, registers=(2, 3), vv=(2, 3), vv_from=2),
    "vit_small_patch16_dinov3": Outputs((), registers=(3,), vv=(3,), vv_from=1),
    "vit_base_patch16_siglip_224": Outputs((0, 3), vv=(3,), vv_from=3),
    "test_resnet": Outputs((), stages=(1, 3)),
    "test_efficientnet": Outputs((), True, stages=(0, 4)),
}


def images(backbone: Backbone) -> torch.Tensor:
    size = backbone.input_size
    return torch.randint(0, 256, (3, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def same(one: Features, two: Features) -> bool:
    pairs = list(zip(one.tensors(), two.tensors(), strict=True))
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs) and bool(pairs)


@pytest.mark.parametrize("model", CASES)
def test_cold_warm_and_absent_caches_give_the_same_bits(
    small: Callable[[str], Backbone], model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, outputs = small(model), CASES[model]
    pixels = images(backbone)
    absent = FrozenFeatures(backbone, "w", outputs, "32-true", None)(pixels)
    assert set(dict(absent.tensors(outputs.vv_from))) == set(outputs.parts)
    cold = FrozenFeatures(backbone, "w", outputs, "32-true", tmp_path)(pixels)
    alone = FrozenFeatures(backbone, "w", outputs, "32-true", None)(pixels[1:2])
    monkeypatch.setattr(backbone, "read", None)  # all is found
    warm = FrozenFeatures(backbone, "w", outputs, "32-true", tmp_path)(pixels)
    assert same(cold, absent)
    assert same(warm, absent)
    assert all(torch.equal(value, dict(absent.tensors())[part][1:2]) for part, value in alone.tensors())
    assert {file.parent.name for file in tmp_path.rglob("*.rows")} == {f"rows-{part}" for part in outputs.parts}


def test_a_method_finds_the_parts_that_another_one_asked_for(
    small: Callable[[str], Backbone], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = small("test_resnet")
    pixels = images(backbone)[:1]
    FrozenFeatures(backbone, "w", Outputs(stages=(1, 2)), "32-true", tmp_path)(pixels)
    asked: list[Outputs] = []
    read = backbone.read
    monkeypatch.setattr(backbone, "read", lambda x, wanted: asked.append(wanted) or read(x, wanted))
    reader = FrozenFeatures(backbone, "w", Outputs((), True, stages=(2, 3)), "32-true", tmp_path)
    reader.sizes = (2, 8)
    found = reader(pixels)
    assert asked == [Outputs((), True, stages=(3,))]
    plain = FrozenFeatures(backbone, "w", Outputs((), True, stages=(2, 3)), "32-true", None)(pixels)
    assert same(found, plain)


def test_a_stage_of_another_shape_is_computed_again(small: Callable[[str], Backbone], tmp_path: Path) -> None:
    backbone = small("test_resnet")
    whole = FrozenFeatures(backbone, "w", Outputs(stages=(1,)), "32-true", tmp_path)(images(backbone)[:1])
    for shape in ((32, 16, 15), (31, 16, 16), (32, 16)):
        (data,) = tmp_path.rglob("rows-stage1/*.rows")
        data.with_name(data.name + INDEX).unlink()
        data.unlink()
        Segment.create(data.parent, torch.float32, shape)
        assert not backbone.fits("stage1", shape)
        frozen = FrozenFeatures(backbone, "w", Outputs(stages=(1,)), "32-true", tmp_path)
        assert same(frozen(images(backbone)[:1]), whole)


def test_parts_have_names_and_numbers() -> None:
    outputs = Outputs((12, 3), False, (2,), (12,), (24, 12), 6)
    assert outputs.parts == ("3", "12", "stage2", "registers12", "vv6-12", "vv6-24")
    assert outputs.only(("3", "vv6-24")) == Outputs((3,), vv=(24,), vv_from=6)
    assert Outputs().parts == ("pooled",)


def _by_hand(stream: torch.Tensor, norm: torch.nn.LayerNorm, value, project, heads: int) -> torch.Tensor:
    """V-V attention of one block, head by head and token by token."""
    values = value(norm(stream))
    size = values.shape[-1] // heads
    out = torch.zeros_like(values)
    for image in range(len(values)):
        for head in range(heads):
            v = values[image, :, head * size : (head + 1) * size]
            for token in range(len(v)):
                weights = torch.exp(v @ v[token] / size**0.5)
                out[image, token, head * size : (head + 1) * size] = (weights / weights.sum()) @ v
    return project(out)


def test_the_vv_stream_of_a_clip_is_that_of_the_equation(random_clip: Backbone, noise: torch.Tensor) -> None:
    with torch.no_grad():
        features = random_clip.features(noise[:1], (4, 5, 6), vv=(5, 7), vv_from=5)
        assert set(features.blocks) == {4, 5, 6}
        z = features.blocks[4]
        for number in (5, 6, 7):
            block = random_clip.model.visual.transformer.resblocks[number - 1]
            weight, bias = (t.chunk(3)[2] for t in (block.attn.in_proj_weight, block.attn.in_proj_bias))
            z = z + _by_hand(
                features.blocks[number - 1], block.ln_1, lambda x, w=weight, b=bias: x @ w.T + b, block.attn.out_proj,
                block.attn.num_heads,
            )  # fmt: skip
            if number in (5, 7):
                torch.testing.assert_close(features.vv[number], z)
        first = random_clip.features(noise[:1], (), vv=(1,), vv_from=1)
        assert first.vv[1].shape == features.vv[5].shape


def test_the_vv_stream_of_a_vit_scales_as_its_layers_do(small: Callable[[str], Backbone]) -> None:
    backbone = small("vit_small_patch14_dinov2")
    block = backbone.model.blocks[1]
    gamma = block.ls1.gamma.clone()
    try:
        block.ls1.gamma.data.fill_(0.5)
        with torch.no_grad():
            features = backbone.features(images(backbone), (1,), vv=(2,), vv_from=2)
            weight, bias = (t.chunk(3)[2] for t in (block.attn.qkv.weight, block.attn.qkv.bias))
            added = _by_hand(features.blocks[1], block.norm1, lambda x: x @ weight.T + bias, block.attn.proj, 2)
        torch.testing.assert_close(features.vv[2], features.blocks[1] + 0.5 * added)
    finally:
        block.ls1.gamma.data.copy_(gamma)
