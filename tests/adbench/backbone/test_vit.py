from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed

from adbench.backbone.build import build
from adbench.backbone.contract import Backbone
from adbench.backbone.weights import architecture
from adbench.errors import AdbenchError
from tests.adbench.backbone.conftest import SMALL, VITS, timm_facts

REG, PLAIN = "vit_small_patch14_reg4_dinov2", "vit_small_patch14_dinov2"


def images(size: int) -> torch.Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("model", VITS)
def test_features_are_timms_own_to_the_bit(small: Callable[[str], Backbone], model: str) -> None:
    backbone = small(model)
    shape, size = backbone.architecture, VITS[model]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        own = timm.create_model(model, num_classes=0, img_size=size, **SMALL).eval()
    own.requires_grad_(False)  # torch 2.11 may choose another kernel for what could have a gradient
    seen: dict[int, torch.Tensor] = {}
    for number, block in enumerate(own.blocks, 1):
        block.register_forward_hook(lambda _m, _i, out, number=number: seen.__setitem__(number, out))
    with torch.no_grad():
        pixels = backbone.normalise(images(size))
        pooled, whole = own(pixels), own.forward_features(pixels)
        entering = own.norm_pre(own._pos_embed(own.patch_embed(pixels))[0] if "dinov3" in model else
                                own._pos_embed(own.patch_embed(pixels)))  # fmt: skip
        registers = (1, 3) if shape.registers else ()
        features = backbone.features(images(size), (0, 1, 3), pooled=True, registers=registers)
    after = shape.prefix + shape.registers

    def stream(tokens: torch.Tensor) -> torch.Tensor:
        return torch.cat([tokens[:, : shape.prefix], tokens[:, after:]], dim=1)

    assert torch.equal(features.blocks[0], stream(entering))
    assert all(torch.equal(features.blocks[block], stream(seen[block])) for block in (1, 3))
    assert all(torch.equal(features.registers[b], seen[b][:, shape.prefix : after]) for b in registers)
    assert torch.equal(features.pooled, pooled)
    with torch.no_grad():
        assert torch.equal(backbone.norm(features.blocks[3]), stream(whole))
    assert features.blocks[1].shape[1] == shape.prefix + (size // shape.patch) ** 2


def test_shapes_of_the_families() -> None:
    found = {model: architecture(timm_facts(model), model) for model in VITS}
    assert {model: (shape.class_token, shape.registers) for model, shape in found.items()} == {
        "vit_small_patch14_dinov2": (True, 0),
        "vit_small_patch14_reg4_dinov2": (True, 4),
        "vit_small_patch16_dinov3": (True, 4),
        "vit_base_patch16_224": (True, 0),
        "vit_base_patch16_siglip_224": (False, 0),
    }
    assert all((shape.depth, shape.width, shape.text_depth) == (3, 32, 0) for shape in found.values())


def test_a_stream_runs_onward_where_it_is_whole(small: Callable[[str], Backbone]) -> None:
    plain = small(PLAIN)
    with torch.no_grad():
        streams = plain.features(images(56), (1, 3)).blocks
        assert torch.equal(plain.run_blocks(streams[1], 2, 3), streams[3])
    with pytest.raises(AdbenchError, match="blocks 2 to 4 of .* has blocks 1 to 3"):
        plain.run_blocks(streams[1], 2, 4)
    with pytest.raises(AdbenchError, match="has no blocks that a stream can be run through"):
        small(REG).run_blocks(streams[1], 2, 3)


def test_the_positions_of_a_file_are_resampled_to_the_size_asked_for(
    small: Callable[[str], Backbone], tmp_path: Path
) -> None:
    file = tmp_path / "weights.safetensors"
    state = small(PLAIN).model.state_dict()
    save_file(state, file)
    larger = build("x", timm_facts(PLAIN, weights=str(file)), 84)
    assert larger.grid == 6
    wanted = resample_abs_pos_embed(state["pos_embed"], (6, 6), num_prefix_tokens=1)
    assert torch.equal(larger.model.pos_embed, wanted)
    assert torch.equal(larger.model.blocks[2].mlp.fc1.weight, state["blocks.2.mlp.fc1.weight"])


def test_weights_of_dinov2s_own_naming_are_read(small: Callable[[str], Backbone], tmp_path: Path) -> None:
    ours = small(REG).model.state_dict()
    published = {key: value for key, value in ours.items() if key not in ("reg_token", "pos_embed")}
    published["register_tokens"] = ours["reg_token"]
    published["pos_embed"] = torch.cat([torch.zeros(1, 1, 32), ours["pos_embed"]], dim=1)
    published["mask_token"] = torch.zeros(1, 32)
    file = tmp_path / "dinov2.safetensors"
    save_file({key: value.clone() for key, value in published.items()}, file)
    read = build("x", timm_facts(REG, weights=str(file)), 56)
    assert all(torch.equal(value, ours[key]) for key, value in read.model.state_dict().items())


def test_what_does_not_fit_is_refused_in_one_sentence(
    small: Callable[[str], Backbone], facts: Callable[..., object], tmp_path: Path
) -> None:
    with pytest.raises(AdbenchError, match=r"input_size=60 .*patches of 14 pixels .* input_size=56 or 70"):
        build("x", timm_facts(PLAIN), 60)
    with pytest.raises(AdbenchError, match="timm has no model 'vit_small_patch14_dino2': did you mean"):
        architecture(timm_facts("vit_small_patch14_dino2"), "x")
    with pytest.raises(AdbenchError, match=r"timm can't build .* with .*'deep': 3"):
        architecture(timm_facts(PLAIN, args={"deep": 3}), "x")
    for key, value in (("checkpoint_path", "x.pth"), ("features_only", True), ("pretrained", True)):
        with pytest.raises(AdbenchError, match=rf"backbone\.args=\{{{key}: …\}} is not possible"):
            architecture(timm_facts(PLAIN, args={key: value}), "x")
    with pytest.raises(AdbenchError, match="args has 'depth:3' without a value: write"):
        architecture(timm_facts(PLAIN, args={"depth:3": None}), "x")
    with pytest.raises(AdbenchError, match=r"backbone\.activation is missing: a CLIP"):
        timm_facts(PLAIN, kind="clip", args={})
    with pytest.raises(AdbenchError, match="test_resnet.* is not a ViT of timm"):
        architecture(timm_facts("test_resnet", kind="vit"), "x")
    with pytest.raises(AdbenchError, match="kind=timm is not possible"):
        timm_facts(PLAIN, kind="timm")
    with pytest.raises(AdbenchError, match=r"levels=\[3, 4\] is not possible: .* from 1 to 3"):
        architecture(timm_facts(PLAIN, levels=(3, 4)), "x")
    with pytest.raises(AdbenchError, match="activation=gelu is not possible: allowed: native, own"):
        build("x", timm_facts(PLAIN), 56, activation="gelu")
    file = tmp_path / "other.safetensors"
    save_file({"blocks.0.attn.qkv.weight": torch.zeros(2, 2)}, file)
    with pytest.raises(AdbenchError, match="does not hold weights of .*tensors differ"):
        build("x", timm_facts(PLAIN, weights=str(file)), 56)
    plain = small(PLAIN)
    for call in (lambda: plain.encode_text(["a brain"]), lambda: plain.tokenise(["a brain"])):
        with pytest.raises(AdbenchError, match=r"\(kind vit\) has no text tower"):
            call()
    with pytest.raises(AdbenchError, match="has no register tokens"):
        plain.features(images(56), (1,), registers=(1,))
    with pytest.raises(AdbenchError, match="stage 1 of .* can't be read: it has stages none"):
        plain.features(images(56), (1,), stages=(1,))
    with pytest.raises(AdbenchError, match="block 4 of .* can't be read: it has blocks 0 to 3"):
        plain.features(images(56), (4,))


def test_levels_of_the_yaml_are_where_methods_read() -> None:
    shape = architecture(timm_facts(PLAIN, levels=(2, 3)), "x")
    assert shape.levels(2) == (2, 3)
    assert shape.levels(1) == (3,)
    assert architecture(timm_facts(PLAIN), "x").levels(3) == (1, 2, 3)
    assert timm_facts(PLAIN, levels=(2, 3)).facts() == {"kind": "vit", "backbone_levels": [2, 3]}


def test_a_mean_and_deviation_of_its_own_are_part_of_the_model(small: Callable[[str], Backbone]) -> None:
    own = timm_facts(PLAIN, normalisation="own", mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    backbone = build("x", own, 56)
    assert torch.equal(backbone.normalise(torch.ones(1, 3, 2, 2)), torch.full((1, 3, 2, 2), 2.0))
    assert backbone.normalisation == "own"
    assert backbone.model_hash != small(PLAIN).model_hash
    odd = (((0.5,) * 3, (float("inf"), 1, 1)), ((float("nan"), 0.5, 0.5), (1,) * 3), ((123.0,) * 3, (58.0,) * 3))
    for mean, std in (((), ()), ((0.5, 0.5), (1.0, 1.0)), ((0.5,) * 3, (0.0,) * 3), *odd):
        with pytest.raises(
            AdbenchError, match="normalisation=own .* needs a mean from 0 to 1 and a standard deviation"
        ):
            timm_facts(PLAIN, normalisation="own", mean=mean, std=std)
