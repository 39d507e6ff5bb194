"""An optimiser for small, fast trainings: StableAdamW, and a learning rate that warms up and falls along a cosine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT


class StableAdamW(Optimizer):
    """AdamW whose step is divided by max(1, RMS(g / d)) for each tensor: g its gradient, d Adam's denominator.

    A gradient much larger than those before it makes no larger step. Where none is, it is torch's AdamW. Weight decay
    is not divided. Source: Wortsman et al., NeurIPS 2023, as Dinomaly's code has it: with d bias-corrected, and with
    AMSGrad the largest so far.
    """

    def __init__(
        self, params: ParamsT, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 1e-2, amsgrad: bool = False,
    ) -> None:  # fmt: skip
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; return what `closure`, called first, returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, (beta1, beta2), rate = self.state[parameter], group["betas"], group["lr"]
        if not state:
            names = ["mean", "square", *(["largest"] if group["amsgrad"] else [])]
            state.update({name: torch.zeros_like(parameter) for name in names}, step=0)
        state["step"] += 1
        state["mean"].lerp_(gradient, 1 - beta1)
        square = state["square"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        if group["amsgrad"]:
            square = torch.maximum(state["largest"], square, out=state["largest"])
        denominator = (square / (1 - beta2 ** state["step"])).sqrt_().add_(group["eps"])
        excess = (gradient / denominator).square().mean().sqrt().clamp(min=1)
        step = rate / (1 - beta1 ** state["step"])
        parameter.mul_(1 - rate * group["weight_decay"])
        parameter.sub_(state["mean"] / denominator * (step / excess))


def warm_cosine(step: int, warm_up: int, steps: int, last: float) -> float:
    """Return the share of the learning rate at a step, counted from 0: from 0 up to 1, then down a cosine to `last`.

    The last of the `warm_up` steps has the whole rate, as the first one of the cosine has.

    >>> [round(warm_cosine(step, 3, 7, 0.1), 3) for step in range(8)]
    [0.0, 0.5, 1.0, 1.0, 0.868, 0.55, 0.232, 0.1]
    """
    if step < warm_up:
        return step / max(1, warm_up - 1)
    done = min(1.0, (step - warm_up) / max(1, steps - warm_up))
    return last + (1 - last) * (1 + math.cos(math.pi * done)) / 2


def stable_adamw_along_a_cosine(
    parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float, warm_up: int, steps: int, last: float
) -> OptimizerLRScheduler:
    """Return StableAdamW as Dinomaly and INP-Former set it, its rate `warm_cosine`, step by step."""
    optimiser = StableAdamW(parameters, learning_rate, eps=1e-10, weight_decay=weight_decay, amsgrad=True)
    rate = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: warm_cosine(step, warm_up, steps, last))
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": rate, "interval": "step"}}
