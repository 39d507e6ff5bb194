"""operating=support_cv: each image of the support scored by a method that was fitted without it."""

from __future__ import annotations

import numpy as np
import torch

from adbench.cells.cell import Cell
from adbench.cells.holdout import folds
from adbench.method import Support
from adbench.scoring.held_out import HeldOutOutcome, Tally
from adbench.scoring.score import score_images
from adbench.system.ranks import broadcast
from adbench.training.fit import fit, new_method
from adbench.training.selection import StopAfter, rows


def score_support(cell: Cell, support: Support, device: torch.device, epoch: int) -> HeldOutOutcome:
    """Fit the method once per fold of the support, up to `epoch`, and score the images of the fold.

    A patient's images are in one fold. Several processes of one cell share the training, not these few images.
    """
    config, sets = cell.config, cell.training_sets
    items = [item for one in sets for item in one.support]
    groups, tally = folds(sets, config.method, "operating"), Tally(items, cell.eval_size, cell.config.precision)
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        for fold in range(int(groups.max()) + 1):
            held = groups == fold
            method, rest, seen = new_method(cell, device), rows(support, ~held), rows(support, held)
            stops = [StopAfter(epoch)] if epoch < method.declared.epochs else []
            fit(method, rest, config, device, stops)
            method.forget_training()
            pixels, places = seen.images.permute(0, 2, 3, 1).numpy(), np.flatnonzero(held)
            how = seen.datasets[0], seen.object_names[0], config.batch_size, config.precision
            for start, scores in score_images(method, pixels, *how):
                tally.add(places[start : start + len(scores.image)].tolist(), scores, config.method_name)
    return broadcast(tally.result())
