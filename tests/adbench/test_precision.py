"""Half precision: finite, and the same ranking of images as in fp32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from adbench import registry
from adbench.apply import load
from adbench.cell import resolve
from adbench.config import RunConfig
from adbench.metrics import roc_auc
from adbench.record import Record, read_all
from adbench.scorer import score_images
from adbench.scorer import test_images as images_of
from adbench.training.trainer import FIRST_SCALE

HALF = ("bf16-mixed", "16-mixed")


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few phantoms of brainmri: 8 + 8 to learn from, 12 + 12 to score."""
    from adbench.commands.phantom import draw_phantoms

    root = tmp_path_factory.mktemp("phantoms")
    draw_phantoms(root, "brainmri", {"train": 0, "valid": 16, "test": 24})
    return root


@pytest.mark.parametrize("method", ["patchcore", pytest.param("madclip", marks=pytest.mark.slow)])
def test_half_precision_is_finite_and_close(adbench, phantoms: Path, tmp_path: Path, method: str) -> None:
    words = [f"method={method}", "shots=4", f"data_root={phantoms}", f"runs={tmp_path}", "gallery=0", "device=cpu"]
    words += ["method.epochs=2"] if method == "madclip" else []
    answer = adbench("run", *words, f"precision=32-true,{','.join(HALF)}")
    assert answer.code == 0, answer.out + answer.err
    records = {r.content["resolved"]["precision"]: r for r in read_all(tmp_path)}
    assert set(records) == {"32-true", *HALF}
    full = records["32-true"].predictions()["score"].to_numpy()
    for name in HALF:
        record = records[name]
        scores = record.predictions()["score"].to_numpy()
        assert np.isfinite(scores).all()
        assert not np.array_equal(scores, full), "computed in half precision indeed"
        assert np.corrcoef(scores, full)[0, 1] > 0.99
        assert record.content["facts"]["precision"] == name
        assert record.content["images_per_second"] > 0
        assert record.content["device"]["type"] == "cpu"
        assert record.content["device"]["count"] == 1


def test_fp16_on_a_cpu_is_fp16_in_the_fit_as_well(adbench, phantoms: Path, tmp_path: Path, monkeypatch) -> None:
    """Lightning by itself takes bfloat16 instead."""
    from adbench.methods.madclip import MadCLIP

    seen, step = set(), MadCLIP.training_step

    def watched(self: MadCLIP, batch: list[torch.Tensor], at: int) -> torch.Tensor:
        seen.add(torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None)
        return step(self, batch, at)

    monkeypatch.setattr(MadCLIP, "training_step", watched)
    scales, update = [], torch.amp.GradScaler.update

    def told(self: torch.amp.GradScaler) -> None:
        update(self)
        scales.append(self.get_scale())

    monkeypatch.setattr(torch.amp.GradScaler, "update", told)
    words = ["method=madclip", "shots=1", "method.epochs=1", f"data_root={phantoms}", f"runs={tmp_path}", "gallery=0"]
    answer = adbench("run", *words, "precision=16-mixed", "device=cpu")
    assert answer.code == 0, answer.err
    assert seen == {torch.float16}
    assert len(scales) > 1
    assert set(scales) == {FIRST_SCALE}, "an overflow would halve it, and skip a step"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_method_ranks_images_as_in_fp32(adbench, tmp_path: Path) -> None:
    """Image AUROC on the phantoms of brainmri is that of fp32 but for half a point; prints the table.

    Scored: one method, trained in fp32, scores in half precision; a memory bank then still holds fp32 features.
    Trained: it is trained in half precision as well, the mean of nine seeds: a training makes much of little.
    """
    methods = {name: entry.load() for name, entry in registry.entries("method").items() if not entry.foreign}
    trained = [name for name, method in methods.items() if hasattr(method.Params(), "epochs")]
    once = [name for name in methods if name not in trained]
    words = [f"precision=32-true,{','.join(HALF)}", "device=cpu", f"runs={tmp_path}", "gallery=0", "workers=2"]
    for part in (
        [f"method={','.join(trained)}", "shots=4", "method.epochs=4", "seed=0,1,2,3,4,5,6,7,8"],
        [f"method={','.join(once)}", "shots=4"],
    ):
        answer = adbench("run", *part, *words)
        assert answer.code == 0, answer.out + answer.err
    found: dict[tuple[str, str], list[float]] = {}
    scored: dict[tuple[str, str], float] = {}
    for record in read_all(tmp_path):
        resolved = record.content["resolved"]
        where = resolved["method"], resolved["precision"]
        assert np.isfinite(record.predictions()["score"]).all()
        found.setdefault(where, []).append(100 * record.metrics["image_auroc"])
        if resolved["precision"] == "32-true" and resolved["seed"] == 0:
            for name in HALF:
                scored[where[0], name] = rescored(record, name) - found[where][-1]
    apart = []
    print("\n| method | fp32 | " + " | ".join(f"scored {name} | trained {name}" for name in HALF) + " |")
    for method in methods:
        full = np.mean(found[method, "32-true"])
        half = {name: np.mean(found[method, name]) - full for name in HALF}
        cells = [f"{scored[method, name]:+.2f} | {half[name]:+.2f}" for name in HALF]
        print(f"| {method} | {full:.2f} | " + " | ".join(cells) + " |")
        apart += [(method, name) for name in HALF if max(abs(half[name]), abs(scored[method, name])) > 0.5]
    assert not apart


def rescored(record: Record, precision: str) -> float:
    """Return the image AUROC of a trained method, in per cent, where it scores in another precision."""
    cell = resolve(RunConfig(**record.content["resolved"]))
    fitted = load(record.path, None, device="cpu", precision=precision)
    about = cell.config.dataset, cell.dataset.object_name, cell.config.batch_size, precision
    scores = np.concatenate([s.image.numpy() for _, s in score_images(fitted.method, images_of(cell), *about)])
    return 100 * roc_auc(scores, np.array([item.label for item in cell.test]))
