"""`adbench weights convert`, and `adbench list backbones`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file

from adbench.backbone.config import BackboneConfig
from adbench.commands import weights
from adbench.errors import AdbenchError

TINY = BackboneConfig("tiny", "test_resnet", "random", 64, normalisation="imagenet", kind="cnn")
REG = BackboneConfig(
    "reg", "vit_small_patch14_reg4_dinov2", "random", 56, normalisation="imagenet", kind="vit",
    args={"depth": 1, "embed_dim": 16, "num_heads": 2, "img_size": 56},
)  # fmt: skip


@pytest.fixture
def of(monkeypatch: pytest.MonkeyPatch) -> Callable[[BackboneConfig], None]:
    """Give every backbone the facts of a small one."""
    return lambda facts: monkeypatch.setattr(weights.layers, "section", lambda *_: facts)


def state_of(facts: BackboneConfig) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = timm.create_model(facts.model, num_classes=10, **facts.args).state_dict()
    return state


def half_way(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix != ".pth"]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}},
        lambda state: {"model": {"state_dict": state}, "optimizer": {"lr": 0.1}},
        lambda state: {"teacher": {f"backbone.{k}": v for k, v in state.items()} | {"head.weight": torch.ones(1)}},
    ],
)  # fmt: skip
def test_what_frameworks_put_around_the_tensors_is_taken_off(tmp_path: Path, of, wrap) -> None:
    of(TINY)
    state = state_of(TINY)
    torch.save(wrap(state), tmp_path / "x.pth")
    out, digest = weights.convert(tmp_path / "x.pth", "tiny", None)
    assert out == tmp_path / "x.safetensors"
    assert digest == sha256(out.read_bytes()).hexdigest()
    written = load_file(out)
    assert set(state) - set(written) == {"fc.weight", "fc.bias"}
    assert all(torch.equal(value, state[key]) and value.dtype == state[key].dtype for key, value in written.items())


def test_dinov2s_own_names_become_timms(tmp_path: Path, of) -> None:
    of(REG)
    ours = {key: value.half() for key, value in state_of(REG).items() if not key.startswith("head.")}
    theirs = {key: value for key, value in ours.items() if key not in ("reg_token", "pos_embed")}
    theirs |= {"register_tokens": ours["reg_token"], "mask_token": torch.zeros(1, 16)}
    theirs["pos_embed"] = torch.cat([torch.zeros(1, 1, 16).half(), ours["pos_embed"]], dim=1)
    torch.save({"teacher": {f"backbone.{key}": value for key, value in theirs.items()}}, tmp_path / "x.pt")
    out, _ = weights.convert(tmp_path / "x.pt", "reg", tmp_path / "out.safetensors")
    written = load_file(out)
    assert set(written) == set(ours)
    assert all(torch.equal(written[key], ours[key]) for key in ours)


def test_the_image_tower_is_taken_out_of_a_clip(tmp_path: Path, of) -> None:
    """As BiomedCLIP is published: a timm tower under `visual.trunk`, its projection, and a text tower."""
    facts = dataclasses.replace(REG, model="vit_base_patch16_224", args=REG.args | {"img_size": 32})
    of(facts)
    ours = {key: value for key, value in state_of(facts).items() if not key.startswith("head.")}
    theirs = {f"visual.trunk.{key}": value for key, value in ours.items()}
    theirs |= {"visual.head.proj.weight": torch.ones(8, 16), "text.proj.weight": torch.ones(8, 8)}
    torch.save(theirs | {"logit_scale": torch.ones(())}, tmp_path / "x.bin")
    out, _ = weights.convert(tmp_path / "x.bin", "biomedclip", None)
    written = load_file(out)
    assert set(written) == set(ours)
    assert all(torch.equal(written[key], ours[key]) for key in ours)


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("executed",)


def test_code_in_a_file_is_not_run(tmp_path: Path, of, monkeypatch: pytest.MonkeyPatch) -> None:
    of(TINY)
    monkeypatch.chdir(tmp_path)
    torch.save(state_of(TINY) | {"hook": Harmful()}, "x.pth")
    with pytest.raises(AdbenchError, match=r"x\.pth is refused: it can't be read as tensors alone"):
        weights.convert(Path("x.pth"), "tiny", None)
    assert half_way(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"fc.weight": torch.ones(2), "note": "text"}, "'note' in it is a str, where tensors alone"),
        ([torch.ones(2)], "holds no tensors by name, but a list"),
        ({}, "holds no tensors by name"),
        ({"state_dict": {}}, "holds no tensors by name"),
        (
            {"conv1.weight": torch.ones(2)},
            r"does not hold weights of test_resnet \(backbone 'tiny'\): \d+ tensors differ",
        ),
    ],
)
def test_what_are_no_weights_is_refused_and_nothing_written(tmp_path: Path, of, content: object, why: str) -> None:
    of(TINY)
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(AdbenchError, match=why):
        weights.convert(tmp_path / "x.pth", "tiny", None)
    assert half_way(tmp_path) == []


def test_files_that_are_not_there_or_would_be_overwritten(tmp_path: Path, of) -> None:
    of(TINY)
    with pytest.raises(AdbenchError, match=r"gone\.pth is not a file"):
        weights.convert(tmp_path / "gone.pth", "tiny", None)
    (tmp_path / "x.npz").write_bytes(b"x")
    with pytest.raises(AdbenchError, match=r"x\.npz can't be converted: give a file that ends in \.bin, \.pth"):
        weights.convert(tmp_path / "x.npz", "tiny", None)
    (tmp_path / "x.pth").write_bytes(b"no archive")
    with pytest.raises(AdbenchError, match="can't be read as tensors alone"):
        weights.convert(tmp_path / "x.pth", "tiny", None)
    with pytest.raises(AdbenchError, match=r"--out .*x\.bin is not possible: .* end in \.safetensors"):
        weights.convert(tmp_path / "x.pth", "tiny", tmp_path / "x.bin")
    (tmp_path / "x.safetensors").touch()
    with pytest.raises(AdbenchError, match=r"x\.safetensors exists already"):
        weights.convert(tmp_path / "x.pth", "tiny", None)


def test_the_command_names_the_next_one(adbench, tmp_path: Path, random_clip) -> None:
    torch.save(random_clip.model.state_dict(), tmp_path / "clip.bin")
    answer = adbench("weights", "convert", tmp_path / "clip.bin", "--backbone", "phantom-clip")
    assert answer.code == 0, answer.err
    assert f"backbone=phantom-clip backbone.weights={tmp_path / 'clip.safetensors'}" in answer.out
    answer = adbench("weights", "convert", tmp_path / "clip.bin", "--backbone", "phantom-clap")
    assert answer.code != 0
    assert "unknown backbone 'phantom-clap': did you mean 'phantom-clip'" in answer.err


def test_the_table_of_backbones(adbench, monkeypatch: pytest.MonkeyPatch) -> None:
    from adbench.commands import backbones

    whole = backbones.registry.shipped("backbone")
    chosen = {name: whole[name] for name in ("phantom-clip", "dinov2-s-reg4", "wide-resnet-50-2", "siglip2-b")}
    monkeypatch.setattr(backbones.registry, "shipped", lambda _: chosen)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    rows = {row[0]: row[1:] for row in backbones.backbone_rows()}
    assert rows["phantom-clip"][0] == "clip"
    assert rows["phantom-clip"][2:] == ("5.8 M", "112 px", "14", "MIT", "here")
    assert rows["dinov2-s-reg4"][2:6] == ("22.1 M", "518 px", "14, 4 registers", "Apache-2.0")
    assert rows["wide-resnet-50-2"][2:6] == ("66.8 M", "224 px", "stages 0-4: 2, 4, 8, 16, 32", "BSD-3-Clause")
    assert rows["siglip2-b"][4] == "16, no class token"
    out = adbench("list", "backbones").out
    assert "licence" in out
    assert "5.8 M" in out


def holding_itself() -> dict[str, object]:
    content: dict[str, object] = {"epoch": 3}
    content["state_dict"] = content
    return content


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (holding_itself, "'epoch' in it is a int"),
        (
            lambda: {"head.weight": torch.ones(2), "dino_head.weight": torch.ones(2), "backbone": torch.ones(2)},
            "missing",
        ),
        (lambda: {7: torch.ones(2)}, "called by int, not by names"),
        (lambda: {"a": torch.ones(2, 2).to_sparse()}, "'a' in it is a sparse tensor"),
        (lambda: {"a": torch.ones(2, device="meta")}, "'a' in it is a sparse tensor, or one without values"),
        (lambda: {"a": torch.ones(2, dtype=torch.int8)}, "'a' in it holds int8 numbers"),
        (lambda: {"a": torch.ones(2, dtype=torch.complex64)}, "'a' in it holds complex64 numbers"),
    ],
)
def test_odd_tensors_are_refused(content: Callable[[], dict[str, object]], why: str) -> None:
    with pytest.raises(AdbenchError, match=f"x.pth is refused: .*{why}"):
        weights.unwrapped(content(), "x.pth")


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, of) -> None:
    of(TINY)
    state = state_of(TINY)
    state["conv1.0.weight"][0] = float("nan")
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(AdbenchError, match=r"'conv1\.0\.weight' in it holds NaN or infinity"):
        weights.convert(tmp_path / "x.pth", "tiny", None)
    assert half_way(tmp_path) == []
