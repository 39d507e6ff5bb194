"""What a method needs of a backbone, and what of a backbone is in a cell's key."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from adbench.backbone.config import Architecture, BackboneConfig, Stage
from adbench.backbone.weights import weights_file
from adbench.cells import resolve as cells
from adbench.cells.resolve import check_config, resolve
from adbench.config.layers import standalone
from adbench.config.words import parse
from adbench.errors import AdbenchError
from adbench.method import Capability, fault_in, unmet
from adbench.plugins import registry
from adbench.system.session import Session

CLIP = Architecture(12, 128, 14, 64, 4, 64, 32)
VIT = Architecture(12, 384, 14, 384, kind="vit", registers=4)
NO_CLASS = Architecture(12, 768, 16, 768, kind="vit", class_token=False)
CNN = Architecture(0, 0, 0, 512, kind="cnn", class_token=False, stages=(Stage(0, 64, 2), Stage(1, 64, 4)))


def checked(*words: str) -> cells.CheckedConfig:
    return check_config(parse([*words, "backbone.weights=random"])[0], Session())


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a few backbones are registered: their shapes are found by building them."""
    files = registry.config_files

    def few(kind: registry.Kind) -> object:
        found = files(kind)
        names = ("phantom-clip", "dinov2-s", "siglip2-b", "resnet-18")
        return {name: found[name] for name in names} if kind == "backbone" else found

    monkeypatch.setattr(registry, "config_files", few)


@pytest.mark.parametrize(
    ("needs", "lacks"),
    [
        ({"text": True}, {"vit": "a text tower", "none": "a text tower", "cnn": "a text tower"}),
        ({"blocks": (3,)}, {"none": "a class token", "cnn": "the blocks of a ViT"}),
        ({"blocks": (3,), "class_token": False}, {"cnn": "the blocks of a ViT"}),
        ({"vv": (3,), "vv_from": 2}, {"none": "a class token", "cnn": "the blocks of a ViT"}),
        ({"registers": (3,)}, {"clip": "register tokens", "none": "a class token", "cnn": "the blocks of a ViT"}),
        ({"stages": (1,)}, dict.fromkeys(("clip", "vit", "none"), "the stages of a CNN")),
        ({"pooled": True}, {}),
    ],
)
def test_what_a_method_needs_and_a_backbone_lacks(needs: dict[str, object], lacks: dict[str, str]) -> None:
    shapes = {"clip": CLIP, "vit": VIT, "none": NO_CLASS, "cnn": CNN}
    found = {kind: unmet(Capability("none", **needs), shape) for kind, shape in shapes.items()}
    assert {kind: what for kind, what in found.items() if what} == lacks


@pytest.mark.parametrize(
    ("field", "wrong", "shape", "said"),
    [
        ("stages", (1, 1), CNN, "stages 0, 1 can each be named once"),
        ("stages", (2,), CNN, "stages=[2], where stages 0, 1"),
        ("registers", (13,), VIT, "registers=[13], where blocks 1 to 12"),
        ("vv", (3,), VIT, "vv=[3], where blocks 6 to 12"),
        ("blocks", ("3",), VIT, "blocks=['3'], where blocks 1 to 12"),
        ("text", 1, CLIP, "text=1, which is none of True, False"),
    ],
)
def test_a_wrong_declaration_is_said(field: str, wrong: object, shape: Architecture, said: str) -> None:
    assert said in str(fault_in(Capability("none", **{field: wrong, "vv_from": 6}), shape))


def test_a_method_on_the_wrong_kind_names_the_backbones_that_would_do() -> None:
    with pytest.raises(AdbenchError, match=r"clip needs a text tower, which dinov2-s \(kind vit\).*: phantom-clip\."):
        checked("method=clip", "backbone=dinov2-s")
    with pytest.raises(AdbenchError, match=r"which resnet-18 \(kind cnn\) does not have\. .*: phantom-clip\."):
        checked("method=madclip", "backbone=resnet-18", "method.levels=[3,6]")
    with pytest.raises(AdbenchError, match=r"needs a class token, which siglip2-b .*: dinov2-s, phantom-clip"):
        checked("method=tests/adbench/cells/blocks_only.py:BlocksOnly", "backbone=siglip2-b")


@pytest.mark.parametrize("backbone", ["resnet-18", "dinov2-s"])
def test_blocks_are_counted_of_towers_that_are_there(backbone: str) -> None:
    for word in ("method.last_blocks=2", "method.last_blocks=3", "method.towers=[vision,text]"):
        with pytest.raises(AdbenchError, match=rf"clip_finetune needs a text tower, which {backbone} .*: phantom-clip"):
            checked("method=clip_finetune", f"backbone={backbone}", "input_size=112", word)
    with pytest.raises(AdbenchError, match=rf"mvfa needs .*, which {backbone} .*: phantom-clip"):
        checked("method=mvfa", f"backbone={backbone}", "input_size=112", "method.score_levels=[3]")


def test_a_method_that_reads_text_says_so() -> None:
    text = {name for name in standalone() if _capability(name).text}
    assert {
        "april_gan",
        "clip",
        "clip_finetune",
        "crossmodal",
        "madclip",
        "mediclip",
        "mvfa",
        "tgumiad",
        "winclip",
    } <= text
    assert "patchcore" not in text


def _capability(name: str) -> Capability:
    return checked(f"method={name}").method.capability


def test_sizes_and_activations_are_refused_before_anything_is_read() -> None:
    words = ("method=tests/adbench/cells/blocks_only.py:BlocksOnly", "backbone=dinov2-s")
    assert checked(*words, "input_size=112").architecture.kind == "vit"
    with pytest.raises(AdbenchError, match=r"input_size=100 .* Use input_size=98 or 112"):
        checked(*words, "input_size=100")
    with pytest.raises(AdbenchError, match=r"activation=gelu, which BlocksOnly asks for, is not possible on dinov2-s"):
        checked(*words, "input_size=112", "method.activation=gelu")


def test_kind_levels_and_statistics_are_in_the_key(tiny: Path) -> None:
    method = "method=tests/adbench/cells/blocks_only.py:BlocksOnly"

    def facts(*words: str) -> dict[str, object]:
        (config,) = parse([method, "shots=2", f"data_root={tiny}", "backbone.weights=random", *words])
        return resolve(config).facts

    clip, vit = facts(), facts("backbone=dinov2-s", "input_size=112")
    assert not clip.keys() & {"kind", "backbone_levels"}
    assert vit["kind"] == "vit"
    assert vit["activation"] == "own"
    levels = facts("backbone=dinov2-s", "input_size=112", "backbone.levels=[3,4,5,6]")
    assert levels["backbone_levels"] == [3, 4, 5, 6]
    own = ("backbone.normalisation=own", "backbone.mean=[0.5,0.5,0.5]", "backbone.std=[0.5,0.5,0.5]")
    other = facts("backbone=dinov2-s", "input_size=112", *own)
    assert other["normalisation"] == "own"
    assert other["model"] != vit["model"]
    args = facts("backbone=dinov2-s", "input_size=112", "backbone.args={depth: 3}")
    assert (args["model"], args["weights"]) != (vit["model"], vit["weights"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["method=clip"], "phantom-clip was trained on drawings only"),
        (["method=clip", "backbone.weights=random"], "phantom-clip has random weights"),
        (
            ["method=patchcore", "shots=2", "backbone=resnet-18", "backbone.weights=random"],
            "resnet-18 has random weights",
        ),
    ],
)
def test_a_run_on_real_images_says_that_the_backbone_never_saw_any(words: list[str], says: str, tiny: Path) -> None:
    real = resolve(parse([*words, f"data_root={tiny}"])[0])
    assert [note.partition(". ")[0] + "." for note in real.notes if note.startswith("warning: ")] == [
        f"warning: {says}."
    ]
    assert not any(note.startswith("warning: ") for note in resolve(parse(words)[0]).notes)


def test_weights_of_the_hub_are_refused_offline_in_one_sentence(
    facts: Callable[..., BackboneConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def absent(*_: object, **__: object) -> str:
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", absent)
    for name, place in (
        ("dinov2-s", "timm/vit_small_patch14_dinov2.lvd142m/resolve/main/model.safetensors"),
        ("rad-dino", "microsoft/rad-dino/resolve/main/backbone_compatible.safetensors"),
    ):
        config = dataclasses.replace(BackboneConfig(**_yaml(name)))
        with pytest.raises(AdbenchError, match="huggingface.co could not be reached") as caught:
            weights_file(config, name)
        assert f" Download https://huggingface.co/{place} elsewhere and add backbone.weights=" in str(caught.value)
    with pytest.raises(AdbenchError, match=r"unknown for vit_small_patch14_dinov2: did you mean 'lvd142m'"):
        weights_file(BackboneConfig(**_yaml("dinov2-s") | {"weights": "lvd142"}), "dinov2-s")
    with pytest.raises(AdbenchError, match="write hf-hub:OWNER/NAME/FILE"):
        weights_file(BackboneConfig(**_yaml("dinov2-s") | {"weights": "hf-hub:timm/x"}), "dinov2-s")
    with pytest.raises(AdbenchError, match=r"gone\.safetensors is not a file\. adbench weights convert FILE"):
        weights_file(BackboneConfig(**_yaml("dinov2-s") | {"weights": "gone.safetensors"}), "dinov2-s")


def test_weights_that_the_hub_does_not_give_are_refused_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    config = BackboneConfig(**_yaml("dinov2-s"))
    for error, reason in (
        (PermissionError("no room to write"), "huggingface.co did not give them: PermissionError: no room to write"),
        (huggingface_hub.errors.OfflineModeIsEnabled("off"), "HF_HUB_OFFLINE is set"),
    ):

        def refused(*_: object, error: Exception = error, **__: object) -> str:
            raise error

        monkeypatch.setattr(huggingface_hub, "hf_hub_download", refused)
        with pytest.raises(AdbenchError, match=f"are not on this machine, and {reason}"):
            weights_file(config, "dinov2-s")


def _yaml(name: str) -> dict[str, object]:
    from adbench.config.layers import load_yaml

    file = registry.shipped_file("backbone", name)
    assert file is not None
    return load_yaml(file)


def test_backbones_are_an_axis_with_patterns() -> None:
    names = [config.backbone for config in parse(["method=patchcore", "backbone=dinov2-*,phantom-clip,resnet-18"])]
    assert names == ["dinov2-s", "phantom-clip", "resnet-18"]
    with pytest.raises(AdbenchError, match=r"backbone=dinov9\* matches nothing\. Allowed: dinov2-s"):
        parse(["method=patchcore", "backbone=dinov9*"])
