from __future__ import annotations

import math
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from adbench.backbone import clip as bb
from adbench.backbone.build import build
from adbench.backbone.weights import architecture, weights_file, weights_hash
from adbench.errors import AdbenchError
from adbench.plugins import registry


def test_features_are_the_streams_after_the_numbered_blocks(random_clip: bb.Backbone, noise: torch.Tensor) -> None:
    seen: dict[int, torch.Tensor] = {}
    hooks = [
        block.register_forward_hook(lambda _m, _i, out, number=n: seen.__setitem__(number, out))
        for n, block in enumerate(random_clip.model.visual.transformer.resblocks, 1)
    ]
    with torch.no_grad():
        whole = random_clip.model.encode_image(random_clip.normalise(noise))
        features = random_clip.features(noise, (3, 6, 12), pooled=True)
    for hook in hooks:
        hook.remove()
    assert set(features.blocks) == {3, 6, 12}
    assert features.blocks[6].shape == (4, 65, random_clip.architecture.width)
    assert all(torch.equal(tokens, seen[block]) for block, tokens in features.blocks.items())
    torch.testing.assert_close(features.pooled, whole)


def test_the_tower_runs_onward_from_any_stream_with_gradient(random_clip: bb.Backbone, noise: torch.Tensor) -> None:
    streams = random_clip.features(noise, (3, 4, 12)).blocks
    onward = random_clip.run_blocks(streams[3].detach(), 4, 12)
    torch.testing.assert_close(onward, streams[12])
    assert torch.equal(random_clip.run_blocks(streams[3], 4, 4), streams[4])
    tokens = streams[3].detach().requires_grad_()
    direction = torch.randn(tokens.shape, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad(random_clip.run_blocks(tokens, 4, 12)[0, 0].sum(), tokens)
    with torch.no_grad():
        ahead, behind = (random_clip.run_blocks(tokens + e * direction, 4, 12)[0, 0].sum() for e in (1e-2, -1e-2))
    assert float((ahead - behind) / 2e-2) == pytest.approx(float((gradient * direction).sum()), rel=2e-2)
    assert all(p.grad is None and not p.requires_grad for p in random_clip.model.parameters())
    for first, last in ((0, 3), (4, 13), (5, 4)):
        with pytest.raises(AdbenchError, match=f"blocks {first} to {last} of phantom-clip .* has blocks 1 to 12"):
            random_clip.run_blocks(tokens, first, last)


def test_the_projected_class_token_is_the_pooled_embedding(random_clip: bb.Backbone, noise: torch.Tensor) -> None:
    with torch.no_grad():
        features = random_clip.features(noise, (12,), pooled=True)
        torch.testing.assert_close(random_clip.project(features.blocks[12])[:, 0], features.pooled)


def test_fixed_prompts_cut_at_their_end_equal_open_clips(random_clip: bb.Backbone) -> None:
    texts = ["a photo of a brain", "damaged liver", "x"]
    with torch.no_grad():
        whole = random_clip.model.encode_text(random_clip.tokenise(texts))
    torch.testing.assert_close(random_clip.encode_text(texts), whole)


def test_without_the_causal_mask_the_text_differs(random_clip: bb.Backbone) -> None:
    tokens = random_clip.tokenise(["a photo of a brain"])
    with torch.no_grad():
        pair = [
            random_clip.encode_embedded(random_clip.embed_tokens(tokens), tokens.argmax(1), causal)
            for causal in (True, False)
        ]
    assert not torch.allclose(*pair, atol=1e-3)


def test_a_prompt_longer_than_the_context_is_an_error(random_clip: bb.Backbone) -> None:
    with pytest.raises(AdbenchError, match=r"takes 42 tokens; phantom-clip reads at most 32"):
        random_clip.tokenise(["brain " * 40])


@pytest.mark.parametrize("name", ["gelu", "quick_gelu"])
def test_the_activation_is_what_was_asked_for(name: str, facts) -> None:
    built = build("phantom-clip", facts(weights="random"), 112, activation=name)
    module = built.model.transformer.resblocks[0].mlp.gelu
    x = torch.tensor(1.0)
    wanted = x * torch.sigmoid(1.702 * x) if name == "quick_gelu" else 0.5 * (1 + math.erf(1 / math.sqrt(2)))
    assert float(module(x)) == pytest.approx(float(wanted), abs=1e-6)
    assert built.activation == name


def test_native_means_as_the_weights_were_trained(facts) -> None:
    built = build("phantom-clip", facts(weights="random", activation="quick_gelu", normalisation="none"), 112)
    assert (built.activation, built.normalisation) == ("quick_gelu", "none")


def test_normalisation(random_clip: bb.Backbone, noise: torch.Tensor) -> None:
    mean, std = bb.STATISTICS["clip"]
    wanted = torch.stack([(noise[:, c] - mean[c]) / std[c] for c in range(3)], dim=1)
    torch.testing.assert_close(random_clip.normalise(noise), wanted)


def test_random_weights_depend_on_their_seed_alone(facts) -> None:
    torch.manual_seed(1)
    one = build("phantom-clip", facts(weights="random"), 112).model.visual.proj
    torch.manual_seed(2)
    same = build("phantom-clip", facts(weights="random"), 112).model.visual.proj
    other = build("phantom-clip", facts(weights="random", seed=5), 112).model.visual.proj
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_building_leaves_the_global_generator_alone(facts) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    build("phantom-clip", facts(weights="random"), 112)
    assert torch.equal(torch.rand(1), expected)


def test_another_input_size_resizes_the_positions(tmp_path: Path, random_clip: bb.Backbone, facts) -> None:
    file = tmp_path / "weights.safetensors"
    save_file({k: v.half() for k, v in random_clip.model.state_dict().items()}, file)
    larger = build("phantom-clip", facts(weights=str(file)), 140)
    assert larger.grid == 10
    positions = random_clip.model.visual.positional_embedding[1:].half().float().T.reshape(1, -1, 8, 8)
    wanted = F.interpolate(positions, (10, 10), mode="bicubic", antialias=True, align_corners=False)
    torch.testing.assert_close(larger.model.visual.positional_embedding[1:], wanted.flatten(2)[0].T)


def test_the_shipped_weights_load_and_have_a_hash(cache: Path, facts) -> None:
    built = build("phantom-clip", facts(), 112)
    assert not any(p.requires_grad for p in built.model.parameters())
    assert not built.model.training
    assert len(weights_hash(facts(), "phantom-clip", cache)) == 64


def test_weights_that_cannot_be_used_are_named(tmp_path: Path, facts) -> None:
    with pytest.raises(AdbenchError, match=r"gone\.safetensors is not a file"):
        weights_file(facts(weights=str(tmp_path / "gone.safetensors")), "phantom-clip")
    pickle = tmp_path / "model.pt"
    torch.save({}, pickle)
    with pytest.raises(AdbenchError, match=r"model\.pt is refused.*timm/vit_large_patch14_clip_336\.openai"):
        weights_file(facts("ViT-L-14-336", weights=str(pickle)), "ViT-L-14-336")
    disguised = tmp_path / "model.safetensors"
    disguised.write_bytes(pickle.read_bytes())
    with pytest.raises(AdbenchError, match="not a readable safetensors file"):
        build("phantom-clip", facts(weights=str(disguised)), 112)
    other = tmp_path / "other.safetensors"
    save_file({"visual.proj": torch.zeros(2, 2)}, other)
    with pytest.raises(AdbenchError, match="does not hold weights of .*tensors differ"):
        build("phantom-clip", facts(weights=str(other)), 112)


def test_an_unknown_tag_a_cnn_and_a_missing_text_folder_are_refused(facts) -> None:
    with pytest.raises(AdbenchError, match="Allowed: .*openai"):
        weights_file(facts("ViT-B-16", weights="opneai"), "ViT-B-16")
    with pytest.raises(AdbenchError, match="RN50.* its image tower is a CNN"):
        architecture(facts(model="RN50"), "phantom-clip")
    with pytest.raises(AdbenchError, match="MobileCLIP-B.* is a hybrid: its patches come out of a CNN"):
        architecture(facts(model="MobileCLIP-B"), "phantom-clip")
    with pytest.raises(AdbenchError, match="backbone.text=FOLDER is missing. .* hf download timm/ViT-B-16-SigLIP "):
        architecture(facts(model="ViT-B-16-SigLIP"), "phantom-clip")
    with pytest.raises(AdbenchError, match="did you mean 'ViT-B-16'"):
        architecture(facts(model="ViT-B-61"), "phantom-clip")


def test_shapes_of_the_papers_backbone(facts) -> None:
    shape = architecture(facts("ViT-L-14-336"), "ViT-L-14-336")
    assert shape == bb.Architecture(24, 1024, 14, 768, 12, 768, 77)
    assert shape.levels(4) == (6, 12, 18, 24)
    assert open_clip.get_model_config("ViT-L-14-336")["vision_cfg"]["layers"] == shape.depth


@pytest.mark.parametrize("levels", [[6, 3], [6, 6], [0, 6], [6, 13], [-1]])
@pytest.mark.parametrize("method", ["april_gan", "madclip", "mediclip", "mvfa", "tgumiad"])
def test_levels_are_rising_block_numbers(facts, method: str, levels: list[int]) -> None:
    shape, method_class = architecture(facts(), "phantom-clip"), registry.find("method", method).load()
    with pytest.raises(AdbenchError, match=rf"levels=\{levels} is not possible: .* rising block numbers from 1 to 12"):
        method_class.capability(method_class.Params(levels=levels), shape)
    assert method_class.capability(method_class.Params(levels=[3, 12]), shape).blocks in ((3, 12), (3,))


def test_text_block_by_text_block_is_the_whole_text_tower(random_clip: bb.Backbone) -> None:
    texts = ["a photo of a brain", "damaged liver"]
    with torch.no_grad():
        for last in (0, 1, 3):
            stream, end = random_clip.text_stream(texts, last)
            for block in random_clip.text_blocks[last:]:
                stream = random_clip.run_text_block(block, stream, end)
            torch.testing.assert_close(random_clip.read_text(stream, end), random_clip.encode_text(texts))
