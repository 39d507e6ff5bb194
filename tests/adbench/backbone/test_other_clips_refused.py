"""Text towers of other kinds that can't be read: one sentence each."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adbench.backbone.build import build
from adbench.backbone.config import BackboneConfig
from adbench.backbone.other_clips import OtherText
from adbench.backbone.weights import architecture, is_here
from adbench.errors import AdbenchError
from tests.adbench.backbone.other_clips import BERT, HF_TEXT, MODELS, TOKEN, WORDS, facts, text_folder


def refused(clips: Path, kind: str, match: str, **changes: Any) -> None:
    with pytest.raises(AdbenchError, match=match):
        build(kind, facts(clips, kind, **changes), 32)


def test_a_missing_or_wrong_text_folder_is_one_sentence(clips: Path, tmp_path: Path) -> None:
    command = "hf download nobody/tiny-bert .* --local-dir"
    refused(clips, "biomed", f"backbone.text=nowhere is not a folder. .*{command} nowhere", text="nowhere")
    refused(clips, "biomed", f"backbone.text=FOLDER is missing. .*{command} FOLDER", text="")
    refused(clips, "siglip", "backbone.text=FOLDER is missing", text="")
    assert not is_here(facts(clips, "biomed", text="nowhere"), "biomed")
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(clips, "biomed", f"config.json can't be read .*{command}", text=str(empty))
    refused(clips, "siglip", "holds no tokenizer that transformers can read", text=str(empty))
    unpadded = text_folder(tmp_path / "unpadded", BERT)
    (unpadded / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "pad_token": None, "model_max_length": 24})
    )
    refused(clips, "biomed", "holds no tokenizer that transformers can read: .*padding token", text=str(unpadded))
    other = text_folder(tmp_path / "gpt", BERT | {"model_type": "gpt2"})
    refused(
        clips,
        "biomed",
        "model_type='gpt2', which is no text tower that open_clip reads. Possible are rob",
        text=str(other),
    )
    code = text_folder(tmp_path / "code", BERT | {"auto_map": {"AutoConfig": "own.Config"}, "model_type": "bert"})
    (code / "own.py").write_text("raise SystemExit('this ran')")
    assert (
        build("biomed", facts(clips, "biomed", text=str(code)), 32).architecture.text_depth == 3
    )  # its code is not run
    refused(clips, "eva", "backbone.text=somewhere has no effect: eva reads texts with CLIP's own", text="somewhere")
    with pytest.raises(AdbenchError, match="backbone.text=x is for kind: clip; vit reads images alone"):
        BackboneConfig("t", "m", "random", 32, normalisation="clip", kind="vit", text="x")


def test_a_tokenizer_of_another_model_is_refused(clips: Path, tmp_path: Path) -> None:
    larger = text_folder(tmp_path / "larger", BERT)
    (larger / "vocab.txt").write_text("\n".join([*WORDS[:5], *(f"w{i}" for i in range(60)), "brain"]))
    backbone = build("biomed", facts(clips, "biomed", text=str(larger)), 32)
    with pytest.raises(AdbenchError, match="tokenizer of biomed has 66 tokens or more, and its text tower 52"):
        backbone.encode_text(["brain"])


def test_what_a_model_says_of_its_text_tower_is_read_before_the_folder_is_there_and_checked_then(
    clips: Path, tmp_path: Path
) -> None:
    said = {"model_type": "bert", "num_hidden_layers": 3, "hidden_size": 16}
    file = tmp_path / "said.json"
    file.write_text(json.dumps(MODELS["biomed"] | {"text_cfg": HF_TEXT | {"hf_config": said}}))
    shape = architecture(facts(clips, "biomed", model=str(file), text="nowhere"), "said")
    assert shape == architecture(facts(clips, "biomed", model=str(file)), "said")
    assert build("said", facts(clips, "biomed", model=str(file)), 32).encode_text(["x"]).shape == (1, 24)
    file.write_text(json.dumps(MODELS["biomed"] | {"text_cfg": HF_TEXT | {"hf_config": said | {"hidden_size": 768}}}))
    refused(clips, "biomed", "text tower: hidden_size is 16, and 768 is needed", model=str(file))


def test_texts_and_images_that_dont_fit_are_refused(tiny_clip: Callable[[str], OtherText], clips: Path) -> None:
    with pytest.raises(AdbenchError, match="takes 22 tokens; biomed reads at most 16. Shorten it"):
        tiny_clip("biomed").encode_text(["brain " * 20])
    with pytest.raises(AdbenchError, match="input_size=40 is not possible for biomed: .* input_size=32 or 48"):
        build("biomed", facts(clips, "biomed"), 40)
    with pytest.raises(AdbenchError, match="activation=quick_gelu is not possible"):
        build("biomed", facts(clips, "biomed"), 32, activation="quick_gelu")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"vision_cfg": {"timm_model_name": "test_resnet", "image_size": 32}}, "is not a ViT of timm whose blocks"),
        ({"vision_cfg": {"timm_model_name": "hf-hub:nobody/model"}}, "timm has no model 'hf-hub:nobody/model'"),
        ({"vision_cfg": {"layers": [2, 2, 2, 2], "width": 16}}, "its image tower is a CNN"),
        ({"multimodal_cfg": {}}, "it writes captions"),
        ({"text_cfg": HF_TEXT | {"embed_cls": True}}, "it writes captions"),
        ({"vision_cfg": TOKEN | {"dropout": 1}}, "open_clip can't build .*dropout"),
        ({"text_cfg": HF_TEXT | {"hf_pooler_type": "no_pooler"}}, "open_clip can't build .*no_pooler"),
    ],
)
def test_models_that_cannot_be_read_are_refused_in_a_sentence(
    clips: Path, tmp_path: Path, changes: dict[str, Any], match: str
) -> None:
    (tmp_path / "m.json").write_text(json.dumps(MODELS["biomed"] | changes))
    refused(clips, "biomed", match, model=str(tmp_path / "m.json"))


def test_without_transformers_it_is_one_sentence(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    for kind in ("biomed", "siglip"):
        refused(clips, kind, f"{kind} needs the package transformers, .*: pip install 'adbench-medical.hf.'")
        assert architecture(facts(clips, kind), kind).text_depth == 3
