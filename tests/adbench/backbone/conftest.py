"""Backbones of timm, small enough for a test, and their facts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from adbench.backbone.build import build
from adbench.backbone.config import BackboneConfig
from adbench.backbone.contract import Backbone
from adbench.backbone.other_clips import OtherText
from tests.adbench.backbone.other_clips import BERT, MODELS, facts, text_folder

SMALL = {"depth": 3, "embed_dim": 32, "num_heads": 2}
# The families that the shipped YAMLs name, each with the pixels of its images here.
VITS = {
    "vit_small_patch14_dinov2": 56,
    "vit_small_patch14_reg4_dinov2": 56,
    "vit_small_patch16_dinov3": 64,
    "vit_base_patch16_224": 64,
    "vit_base_patch16_siglip_224": 64,
}
CNNS = ("test_resnet", "test_efficientnet", "test_convnext")


def timm_facts(model: str, **changes: object) -> BackboneConfig:
    """Return the facts of a timm model with random weights: a small one, of a ViT."""
    kind = "vit" if model.startswith("vit_") else "cnn"
    facts: dict[str, object] = {
        "title": model, "model": model, "weights": "random", "input_size": VITS.get(model, 64), "kind": kind,
        "normalisation": "imagenet", "args": SMALL if kind == "vit" else {},
    }  # fmt: skip
    return BackboneConfig(**(facts | changes))


@pytest.fixture(scope="session")
def small() -> Callable[[str], Backbone]:
    """Build a backbone of a timm model, each once."""
    built: dict[str, Backbone] = {}

    def of(model: str) -> Backbone:
        if model not in built:
            built[model] = build(model, timm_facts(model), VITS.get(model, 64))
        return built[model]

    return of


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with open_clip's configurations of `MODELS` and their text folders."""
    place = tmp_path_factory.mktemp("clips")
    for name, model in MODELS.items():
        (place / f"{name}.json").write_text(json.dumps(model))
    text_folder(place / "text", BERT)
    text_folder(place / "roberta-text", BERT | {"model_type": "roberta", "pad_token_id": 0, "type_vocab_size": 1})
    return place


@pytest.fixture(scope="session")
def tiny_clip(clips: Path) -> Callable[[str], OtherText]:
    """Build a model of `MODELS`, each once."""
    built: dict[str, Backbone] = {}

    def of(kind: str) -> Backbone:
        if kind not in built:
            built[kind] = build(kind, facts(clips, kind), 32)
        return built[kind]

    return of
