"""Where features are kept: equal bits on disk, in memory and nowhere; and what `auto` measures."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from adbench.backbone import kept
from adbench.backbone.build import build
from adbench.backbone.config import BackboneConfig
from adbench.backbone.contract import Backbone
from adbench.backbone.features import FrozenFeatures
from adbench.backbone.kept import InMemory, OnDisk, Trial, keeping
from adbench.backbone.outputs import Outputs
from adbench.config import layers
from adbench.system.files import INDEX

KEYS = [bytes([n]) * 20 for n in range(4)]


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_known", {})


@pytest.fixture(scope="module")
def phantom_clip() -> Backbone:
    return build("phantom-clip", layers.section(BackboneConfig, "backbone", "phantom-clip"), 112)


def anything(part: str, shape: tuple[int, ...]) -> bool:
    return True


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("floats", [False, True])
def test_features_are_the_same_bits_wherever_they_are_kept(
    phantom_clip: Backbone, tmp_path: Path, precision: str, floats: bool
) -> None:
    images = torch.randint(0, 256, (5, 3, 112, 112), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    shown = images.float() / 255 if floats else images
    outputs = Outputs((0, 3, 12), True)
    off = dict(FrozenFeatures(phantom_clip, "w", outputs, precision, None)(images).tensors())
    for where in ("disk", "memory", "auto"):
        frozen = FrozenFeatures(phantom_clip, "w", outputs, precision, tmp_path / where, where)
        frozen(images[1:4])
        for features in (frozen(shown), frozen(shown[[0]], keep=True), frozen(shown)):
            rows = dict(features.tensors())
            assert rows.keys() == off.keys()
            count = len(rows["pooled"])
            for part, value in rows.items():
                assert value.dtype == off[part].dtype
                assert torch.equal(value.view(torch.uint8), off[part][:count].view(torch.uint8)), (where, part)
        if where == "disk":  # with the type that the network put out, keyed by pixels
            sizes = {file.parent.name: file.stat().st_size for file in tmp_path.rglob("disk/**/*.rows")}
            assert sizes == {f"rows-{part}": value.nbytes for part, value in off.items()}
    assert {value.dtype for value in off.values()} == {torch.float32 if precision == "32-true" else torch.bfloat16}, (
        "half precision is kept as such"
    )


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_what_is_kept_is_not_computed_again(
    phantom_clip: Backbone, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = torch.zeros((1, 3, 112, 112), dtype=torch.uint8)
    frozen = FrozenFeatures(phantom_clip, "w", Outputs((3,)), "32-true", tmp_path, where)
    whole = frozen(images)
    monkeypatch.setattr(phantom_clip, "features", None)
    assert torch.equal(frozen(images).blocks[3], whole.blocks[3])
    assert bool(list(tmp_path.rglob(f"*{INDEX}"))) == (where == "disk")
    other = FrozenFeatures(phantom_clip, "w", Outputs((3,)), "32-true", tmp_path, where)
    other.sizes = frozen.sizes
    if where == "memory":
        with pytest.raises(TypeError):
            other(images)
    else:
        assert torch.equal(other(images).blocks[3], whole.blocks[3])


def test_memory_holds_the_first_rows_up_to_its_bound() -> None:
    held = InMemory(most=100)
    chunk = torch.arange(40, dtype=torch.float32).reshape(4, 10)
    held.add("3", dict(zip(KEYS, chunk, strict=True)))
    held.add("3", {KEYS[0]: chunk[1]})
    expected = chunk[:2].clone()
    chunk.zero_()
    found = held.read("3", KEYS)
    assert list(found) == KEYS[:2]
    assert torch.equal(torch.stack(list(found.values())), expected), "copies"
    assert held.left == 20
    held.add("pooled", {KEYS[3]: torch.zeros(5)})
    assert list(held.read("pooled", KEYS)) == [KEYS[3]]
    assert held.read("6", KEYS) == {}
    assert held.left == 0


def trial(seconds: float, calls: list[int], name: str = "x") -> Trial:
    def compute(images: Tensor) -> dict[str, Tensor]:
        calls.append(len(images))
        time.sleep(seconds)
        return {"3": images.float().flatten(1)[:, :1000], "pooled": images.float().flatten(1)[:, :10]}

    return Trial(compute, 2, 32, name)


def test_auto_keeps_on_disk_what_takes_longer_to_compute_and_asks_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    for _ in range(2):
        for _ in range(2):
            assert isinstance(keeping("auto", tmp_path, anything, trial(0.5, calls)), OnDisk)
            assert calls == [2, 2], "two passes of a chunk"
        monkeypatch.setattr(kept, "_known", {})  # as in another process
    (file,) = (tmp_path / "reading").glob("*.json")
    seconds = json.loads(file.read_text())
    assert 0 < seconds["reading"] < 0.25 < seconds["computing"] < 10
    assert [path.name for path in tmp_path.iterdir()] == ["reading"], "what was written to be read is gone"
    file.write_text(json.dumps({"reading": 2.0, "computing": 1.0}))
    monkeypatch.setattr(kept, "_known", {})
    assert isinstance(keeping("auto", tmp_path, anything, trial(0.0, calls)), InMemory)
    for damaged in ("", "[]", "{}", '{"reading": null, "computing": 1}'):
        file.write_text(damaged)
        monkeypatch.setattr(kept, "_known", {})
        calls.clear()
        keeping("auto", tmp_path, anything, trial(0.0, calls))
        assert calls == [2, 2], "what no adbench wrote is measured again"


def test_auto_keeps_in_memory_what_is_computed_sooner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = OnDisk.read

    def slowly(self: OnDisk, *args: object) -> dict[bytes, Tensor]:
        time.sleep(0.1)
        return read(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(OnDisk, "read", slowly)
    assert isinstance(keeping("auto", tmp_path, anything, trial(0.0, [])), InMemory)
    for where, kind in (("disk", OnDisk), ("memory", InMemory)):
        assert isinstance(keeping(where, tmp_path, anything, trial(0.0, [])), kind)
