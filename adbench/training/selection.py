"""Epoch selection: which epoch of a training is scored, and what data choose it.

last          the last one (default)
fixed:N       epoch N
valid         the best on the rest of the support's split, without its patients; the mean over training sets
support_cv    the best in a cross-validation within the support
oracle        the best on the test split, as in the authors' published code: a leak, whose size the record states
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adbench.cells.cell import Cell
from adbench.cells.datamodule import DataModule
from adbench.cells.holdout import folds
from adbench.errors import AdbenchError, NumericalError
from adbench.method import Method, Support
from adbench.metrics import image_metrics
from adbench.scoring.evaluate import evaluate
from adbench.scoring.score import score_images, show_test_images
from adbench.system.lightning import pl
from adbench.system.ranks import broadcast
from adbench.training.fit import fit, new_method


@dataclass
class Selection:
    """The epoch that is scored, counted from 1, and the figure of each epoch that was looked at."""

    rule: str
    epoch: int
    curve: dict[int, float] = field(default_factory=dict)


class StopAfter(pl.Callback):
    """End the training after an epoch, counted from 1, if not before by itself."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ask the trainer to stop."""
        if trainer.current_epoch + 1 == self.epoch:
            trainer.should_stop = True


class EachEpoch(pl.Callback):
    """After each epoch, call `look` with the method as if its training were over, and leave no trace in it."""

    def __init__(self, support: Support, look: Callable[[Method[Any]], object]) -> None:
        self.support = support
        self.look = look

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look in the middle of the training."""
        assert isinstance(pl_module, Method)
        devices = [pl_module.device] if pl_module.device.type == "cuda" else []
        with torch.random.fork_rng(devices), torch.no_grad():
            pl_module.eval()
            pl_module.build_memory(self.support)
            self.look(pl_module)
            pl_module.train()


class EpochChooser:
    """Asks `validate` for a figure of each epoch, and keeps the state of the first best one."""

    def __init__(self, validate: Callable[[Method[Any]], float]) -> None:
        self.validate = validate
        self.curve: dict[int, float] = {}
        self.best: Mapping[str, Tensor] = {}

    def __call__(self, method: Method[Any]) -> None:
        """Look at a method after an epoch."""
        figure = self.validate(method)
        if not self.curve or figure > max(self.curve.values()):
            self.best = state_of(method)
        self.curve[method.current_epoch + 1] = figure
        method.log("selection", figure, rank_zero_only=True)


def best(curve: Mapping[int, float]) -> int:
    """Return the first epoch with the best figure.

    >>> best({1: 0.5, 2: 0.75, 3: 0.75})
    2
    """
    return max(curve, key=lambda epoch: (curve[epoch], -epoch))


def state_of(method: Method[Any]) -> dict[str, Tensor]:
    """Return a copy of a method's state on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in method.state_dict().items()}


def fit_and_choose(
    cell: Cell, method: Method[Any], data: DataModule, device: torch.device, callbacks: Sequence[pl.Callback] = ()
) -> tuple[Selection, dict[str, Any]]:
    """Fit `method` and leave it at the chosen epoch; under `oracle` also return the metrics of the last epoch.

    `callbacks` hear of this fit, not of those of a cross-validation.
    """
    rule, config, support = cell.config.selection, cell.config, data.support
    if rule == "last" or method.declared.epochs == 0:
        fit(method, support, config, device, callbacks)
        return Selection(rule, method.trainer.current_epoch if method.declared.epochs else 0), {}
    if rule == "support_cv":
        curve = broadcast(cross_validate(cell, support, device))
        epoch = best(curve)
        _fit_until(epoch, cell, method, support, device, callbacks)
        return Selection(rule, epoch, curve), {}
    if rule.startswith("fixed:"):
        epoch = int(rule.removeprefix("fixed:"))
        _fit_until(epoch, cell, method, support, device, callbacks)
        return Selection(rule, epoch), {}
    seen: dict[str, float | None] = {}

    def validate(m: Method[Any]) -> float:
        if rule == "oracle":
            last = m.current_epoch + 1 == m.declared.epochs  # whose figures the record keeps, all of them
            seen.update(evaluate(cell, m, data.test, of_images=last).metrics)
            return _sum(seen)
        figures = [_sum(evaluate(cell, m, holdout, of_images=False).metrics) for holdout in data.holdouts]
        return math.fsum(figures) / len(figures)

    chooser = EpochChooser(validate)
    fit(method, support, config, device, [EachEpoch(support, chooser), *callbacks])
    method.load_fitted(chooser.best)
    method.eval().to(device)
    method.build_memory(support)
    return Selection(rule, best(chooser.curve), chooser.curve), seen


def _fit_until(
    epoch: int, cell: Cell, method: Method[Any], support: Support, device: torch.device,
    callbacks: Sequence[pl.Callback],
) -> None:  # fmt: skip
    """Fit for so many epochs; raises AdbenchError where the method ends its training earlier."""
    fit(method, support, cell.config, device, [StopAfter(epoch), *callbacks])
    if (reached := method.trainer.current_epoch) < epoch:
        raise AdbenchError(
            f"the training of {cell.config.method_name} ended after epoch {reached}, and selection="
            f"{cell.config.selection} scores epoch {epoch}. selection=last scores the epoch after which it ends."
        )


def _sum(metrics: Mapping[str, float | None]) -> float:
    """Return image AUROC plus, where there are masks, pixel AUROC: the criterion of the authors of MVFA and MadCLIP."""
    return math.fsum(metrics.get(name) or 0.0 for name in ("image_auroc", "pixel_auroc"))


def cross_validate(cell: Cell, support: Support, device: torch.device) -> dict[int, float]:
    """Return for each epoch the image AUROC over the support, every image scored by a fit that didn't see it.

    Each image is scored under the name of its own dataset. Epochs that some fit did not reach, because the method ends
    its training by itself, are left out.
    """
    groups, config, origins = folds(cell.training_sets, cell.config.method), cell.config, np.array(support.datasets)
    scores: dict[int, NDArray[np.float32]] = {}
    for fold in range(int(groups.max()) + 1):
        held = groups == fold
        method, rest = new_method(cell, device), rows(support, ~held)
        parts = [held & (origins == name) for name in dict.fromkeys(origins[held].tolist())]

        def score(m: Method[Any], parts: Sequence[NDArray[np.bool_]] = parts) -> None:
            for part in parts:
                seen = rows(support, part)
                pixels = seen.images.permute(0, 2, 3, 1).numpy()
                how = seen.datasets[0], seen.object_names[0], config.batch_size, config.precision
                if cell.capability.transductive:
                    show_test_images(m, pixels, *how)
                values = np.concatenate([batch.image.numpy() for _, batch in score_images(m, pixels, *how)])
                if not np.isfinite(values).all():
                    raise NumericalError(
                        f"{config.method_name} gives an image of its support a score that is not finite."
                    )
                scores.setdefault(m.current_epoch + 1, np.full(len(support), np.nan, np.float32))[part] = values

        fit(method, rest, config, device, [EachEpoch(rest, score)])
        method.forget_training()
    labels = support.labels.numpy()
    whole = {epoch: column for epoch, column in scores.items() if np.isfinite(column).all()}
    return {epoch: float(image_metrics(column, labels)["image_auroc"] or 0.0) for epoch, column in whole.items()}


def rows(support: Support, keep: NDArray[np.bool_]) -> Support:
    """Return the images of a support where `keep` (N,) is true."""
    chosen: dict[str, Any] = {}
    for column in fields(support):
        value = getattr(support, column.name)
        chosen[column.name] = (
            value[torch.from_numpy(keep)]
            if isinstance(value, Tensor)
            else tuple(v for v, kept in zip(value, keep, strict=True) if kept)
        )
    return replace(support, **chosen)
