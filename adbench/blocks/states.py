"""Which state does it look like? Image vectors beside the text of the normal and of the abnormal state."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from adbench.backbone.clip import Backbone
from adbench.blocks.losses import upsample
from adbench.blocks.precise import unit
from adbench.blocks.prompts import TEMPLATES, Prompts, ensemble
from adbench.errors import AdbenchError


class StateTexts:
    """The prompt ensembles of both states, made once for each object name and kept.

    Always embedded in full precision: training, banks and scoring then see the same vectors.
    """

    def __init__(self, backbone: Backbone, prompts: Prompts, templates: Sequence[str] = TEMPLATES) -> None:
        self.backbone = backbone
        self.prompts = prompts
        self.templates = templates
        self._kept: dict[str, Tensor] = {}

    def __call__(self, object_names: Sequence[str]) -> Tensor:
        """Return unit vectors (B, 2, embed_dim), normal then abnormal, for B object names."""
        for name in set(object_names) - set(self._kept):
            with torch.autocast(self.backbone.device.type, enabled=False):
                self._kept[name] = ensemble(self.backbone, self.prompts, name, self.templates)
        return torch.stack([self._kept[name] for name in object_names])


def need_both(labels: Tensor, method: str) -> None:
    """Raise AdbenchError for labels (N,) in {0, 1} of fewer than two classes, which no classifier can be trained on."""
    abnormal = int(labels.sum())
    if not 0 < abnormal < len(labels):
        raise AdbenchError(
            f"{method} learns to tell two classes apart and was given {len(labels) - abnormal} normal and {abnormal} "
            "abnormal images: with one class alone the loss is least where every image gets that answer. Give it both, "
            "as in protocol=few_shot shots=16."
        )


def state_logits(vectors: Tensor, text: Tensor, temperature: float) -> Tensor:
    """Return (B, N, 2), normal then abnormal: cosines over the temperature, in fp32 also under autocast.

    `vectors` (B, N, C) have any length, `text` (B, 2, C) has unit length. Both cosines differ in their third digit,
    and half precision has hardly more.

    >>> vector, text = torch.tensor([[[5.0, 0.0]]]), torch.tensor([[[0.0, 1.0], [0.6, 0.8]]])
    >>> state_logits(vector, text, temperature=0.5).tolist()
    [[[0.0, 1.2000000476837158]]]
    """
    with torch.autocast(vectors.device.type, enabled=False):
        return unit(vectors) @ text.float().transpose(1, 2) / temperature


def abnormal_logit(vectors: Tensor, text: Tensor, scale: float = 100.0) -> Tensor:
    """Return (B, N) logits of the abnormal state for vectors (B, N, C) and text (B, 2, C) of unit length.

    A softmax over the two scaled cosines is the sigmoid of their difference, also after a linear interpolation of both.

    >>> vector, text = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0], [0.6, 0.8]]])
    >>> float(abnormal_logit(vector, text, scale=10.0))
    6.0
    """
    direction = (text[:, 1] - text[:, 0])[:, :, None]
    return scale * (vectors @ direction)[..., 0].float()


def pixels(patches: Tensor, size: int) -> Tensor:
    """Interpolate values (B, patches) on a square grid to (B, size, size): bilinear, corners aligned."""
    return upsample(patches[..., None], size)[:, 0]
