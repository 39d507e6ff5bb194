"""Small random models with text towers of other kinds, as open_clip declares them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import torch

from adbench.backbone.config import BackboneConfig

WORDS = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "an", "the", "of", "with", "without", "photo", "image", "scan",
    "normal", "healthy", "abnormal", "damaged", "brain", "liver", "lung", "retina", "chest", "lesion", "tumor",
    "defect", "flaw", "and", "in", "on", "is", "this", "x", "X", ".", ",", "!", "?", "-", "un", "##healthy", "##s",
    "##ly", "##ed", "one", "two", "small", "large", "dark", "bright", "good", "bad",
]  # fmt: skip


TEXTS = ["a photo of a healthy brain.", "unhealthy liver", "x"]


BERT = {
    "model_type": "bert", "vocab_size": len(WORDS), "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 24, "pad_token_id": 0,
}  # fmt: skip


HF_TEXT = {
    "hf_model_name": "nobody/tiny-bert", "hf_tokenizer_name": "nobody/tiny-bert", "hf_proj_type": "mlp",
    "hf_pooler_type": "cls_last_hidden_state_pooler", "context_length": 16,
}  # fmt: skip


OWN_TEXT = {"context_length": 16, "vocab_size": len(WORDS), "width": 16, "heads": 2, "layers": 3}


SIGLIP_TEXT = OWN_TEXT | {
    "hf_tokenizer_name": "nobody/tiny", "tokenizer_kwargs": {"clean": "canonicalize"}, "no_causal_mask": True,
    "proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6}, "act_kwargs": {"approximate": "tanh"},
}  # fmt: skip


TOKEN = {"timm_model_name": "test_vit", "timm_pool": "", "timm_proj": "linear", "image_size": 32}


MAP = {"timm_model_name": "test_vit3", "timm_pool": "map", "timm_proj": "none", "image_size": 32}


OWN_IMAGE = {"layers": 4, "width": 32, "head_width": 16, "patch_size": 16, "image_size": 32}


MODELS: dict[str, dict[str, Any]] = {
    "biomed": {"embed_dim": 24, "vision_cfg": TOKEN, "text_cfg": HF_TEXT},
    "siglip": {
        "embed_dim": 96, "custom_text": True, "init_logit_bias": -10, "vision_cfg": MAP, "text_cfg": SIGLIP_TEXT,
    },
    "eva": {
        "embed_dim": 24, "custom_text": True, "text_cfg": OWN_TEXT | {"vocab_size": 49408},
        "vision_cfg": TOKEN | {"timm_pool": "token", "timm_proj": None},
    },
    "worldwide": {
        "embed_dim": 24, "vision_cfg": OWN_IMAGE | {"pool_type": "avg", "final_ln_after_pool": True, "no_ln_pre": True},
        "text_cfg": OWN_TEXT | {"hf_tokenizer_name": "nobody/tiny", "pool_type": "eos", "eos_id": 3},
    },
    "roberta": {"embed_dim": 24, "vision_cfg": OWN_IMAGE, "text_cfg": HF_TEXT | {"hf_pooler_type": "mean_pooler"}},
}  # fmt: skip


NORMALISATION = {"normalisation": "own", "mean": (0.5,) * 3, "std": (0.5,) * 3}


def text_folder(folder: Path, config: dict[str, Any]) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    about = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 24}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    return folder


def facts(folder: Path, kind: str, **changes: Any) -> BackboneConfig:
    """Return the facts of a model of `MODELS` with random weights."""
    given: dict[str, Any] = {
        "title": kind, "model": str(folder / f"{kind}.json"), "weights": "random", "input_size": 32,
        "activation": "gelu",
        "text": "" if kind == "eva" else str(folder / ("roberta-text" if kind == "roberta" else "text")),
    } | NORMALISATION  # fmt: skip
    return BackboneConfig(**(given | changes))


def own(folder: Path, kind: str) -> Any:
    """Return open_clip's own model of the same seed."""
    model = {key: value for key, value in MODELS[kind].items() if key != "custom_text"}
    if "hf_model_name" in (text := dict(model["text_cfg"])):
        name = "roberta-text" if kind == "roberta" else "text"
        text |= {"hf_model_name": str(folder / name), "hf_model_pretrained": False}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = open_clip.CustomTextCLIP(**(model | {"text_cfg": text}))
        if hasattr(made.visual, "trunk"):
            made.visual.set_input_size(32)
    return made.eval().requires_grad_(False)  # as a backbone is: torch's attention runs otherwise with gradients


def pictures() -> torch.Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
