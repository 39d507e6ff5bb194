"""Half precision in which the gradients of a fused optimiser can be clipped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.plugins.precision import MixedPrecision, Precision
from torch.optim import Optimizer

from adbench.backbone.features import AUTOCAST


class HalfPrecision(MixedPrecision):
    """Lightning's autocast; a fused optimiser's gradients are unscaled before they are clipped, as any other's are.

    Lightning leaves the unscaling to the step of a fused optimiser, and refuses to clip gradients before it.
    """

    def autocast_context_manager(self) -> torch.autocast:
        """Compute without torch's cache of cast weights, whatever Lightning's version: threads would share it."""
        return torch.autocast(self.device, AUTOCAST[self.precision], cache_enabled=False)

    def optimizer_step(  # type: ignore[override]  # as in Lightning's own subclass
        self, optimizer: Any, model: LightningModule, closure: Callable[[], Any], **kwargs: Any
    ) -> Any:
        """Run the closure, unscale the gradients, clip them where the method or `trainer.` asks for it, and step."""

        def unscaled() -> Any:
            loss = closure()
            if self.scaler is not None and loss is not None and optimizer.defaults.get("fused"):
                self.scaler.unscale_(optimizer)
            return loss

        return super().optimizer_step(optimizer, model=model, closure=unscaled, **kwargs)

    def clip_gradients(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> None:
        """Clip unscaled gradients, whatever the optimiser."""
        Precision.clip_gradients(self, optimizer, *args, **kwargs)


def half_precision(name: str, device: torch.device, first_scale: float) -> HalfPrecision:
    """Return what computes in `bf16-mixed` or `16-mixed`; first_scale: of an fp16 loss."""
    scaler = torch.amp.GradScaler(device.type, init_scale=first_scale) if name == "16-mixed" else None
    return HalfPrecision("16-mixed" if scaler else "bf16-mixed", device.type, scaler)
