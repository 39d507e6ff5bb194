"""Half precision: finite, and the same ranking of images as in fp32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from adbench import registry
from adbench.record import read_all

HALF = ("bf16-mixed", "16-mixed")


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few phantoms of brainmri: 8 + 8 to learn from, 12 + 12 to score."""
    from adbench.session import draw_phantoms

    root = tmp_path_factory.mktemp("phantoms")
    draw_phantoms(root, "brainmri", {"train": 0, "valid": 16, "test": 24})
    return root


@pytest.mark.parametrize("method", ["patchcore", "madclip"])
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
    words = ["method=madclip", "shots=1", "method.epochs=1", f"data_root={phantoms}", f"runs={tmp_path}", "gallery=0"]
    answer = adbench("run", *words, "precision=16-mixed", "device=cpu")
    assert answer.code == 0, answer.err
    assert seen == {torch.float16}


@pytest.mark.slow
@pytest.mark.timeout(3 * 3600)
def test_every_method_ranks_images_as_in_fp32(adbench, tmp_path: Path) -> None:
    """Image AUROC within 0.5 points of fp32 on the phantoms of brainmri, short schedule; prints the table."""
    methods = [name for name, entry in registry.entries("method").items() if not entry.foreign]
    words = [f"method={','.join(methods)}", f"precision=32-true,{','.join(HALF)}", "device=cpu", "gallery=0"]
    answer = adbench("run", *words, f"runs={tmp_path}")
    assert answer.code == 0, answer.out + answer.err
    found = {(r.content["resolved"]["method"], r.content["resolved"]["precision"]): r for r in read_all(tmp_path)}
    apart = {}
    print(f"\n{'method':<16}" + "".join(f"{name:>13}" for name in ("32-true", *HALF)))
    for method in methods:
        auroc = [100 * found[method, name].metrics["image_auroc"] for name in ("32-true", *HALF)]
        print(f"{method:<16}" + "".join(f"{value:>13.2f}" for value in auroc))
        for name, value in zip(HALF, auroc[1:], strict=True):
            assert np.isfinite(found[method, name].predictions()["score"]).all()
            if abs(value - auroc[0]) > 0.5:
                apart[method, name] = value - auroc[0]
    assert not apart
