"""The JSON file of a CLIP's model: what is wrong with one is said in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adbench.backbone.config import BackboneConfig
from adbench.backbone.weights import architecture, parameters
from adbench.errors import AdbenchError

VISION = {"layers": 3, "width": 32, "head_width": 16, "patch_size": 16, "image_size": 32}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 3}
MODEL: dict[str, Any] = {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT}
HF_CONFIG: dict[str, object] = {"model_type": "bert", "num_hidden_layers": 3, "hidden_size": 8}
BERT = {"hf_model_name": "nobody/tiny", "hf_config": HF_CONFIG}


def ours(file: Path, text: str = "") -> BackboneConfig:
    return BackboneConfig("ours", str(file), "random", 32, "gelu", "clip", text=text)


def without(key: str, tower: str = "") -> dict[str, Any]:
    """Return `MODEL`, or one of its towers in it, without a key."""
    if tower:
        return MODEL | {tower: {name: value for name, value in MODEL[tower].items() if name != key}}
    return {name: value for name, value in MODEL.items() if name != key}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('{"embed_dim": 24, "vision', "can't be read as JSON (JSONDecodeError: Unterminated string"),
        ("", "can't be read as JSON (JSONDecodeError: Expecting value"),
        ("[" * 10**5, "can't be read as JSON (RecursionError"),
        ("[1]", "holds a list, where an object with embed_dim, vision_cfg and text_cfg is needed"),
        (without("embed_dim"), "has no embed_dim"),
        (without("vision_cfg"), "has no vision_cfg"),
        (without("text_cfg"), "has no text_cfg"),
        (MODEL | {"embed_dim": "24"}, 'has embed_dim="24", where a whole number above 0 is needed'),
        (MODEL | {"text_cfg": None}, "has text_cfg=null, where an object is needed"),
        (without("width", "vision_cfg"), "has no vision_cfg.width"),
        (without("patch_size", "vision_cfg"), "has no vision_cfg.patch_size"),
        (without("layers", "text_cfg"), "has no text_cfg.layers"),
        (MODEL | {"vision_cfg": VISION | {"layers": 0}}, "has vision_cfg.layers=0, where a whole number above 0"),
        (MODEL | {"vision_cfg": VISION | {"patch_size": [16]}}, "has vision_cfg.patch_size=[16], where a whole"),
        (MODEL | {"vision_cfg": {"timm_model_name": 3}}, "has vision_cfg.timm_model_name=3, where a name"),
        (MODEL | {"text_cfg": BERT | {"hf_config": "bert"}}, 'has text_cfg.hf_config="bert", where an object'),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence(tmp_path: Path, content: object, why: str) -> None:
    file = tmp_path / "ours.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(AdbenchError) as caught:
        architecture(ours(file), "mine")
    start = f"backbone.model={file} (backbone 'mine') is not possible: {file} "
    assert str(caught.value).startswith(start + why), caught.value


def test_a_file_that_is_not_there_or_is_a_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(AdbenchError, match=r"gone\.json is not there: the JSON file of a model lies next to"):
        architecture(ours(tmp_path / "gone.json"), "mine")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(AdbenchError, match=r"folder\.json can't be read as JSON \(IsADirectoryError"):
        architecture(ours(tmp_path / "folder.json"), "mine")


@pytest.mark.parametrize(
    ("described", "why"),
    [
        ({"model_type": "gpt9"}, "a text configuration of 'gpt9' is none that open_clip reads"),
        ({"num_hidden_layers": "three"}, "of bert has num_hidden_layers='three', where a whole number above 0"),
    ],
)
def test_what_a_file_says_of_hugging_faces_tower_is_checked(
    tmp_path: Path, described: dict[str, object], why: str
) -> None:
    text = BERT | {"hf_config": HF_CONFIG | described}
    (tmp_path / "ours.json").write_text(json.dumps(MODEL | {"text_cfg": text}))
    with pytest.raises(AdbenchError, match=why):
        architecture(ours(tmp_path / "ours.json", text="nowhere"), "mine")


def test_values_that_open_clip_refuses_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "ours.json").write_text(json.dumps(MODEL | {"vision_cfg": VISION | {"head_size": 16}}))
    with pytest.raises(
        AdbenchError, match=r"backbone 'mine': open_clip can't build .*ours\.json: TypeError.*head_size"
    ):
        parameters(ours(tmp_path / "ours.json"), "mine")
