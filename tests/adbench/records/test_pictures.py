"""Pictures of levels in the gallery, and of features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from adbench.backbone.features import autocast
from adbench.cells.datamodule import DataModule
from adbench.cells.resolve import resolve
from adbench.commands.plot_features import collect
from adbench.config.words import RunConfig
from adbench.data.image_set import to_tensor
from adbench.records.pictures import PANEL
from adbench.records.record import read_all
from adbench.running.apply import load

QUICK = ("method.epochs=1", "shots=2", "cores=1")


def size(file: Path) -> tuple[int, int]:
    with Image.open(file) as picture:
        return picture.size


@pytest.mark.parametrize(
    ("method", "extra"),
    [("april_gan", ()), ("mediclip", ()), ("madclip", ("method.views=11",)), ("mvfa", ("method.views=1",))],
)
def test_a_gallery_with_a_map_for_each_level(adbench, tiny: Path, tmp_path: Path, method: str, extra) -> None:
    words = [f"method={method}", f"data_root={tiny}", f"runs={tmp_path / 'runs'}", "gallery=1", *QUICK, *extra]
    assert adbench("run", *words, "gallery.levels=true").code == 0
    (record,) = read_all(str(tmp_path / "runs"))
    levels = 3 if method == "mediclip" else 4
    # Image, outline and map, then the levels.
    assert size(record.path / "gallery" / "hit_01.png")[0] == (3 + levels) * PANEL
    assert adbench("run", *words, "force=true").code == 0
    assert size(record.path / "gallery" / "hit_01.png")[0] == 3 * PANEL


def test_a_method_without_levels_says_so(adbench, tiny: Path, tmp_path: Path) -> None:
    answer = adbench("run", "method=clip", f"data_root={tiny}", f"runs={tmp_path / 'runs'}", "gallery.levels=true")
    assert answer.code == 2
    assert "clip has no maps of single levels. Methods that have: anomalyclip, april_gan, clip_normal, " in answer.err
    assert not (tmp_path / "runs").exists()


def test_features_are_drawn_and_counted(adbench, tiny: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    assert adbench("run", "method=april_gan", f"data_root={tiny}", f"runs={runs}", "gallery=0", *QUICK).code == 0
    (record,) = read_all(runs)
    answer = adbench("plot", "features", record.path, "--out", tmp_path / "picture.png")
    assert answer.code == 0, answer.err
    assert size(tmp_path / "picture.png") == (1200, 648)
    shares = [line.split() for line in answer.out.splitlines() if not line.startswith("note: ")][:2]
    assert [words[0] for words in shares] == ["frozen", "adapted"]
    assert all(0 <= float(words[1]) <= 100 for words in shares)
    again = adbench("plot", "features", record.path)
    assert (record.path / "features.png").read_bytes() == (tmp_path / "picture.png").read_bytes(), again.out


@pytest.mark.parametrize(
    ("method", "extra", "block"),
    [
        ("mvfa", ("method.views=1",), 12),  # caches block 3
        ("mvfa", ("method.views=1", "method.levels=[3,6]", "precision=bf16-mixed"), 6),
        ("clip_finetune", (), None),  # caches block 10
        ("crossmodal", ("precision=bf16-mixed",), None),  # caches block 0
    ],
)
def test_frozen_features_are_those_the_adapted_stand_beside(
    adbench, tiny: Path, tmp_path: Path, method: str, extra: tuple[str, ...], block: int | None
) -> None:
    words = [f"method={method}", f"data_root={tiny}", f"runs={tmp_path / 'runs'}", "gallery=0", "device=cpu", *QUICK]
    assert adbench("run", *words, *extra).code == 0
    (record,) = read_all(tmp_path / "runs")
    fitted = load(record.path)
    found, labels = collect(fitted)
    assert {name: len(rows) for name, rows in found.items()} == {"frozen": len(labels), "adapted": len(labels)}
    backbone, seen = (
        fitted.method.backbone,
        list(DataModule.of_cell(resolve(RunConfig.of_record(record.content["resolved"]))).test.images),
    )
    with torch.no_grad(), autocast(backbone.device, record.content["resolved"]["precision"]):
        one = backbone.features(to_tensor(np.stack(seen[-1:])).float() / 255, (block or 12,), pooled=True)
    wanted = one.pooled if block is None else one.blocks[block][:, 1:].float().mean(1)
    # In bfloat16 an image alone and one in a chunk differ by that type's rounding.
    near = {"atol": 0.05, "rtol": 0.02} if "precision=bf16-mixed" in extra else {"atol": None, "rtol": None}
    torch.testing.assert_close(torch.from_numpy(found["frozen"][-1]), wanted[0].float(), **near)
    assert not np.allclose(found["frozen"][0], found["frozen"][-1])
    if method == "clip_finetune":  # one epoch at 1e-5 moves the class token hardly at all
        np.testing.assert_allclose(found["frozen"], found["adapted"], atol=0.05)
    assert adbench("plot", "features", record.path).code == 0


def test_a_method_that_adapts_nothing_has_no_picture(adbench, tiny: Path, tmp_path: Path) -> None:
    assert adbench("run", "method=clip", f"data_root={tiny}", f"runs={tmp_path / 'runs'}", "gallery=0").code == 0
    (record,) = read_all(tmp_path / "runs")
    answer = adbench("plot", "features", record.path)
    assert answer.code == 2
    assert "clip adapts no features" in answer.err
    assert "Methods that do: april_gan, clip_finetune, crossmodal, dra, madclip" in answer.err
    assert not (record.path / "features.png").exists()


def test_features_of_other_images_are_refused(adbench, tiny: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    assert adbench("run", "method=april_gan", f"data_root={tiny}", f"runs={runs}", "gallery=0", *QUICK).code == 0
    (record,) = read_all(runs)
    next((tiny / "Brain/test/good/img").iterdir()).unlink()
    answer = adbench("plot", "features", record.path)
    assert answer.code == 4
    assert "no longer those" in answer.err
