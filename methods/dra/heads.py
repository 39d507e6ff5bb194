"""The four heads of DRA, and the loss of each."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from adbench.blocks.losses import deviation
from adbench.blocks.maps import top_mean
from adbench.blocks.precision import in_fp32


class PatchScores(NamedTuple):
    """What the heads say of B images with P patches: of abnormality (B, P) each, and of normality (B,)."""

    seen: Tensor
    pseudo: Tensor
    residual: Tensor
    normality: Tensor

    def pooled(self, share: float) -> PatchScores:
        """Return (B,) each: the mean of the highest `share` of the patches."""
        seen, pseudo, residual = (top_mean(patches, share) for patches in (self.seen, self.pseudo, self.residual))
        return PatchScores(seen, pseudo, residual, self.normality)

    def total(self) -> Tensor:
        """Return the anomaly score: the sum of three abnormalities less the normality, of images or of their patches.

        >>> one, two = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])
        >>> PatchScores(one, two, two, torch.tensor([10.0])).total().tolist()
        [[-3.0, 0.0]]
        """
        normality = self.normality if self.seen.ndim == 1 else self.normality[:, None]
        return self.seen + self.pseudo + self.residual - normality


class Heads(nn.Module):
    """An adapter that all heads share, three linear heads of abnormality, and one of normality."""

    def __init__(self, channels: int, width: int, hidden: int) -> None:
        """Read patches of `channels` numbers; the adapter has `width`, and with 0 there is none.

        The head of normality has `hidden` units with ReLU before its last, or with 0 is linear like the others.
        """
        super().__init__()
        self.adapter = nn.Sequential(nn.Linear(channels, width), nn.ReLU()) if width else nn.Identity()
        inner = width or channels
        self.seen, self.pseudo, self.residual = (nn.Linear(inner, 1) for _ in range(3))
        layers = (nn.Linear(inner, hidden), nn.ReLU(), nn.Linear(hidden, 1)) if hidden else (nn.Linear(inner, 1),)
        self.normality = nn.Sequential(*layers)

    def adapted(self, patches: Tensor) -> Tensor:
        """Return (..., width), fp32."""
        return in_fp32(self.adapter, patches)

    def forward(self, adapted: Tensor, reference: Tensor) -> PatchScores:
        """Score adapted patches (B, P, width), given the mean of those of reference images (P, width)."""
        residual = reference - adapted  # Eq. 7
        parts = (
            (self.seen, adapted),
            (self.pseudo, adapted),
            (self.residual, residual),
            (self.normality, adapted.mean(1)),
        )
        return PatchScores(*(in_fp32(head, vectors)[..., 0] for head, vectors in parts))


def losses(
    normal: PatchScores, seen: PatchScores, pseudo: PatchScores, mean: float, std: float, margin: float
) -> dict[str, Tensor]:
    """Return the deviation loss of each head from what it says, pooled, of normal, seen and pseudo-anomalous images.

    Either class counts half. Each head of abnormality learns to tell its kind from normal images, `residual` both
    kinds. The normality head learns the reverse: normal images are to deviate, and anomalies of either kind are not.
    """

    def apart(low: Tensor, high: Tensor) -> Tensor:
        terms = (deviation(x, torch.full_like(x, label), mean, std, margin) for x, label in ((low, 0), (high, 1)))
        return sum(terms, torch.zeros((), device=low.device)) / 2

    return {
        "seen": apart(normal.seen, seen.seen),
        "pseudo": apart(normal.pseudo, pseudo.pseudo),
        "residual": apart(normal.residual, torch.cat([seen.residual, pseudo.residual])),
        "normality": apart(torch.cat([seen.normality, pseudo.normality]), normal.normality),
    }
