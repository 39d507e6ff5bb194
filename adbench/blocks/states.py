"""Which state does it look like? Image vectors beside the text of the normal and of the abnormal state."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from adbench.backbone import Backbone
from adbench.blocks.losses import upsample
from adbench.blocks.prompts import TEMPLATES, Prompts, ensemble


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
