"""Image-text similarity: image vectors compared with the text embeddings of the normal and the abnormal state."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from adbench.backbone.contract import Backbone
from adbench.blocks.precision import l2_normalize, lengths
from adbench.blocks.prompts import TEMPLATES, Prompts, ensemble
from adbench.errors import AdbenchError


class TextEmbeddings:
    """Text embeddings of both states from fixed prompt ensembles, computed once for each object name.

    Always in full precision, so that training, memory banks and scoring see the same vectors.
    """

    def __init__(self, backbone: Backbone, prompts: Prompts, templates: Sequence[str] = TEMPLATES) -> None:
        self.backbone = backbone
        self.prompts = prompts
        self.templates = templates
        self._cache: dict[str, Tensor] = {}

    def __call__(self, object_names: Sequence[str]) -> Tensor:
        """Return unit vectors (B, 2, embed_dim), normal then abnormal, for B object names."""
        for name in set(object_names) - set(self._cache):
            with torch.autocast(self.backbone.device.type, enabled=False):
                self._cache[name] = ensemble(self.backbone, self.prompts, name, self.templates)
        return torch.stack([self._cache[name] for name in object_names])


IMAGE_VECTORS = ("projected", "embedding", "token")


def image_vectors(backbone: Backbone, tokens: Tensor, kind: str) -> Tensor:
    """Return unit vectors (B, C), in fp32, of images from their class tokens (B, width) after the last block.

    `projected` into the space of text without the final norm, as AnomalyCLIP and MRAD do; `embedding`: with it, CLIP's
    own; `token`: the final norm alone, which a backbone without a space of text has too.
    """
    with torch.autocast(tokens.device.type, enabled=False):
        tokens = tokens.float()
        if kind == "token":
            return l2_normalize(backbone.norm(tokens))
        return l2_normalize(backbone.project(tokens, final_norm=kind == "embedding"))


def cosines(vectors: Tensor, directions: Tensor) -> Tensor:
    """Return products (..., N, M) of vectors (..., N, C), scaled to unit length, with directions (..., M, C), in fp32.

    The products are scaled, not the vectors, which saves most of the passes over them in a training step. A zero vector
    has the product 0.

    >>> cosines(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0]])).tolist()
    [[0.6000000238418579], [0.0]]
    """
    with torch.autocast(vectors.device.type, enabled=False):
        vectors = vectors.float()
        return vectors @ directions.float().transpose(-1, -2) / lengths(vectors).clamp(min=1e-12)


def state_logits(vectors: Tensor, text: Tensor, temperature: float) -> Tensor:
    """Return logits (B, N, 2), normal then abnormal: cosines over the temperature, in fp32 also under autocast.

    `vectors` (B, N, C) have any length, `text` (B, 2, C) has unit length. The two cosines differ in their third digit
    only, about the last one that half precision keeps.

    >>> vector, text = torch.tensor([[[5.0, 0.0]]]), torch.tensor([[[0.0, 1.0], [0.6, 0.8]]])
    >>> state_logits(vector, text, temperature=0.5).tolist()
    [[[0.0, 1.2000000476837158]]]
    """
    with torch.autocast(vectors.device.type, enabled=False):
        return l2_normalize(vectors) @ text.float().transpose(1, 2) / temperature


def abnormal_logit(vectors: Tensor, text: Tensor, scale: float = 100.0) -> Tensor:
    """Return logits (B, N) of the abnormal state for vectors (B, N, C) and text (B, 2, C) of unit length.

    The logit is the difference of the two scaled cosines: its sigmoid is the abnormal column of their softmax, also
    after a linear interpolation of both.

    >>> vector, text = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0], [0.6, 0.8]]])
    >>> float(abnormal_logit(vector, text, scale=10.0))
    6.0
    """
    direction = (text[:, 1] - text[:, 0])[:, :, None]
    return scale * (vectors @ direction)[..., 0].float()


def require_both_classes(labels: Tensor, method: str) -> None:
    """Raise AdbenchError unless labels (N,) in {0, 1} hold both classes, without which no classifier can be trained."""
    abnormal = int(labels.sum())
    if not 0 < abnormal < len(labels):
        raise AdbenchError(
            f"{method} learns to tell two classes apart and was given {len(labels) - abnormal} normal and {abnormal} "
            "abnormal images: with one class alone the loss is least where every image gets that answer. Give it both, "
            "as in protocol=few_shot shots=16."
        )
