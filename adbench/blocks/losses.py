"""Losses: of CLIP-adapter methods (APRIL-GAN, MVFA, MediCLIP, MadCLIP), as in the authors' code, and of deviations."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from adbench.system import finite


def focal(logit: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """Return the focal loss of the abnormal state's logit (B, H, W) against a mask (B, H, W) in {0, 1}.

    Mean over pixels of -(1 - p_t)^gamma log p_t, without class weights, where p = sigmoid(logit) is the abnormal column
    of a softmax; the one-hot target is clamped to [1e-5, 1 - 1e-5] and 1e-5 added to p_t (Lin et al., ICCV 2017;
    smoothing as in the authors' code).
    """
    # The sigmoid of the target state's own logit: 1 - p loses its digits where p is nearly 1 and the loss is large.
    return _focal(((2 * target.to(logit.dtype) - 1) * logit).sigmoid(), gamma)


def focal_of_states(probabilities: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """Return `focal` of the probabilities (B, 2, H, W) of both states, normal then abnormal, against (B, H, W).

    For maps whose softmax is taken before they are interpolated, as in AnomalyCLIP.

    >>> p = torch.tensor([0.75, 0.25]).view(1, 2, 1, 1)
    >>> round(float(focal_of_states(p, torch.ones(1, 1, 1))), 4)  # 0.75^2 * log 4
    0.7797
    """
    return _focal(torch.where(target.bool(), probabilities[:, 1], probabilities[:, 0]), gamma)


def _focal(correct: Tensor, gamma: float) -> Tensor:
    p_t = (1 - 2e-5) * correct + 2e-5  # (1 - 1e-5) correct + 1e-5 (1 - correct) + 1e-5
    return -((1 - p_t) ** gamma * p_t.log()).mean()


def dice(probability: Tensor, target: Tensor, smooth: float = 1.0) -> Tensor:
    """Return 1 - (2 sum(p m) + s) / (sum p + sum m + s) per sample, averaged; (B, H, W) each.

    >>> float(dice(torch.ones(1, 2, 2), torch.ones(1, 2, 2)))
    0.0
    """
    p, m = probability.flatten(1), target.flatten(1).to(probability.dtype)
    overlap = (2 * (p * m).sum(1) + smooth) / (p.sum(1) + m.sum(1) + smooth)
    return (1 - overlap).mean()


def siglip(
    scores: Tensor,
    labels: Tensor,
    scale: float = 1.0,
    bias: float = 0.0,
    pool: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Return the sigmoid loss of MadCLIP over (B, patches, 2) scores and labels (B,) in {0, 1}.

    Minus the mean over images of the sum over both columns of the mean over patches (or their `pool`)
    of log sigmoid(z (scale s + bias)), z = +1 in the label's column and -1 in the other (MadCLIP Sec. 2.3; after
    SigLIP, Zhai et al., ICCV 2023).
    """
    z = 2.0 * F.one_hot(labels.long(), 2).to(scores.dtype) - 1.0
    each = F.logsigmoid(z[:, None, :] * (scale * scores + bias))
    return -(pool(each) if pool else each.mean(1)).sum(1).mean()


def deviation(scores: Tensor, labels: Tensor, mean: float = 0.0, std: float = 1.0, margin: float = 5.0) -> Tensor:
    """Return the deviation loss of scores (B,) against labels (B,) in {0, 1}, averaged (DevNet, Pang et al., KDD 2019).

    A score counts as its deviation z = (score - mean) / std from reference scores: |z| where the label is 0, and
    max(0, margin - z) where it is 1.

    >>> float(deviation(torch.tensor([-2.0, 1.0, 9.0]), torch.tensor([0, 1, 1])))  # (2 + 4 + 0) / 3
    2.0
    """
    z = (scores - mean) / std
    return torch.where(labels.bool(), (margin - z).clamp(min=0), z.abs()).mean()


def finite_sum(**terms: Tensor) -> Tensor:
    """Return the fp32 sum of named loss terms. Raises LossError, which names the term, where one is not finite.

    In a training on a GPU the error comes up to `finite.EVERY` steps later, so that no step waits for the GPU.

    >>> float(finite_sum(focal=torch.tensor(1.0), dice=torch.tensor(2.0)))
    3.0
    """
    each = torch.stack([term.float() for term in terms.values()])
    total = each.sum()
    finite.check(tuple(terms), each, total)
    return total
