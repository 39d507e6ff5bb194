"""Gradients are clipped in half precision too, by the norm that they have without the loss's scale."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from adbench.records.record import read_all
from adbench.system.lightning import pl
from adbench.training.half import half_precision

HALF = ("bf16-mixed", "16-mixed")


class Slope(pl.LightningModule):
    """One weight at 1, whose loss has the slope `slope`: SGD of rate 1 takes the clipped slope from it."""

    def __init__(self, slope: float, fused: bool) -> None:
        super().__init__()
        self.weight, self.slope, self.fused = torch.nn.Parameter(torch.ones(1)), slope, fused

    def training_step(self, batch: Tensor, _: int) -> Tensor:
        return (self.weight * self.slope).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0, fused=self.fused)

    def train_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader(torch.zeros(1, 1))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", HALF)
@pytest.mark.parametrize(("slope", "clip", "after"), [(30.0, 0.5, 0.5), (0.25, 0.5, 0.75), (0.25, None, 0.75)])
def test_a_gradient_is_clipped_without_its_scale(
    name: str, fused: bool, slope: float, clip: float | None, after: float, tmp_path: Path
) -> None:
    module = Slope(slope, fused)
    pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False,
        enable_progress_bar=False, default_root_dir=tmp_path, gradient_clip_val=clip,
        plugins=[half_precision(name, torch.device("cpu"), 1024.0)],
    ).fit(module)  # fmt: skip
    assert module.weight.item() == pytest.approx(after, abs=1e-5)


@pytest.mark.parametrize("words", [["method=uniad"], ["method=clip_finetune", "trainer.gradient_clip_val=1"]])
def test_methods_with_clipped_gradients_train_in_half_precision(
    adbench, tiny: Path, tmp_path: Path, words: list[str]
) -> None:
    words = [*words, "shots=1", "method.epochs=1", f"data_root={tiny}", f"runs={tmp_path / 'runs'}", "gallery=0"]
    answer = adbench("run", *words, f"precision={','.join(HALF)}")
    assert answer.code == 0, answer.err
    assert {record.content["facts"]["precision"] for record in read_all(tmp_path / "runs")} == set(HALF)
