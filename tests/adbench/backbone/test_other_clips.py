from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip.tokenizer import HFTokenizer
from open_clip.transformer import TextTransformer
from safetensors.torch import save_file
from timm.models import VisionTransformer
from torch.testing import assert_close

from adbench.backbone import siglip_names
from adbench.backbone.attention import with_one_product
from adbench.backbone.build import build
from adbench.backbone.fit import fitted
from adbench.backbone.other_clips import OtherText
from adbench.backbone.weights import architecture, is_here, model_hash, parameters, weights_hash
from adbench.blocks.deep_prompts import DeepPrompts
from adbench.blocks.prompts import PromptLearner, Prompts
from adbench.errors import AdbenchError
from adbench.method import Capability, unmet
from tests.adbench.backbone.other_clips import (
    BERT,
    HF_TEXT,
    MAP,
    MODELS,
    TEXTS,
    WORDS,
    facts,
    own,
    pictures,
    text_folder,
)


@pytest.mark.parametrize("kind", MODELS)
def test_both_embeddings_and_the_blocks_are_open_clips_own(
    clips: Path, tiny_clip: Callable[[str], OtherText], kind: str
) -> None:
    backbone, model = tiny_clip(kind), own(clips, kind)
    blocks = model.visual.trunk.blocks if hasattr(model.visual, "trunk") else model.visual.transformer.resblocks
    seen: list[torch.Tensor] = []
    for block in blocks:
        block.register_forward_hook(lambda _m, _i, out: seen.append(out))
    shape = backbone.architecture
    with torch.no_grad():
        pooled = model.encode_image(backbone.normalise(pictures()))
        features = backbone.features(pictures(), (1, shape.depth), pooled=True)
    after = shape.prefix + shape.registers
    assert torch.equal(features.pooled, pooled)
    assert torch.equal(backbone.features(pictures(), ()).pooled, pooled)
    for block in (1, shape.depth):
        stream = torch.cat([seen[block - 1][:, : shape.prefix], seen[block - 1][:, after:]], dim=1)
        assert torch.equal(features.blocks[block], stream)
    read = open_clip.SimpleTokenizer(context_length=16)
    if kind != "eva":
        kwargs = MODELS[kind]["text_cfg"].get("tokenizer_kwargs", {})
        read = HFTokenizer(facts(clips, kind).text, context_length=16, **kwargs)
    assert torch.equal(backbone.tokenise(TEXTS), read(TEXTS))
    assert_reads_text_like(model, backbone, read(TEXTS))


def assert_reads_text_like(model: open_clip.CLIP, backbone: OtherText, tokens: torch.Tensor) -> None:
    """Compare embeddings with open_clip's: those of torch's attention up to rounding, of adbench's own to the bit."""
    embeddings = backbone.encode_text(TEXTS)
    with torch.no_grad():
        assert_close(embeddings, model.encode_text(tokens), rtol=1e-6, atol=2e-6)
        with_one_product(model)
        assert torch.equal(embeddings, model.encode_text(tokens))


def test_their_shapes(clips: Path) -> None:
    shapes = {kind: architecture(facts(clips, kind), kind) for kind in MODELS}
    assert {k: (s.depth, s.width, s.patch, s.embed_dim) for k, s in shapes.items()} == {
        "biomed": (6, 64, 16, 24), "siglip": (9, 96, 16, 96), "eva": (6, 64, 16, 24), "roberta": (4, 32, 16, 24),
        "worldwide": (4, 32, 16, 24),
    }  # fmt: skip
    assert {(s.text_depth, s.text_width, s.context, s.kind) for s in shapes.values()} == {(3, 16, 16, "clip")}
    assert {kind: (s.class_token, s.registers, s.projection) for kind, s in shapes.items()} == {
        "biomed": (True, 0, True), "siglip": (False, 1, False), "eva": (True, 0, True), "roberta": (True, 0, True),
        "worldwide": (True, 0, True),
    }  # fmt: skip
    assert all(shape.word_vectors for shape in shapes.values())


@pytest.mark.parametrize("kind", MODELS)
def test_word_vectors_and_blocks_lead_to_the_same_embedding(tiny_clip: Callable[[str], OtherText], kind: str) -> None:
    backbone = tiny_clip(kind)
    whole, tokens = backbone.encode_text(TEXTS), backbone.tokenise(TEXTS)
    with torch.no_grad():
        again = backbone.encode_embedded(backbone.embed_tokens(tokens), backbone.ends(tokens), causal=True)
        torch.testing.assert_close(again, whole, atol=1e-5, rtol=1e-4)
        stream, end = backbone.text_stream(TEXTS, 1)
        stream = backbone.run_text_blocks(stream, 2, 3, end)
        torch.testing.assert_close(backbone.read_text(stream, end), whole, atol=1e-5, rtol=1e-4)
        plain = DeepPrompts(backbone, last=0, length=1)(backbone, backbone.embed_tokens(tokens), backbone.ends(tokens))
        torch.testing.assert_close(plain, whole, atol=1e-5, rtol=1e-4)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        half = backbone.encode_embedded(backbone.embed_tokens(tokens), backbone.ends(tokens), causal=True)
    assert torch.nn.functional.cosine_similarity(half.float(), whole).min() > 0.98
    without = backbone.encode_embedded(backbone.embed_tokens(tokens), backbone.ends(tokens), causal=False)
    assert torch.allclose(without, whole, atol=1e-4) is (kind not in ("eva", "worldwide"))  # causally masked


@pytest.mark.parametrize("kind", ["biomed", "eva", "roberta"])
def test_the_projected_class_token_is_the_image_embedding(tiny_clip: Callable[[str], OtherText], kind: str) -> None:
    backbone = tiny_clip(kind)
    with torch.no_grad():
        features = backbone.features(pictures(), (backbone.architecture.depth,), pooled=True)
        joint = backbone.project(features.blocks[backbone.architecture.depth])
        bare = backbone.project(backbone.norm(features.blocks[backbone.architecture.depth]), final_norm=False)
        onward = backbone.run_blocks(backbone.features(pictures(), (1,)).blocks[1], 2, backbone.architecture.depth)
    torch.testing.assert_close(joint[:, 0], features.pooled)
    assert joint.shape == (2, 5, 24)
    assert torch.equal(bare, joint)
    assert torch.equal(onward, features.blocks[backbone.architecture.depth])


def test_patches_behind_a_pooling_by_attention_are_not_projected(tiny_clip: Callable[[str], OtherText]) -> None:
    siglip = tiny_clip("siglip")
    with pytest.raises(AdbenchError, match="siglip .* has no projection of patches into the space of text"):
        siglip.project(torch.zeros(1, 4, 96))
    assert siglip.features(pictures(), (), vv=(9,), vv_from=3).vv[9].shape == (2, 4, 96)
    assert siglip.features(pictures(), (), registers=(9,)).registers[9].shape == (2, 1, 96)


@pytest.mark.parametrize("kind", ["biomed", "siglip", "eva"])
@pytest.mark.parametrize("position", ["end", "middle", "front"])
def test_a_learned_context_that_equals_words_is_the_sentence(
    tiny_clip: Callable[[str], OtherText], kind: str, position: str
) -> None:
    backbone = tiny_clip(kind)
    phrases = Prompts(["healthy {}"], ["unhealthy {}"])
    learner = PromptLearner(backbone, phrases, length=2, positions=(position,))
    x = backbone.embed_tokens(backbone.tokenise(["x"]))[0, backbone.lead]
    with torch.no_grad():
        learner.normal.copy_(x.expand_as(learner.normal))
        learner.abnormal.copy_(x.expand_as(learner.abnormal))
        learned = learner(backbone, "brain")
        sentence = {"end": "x x {} brain.", "middle": "x {} brain x.", "front": "{} brain x x."}[position]
        texts = [sentence.format(state) for state in ("healthy", "unhealthy")]
        tokens = backbone.tokenise(texts)
        plain = backbone.encode_embedded(backbone.embed_tokens(tokens), backbone.ends(tokens), causal=False)
    torch.testing.assert_close(learned, torch.nn.functional.normalize(plain, dim=-1), atol=1e-5, rtol=1e-4)
    learned = learner(backbone, "brain")
    (gradient,) = torch.autograd.grad(learned.sum(), learner.normal)
    assert float(gradient.abs().sum()) > 0


def test_weights_are_saved_read_and_converted_with_other_positions_and_old_numbers(clips: Path, tmp_path: Path) -> None:
    model = own(clips, "biomed")
    state = {key: value + 0.01 if value.is_floating_point() else value for key, value in model.state_dict().items()}
    state["text.transformer.embeddings.position_ids"] = torch.arange(24)[None]  # as older files have it
    config = facts(clips, "biomed")
    save_file(fitted(state, config, "biomed", "published.bin"), tmp_path / "w.safetensors")
    read = build("biomed", facts(clips, "biomed", weights=str(tmp_path / "w.safetensors")), 32)
    assert "text.transformer.embeddings.position_ids" not in read.model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in read.model.state_dict().items())
    larger = build("biomed", facts(clips, "biomed", weights=str(tmp_path / "w.safetensors")), 64)
    assert larger.features(torch.rand(1, 3, 64, 64), (1,)).blocks[1].shape == (1, 17, 64)
    state["visual.trunk.pos_embed"] = torch.zeros(3)
    save_file(state, tmp_path / "odd.safetensors")
    with pytest.raises(AdbenchError, match="odd.safetensors does not hold weights of .*timm can't read them"):
        build("biomed", facts(clips, "biomed", weights=str(tmp_path / "odd.safetensors")), 32)
    del state["text.proj.0.weight"], state["visual.trunk.pos_embed"]
    with pytest.raises(AdbenchError, match="2 tensors differ, the first is text.proj.0.weight"):
        fitted(state, config, "biomed", "published.bin")


def test_weights_whose_text_tower_lies_next_to_the_images_are_read(clips: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    plain = open_clip.CLIP(**MODELS["worldwide"]).eval().requires_grad_(False)
    save_file({key: value.contiguous() for key, value in plain.state_dict().items()}, tmp_path / "w.safetensors")
    backbone = build("worldwide", facts(clips, "worldwide", weights=str(tmp_path / "w.safetensors")), 32)
    assert isinstance(backbone, OtherText)
    assert_reads_text_like(plain, backbone, backbone.tokenise(TEXTS))
    with torch.no_grad():
        pooled = plain.encode_image(backbone.normalise(pictures()))
        assert torch.equal(backbone.features(pictures(), (), pooled=True).pooled, pooled)


def test_the_folder_is_part_of_the_models_hash_and_its_place_is_not(clips: Path, tmp_path: Path) -> None:
    elsewhere = text_folder(tmp_path / "other", BERT)
    same = facts(clips, "biomed", text=str(elsewhere))
    assert model_hash(same, "biomed") == model_hash(facts(clips, "biomed"), "biomed")
    assert is_here(same, "biomed")
    (elsewhere / "vocab.txt").write_text("\n".join([*WORDS[:-2], *reversed(WORDS[-2:])]))
    assert model_hash(same, "biomed") != model_hash(facts(clips, "biomed"), "biomed")
    assert weights_hash(same, "biomed", tmp_path) != weights_hash(facts(clips, "biomed"), "biomed", tmp_path)
    assert parameters(same, "biomed") == sum(p.numel() for p in own(clips, "biomed").parameters())


def test_siglip_in_transformers_names_computes_what_transformers_does() -> None:
    from transformers import SiglipConfig, SiglipModel

    both = {"hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    text_config = both | {"vocab_size": 50, "max_position_embeddings": 8, "projection_size": 24}
    config = SiglipConfig(text_config=text_config, vision_config=both | {"image_size": 32, "patch_size": 16})
    theirs = SiglipModel(config).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    published = theirs.state_dict()
    assert siglip_names.is_transformers(published)
    assert not siglip_names.is_transformers({"visual.trunk.pos_embed": torch.zeros(1)})
    state = siglip_names.renamed(published)
    image = VisionTransformer(
        32, 16, embed_dim=24, depth=2, num_heads=2, mlp_ratio=2, class_token=False, global_pool="map", num_classes=0,
        act_layer="gelu_tanh",
    ).eval()  # fmt: skip
    text = TextTransformer(
        8, 50, 24, 2, 2, 2.0, output_dim=24, no_causal_mask=True, pool_type="last", proj_bias=True,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6), act_layer=partial(torch.nn.GELU, approximate="tanh"),
    ).eval()  # fmt: skip
    for prefix, model in (("visual.trunk.", image), ("text.", text)):
        model.load_state_dict({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    assert {key for key in state if not key.startswith(("visual.trunk.", "text."))} == {"logit_scale", "logit_bias"}
    pixels, tokens = pictures(), torch.randint(50, (2, 8), generator=generator)
    with torch.no_grad():
        torch.testing.assert_close(image(pixels), theirs.vision_model(pixels).pooler_output, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(text(tokens), theirs.text_model(tokens).pooler_output, atol=1e-5, rtol=1e-4)


def test_the_activation_of_timms_model_can_be_tanh_gelu(clips: Path, tmp_path: Path) -> None:
    model = MODELS["siglip"] | {"vision_cfg": MAP | {"trunk_act_kwargs": {"approximate": "tanh"}}}
    (tmp_path / "m.json").write_text(json.dumps(model))
    backbone, plain = build("tanh", facts(clips, "siglip", model=str(tmp_path / "m.json")), 32), own(clips, "siglip")
    for block in [*plain.visual.trunk.blocks, plain.visual.trunk.attn_pool]:
        block.mlp.act = torch.nn.GELU(approximate="tanh")
    with torch.no_grad():
        pixels = backbone.normalise(pictures())
        assert torch.equal(backbone.features(pictures(), (), pooled=True).pooled, plain.encode_image(pixels))


def test_other_encoders_of_hugging_faces_embed_fixed_prompts_alone(clips: Path, tmp_path: Path) -> None:
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "vocab_size": len(WORDS)}
    files = text_folder(tmp_path / "mt5", {"model_type": "mt5", "pad_token_id": 0, "is_encoder_decoder": True} | sizes)
    model = MODELS["biomed"] | {"text_cfg": HF_TEXT | {"hf_pooler_type": "mean_pooler"}}
    (tmp_path / "m.json").write_text(json.dumps(model))
    backbone = build("mt5", facts(clips, "biomed", model=str(tmp_path / "m.json"), text=str(files)), 32)
    shape = backbone.architecture
    assert (shape.text_depth, shape.text_width, shape.word_vectors) == (2, 16, False)
    with torch.no_grad():
        own_forward = backbone.model.encode_text(HFTokenizer(str(files), context_length=16)(TEXTS))
    assert torch.equal(backbone.encode_text(TEXTS), own_forward)
    with pytest.raises(AdbenchError, match="mt5 .* has no text tower that runs from word vectors"):
        backbone.embed_tokens(backbone.tokenise(TEXTS))
    assert unmet(Capability("none", word_vectors=True), shape) == "a text tower that runs from word vectors"
    assert unmet(Capability("none", text=True, projection=True), shape) is None


def test_timm_is_imported_when_a_tower_of_its_is_built() -> None:
    code = (
        "import sys\n"
        "from adbench.backbone.openclip import CustomTextCLIP, TimmModel\n"
        "assert 'timm' not in sys.modules\n"
        "vision = {'timm_model_name': 'vit_tiny_patch16_224', 'image_size': 32, 'timm_proj': 'linear'}\n"
        "built = CustomTextCLIP(16, vision, {'layers': 1, 'width': 64, 'heads': 1})\n"
        "assert isinstance(built.visual, TimmModel) and 'timm' in sys.modules\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr == ""
