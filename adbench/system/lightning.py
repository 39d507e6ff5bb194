"""Lightning, imported without transformers, which torchmetrics would take along where it can: that costs seconds."""

from __future__ import annotations

from adbench.system.absent import without

with without("transformers"):
    import pytorch_lightning as pl

__all__ = ["pl"]
