"""WinCLIP: zero-/few-shot anomaly classification and segmentation (Jeong et al., CVPR 2023, arXiv 2303.14814).

Nothing is trained. A frozen CLIP embeds every small window of the image: the class token passes through the tower with
the patches of that window alone. Text-guided scores compare the windows with the prompt ensembles of both states
(WinCLIP). Reference-guided scores are distances to memory banks of the windows and patches of normal images (WinCLIP+).
Map: per patch the mean over the windows that contain it, harmonic for text-guided scores. Image score: the probability
of the image embedding, with normal images averaged with the largest reference-guided score.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from adbench.backbone.clip import Architecture
from adbench.blocks.maps import patch_map
from adbench.blocks.memory_bank import cosine_distance
from adbench.blocks.precision import l2_normalize
from adbench.blocks.prompts import NORMAL, WINCLIP_TEMPLATES, Prompts
from adbench.blocks.similarity import TextEmbeddings, abnormal_logit
from adbench.blocks.validate import at_least, positive
from adbench.errors import AdbenchError
from adbench.method import Batch, Capability, Method, Scores, Support

# The abnormal phrases of the paper's Table 7; its normal phrases and its templates are in blocks.prompts.
ABNORMAL = ["damaged {}", "{} with flaw", "{} with defect", "{} with damage"]
EPSILON = 1e-6  # smallest score: a smaller one would dominate the harmonic mean


@dataclass
class Params:
    """Hyper-parameters. The default is WinCLIP+; `reference=false` is WinCLIP, which needs no image."""

    reference: bool = True
    windows: list[int] = field(default_factory=lambda: [2, 3])  # sides in patches
    patch_block: int = 0  # patches of this block are compared with the support; 0: the last but one
    temperature: float = 0.07
    prompts: Prompts = field(default_factory=lambda: Prompts(list(NORMAL), list(ABNORMAL)))
    templates: list[str] = field(default_factory=lambda: list(WINCLIP_TEMPLATES))
    activation: str = "native"
    normalisation: str = "native"


class WinCLIP(Method[Params]):
    """Frozen CLIP over windows; WinCLIP+ adds memory banks of normal windows and patches."""

    editable = ("prompts", "templates", "temperature")

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        """Read the tokens that enter the first block, the patches of a late block, and the image embedding."""
        positive(params, "temperature")
        at_least(params, 0, "patch_block")
        if not params.windows or len(set(params.windows)) < len(params.windows) or min(params.windows) < 1:
            raise AdbenchError(
                f"method.windows={params.windows} is not possible: name sides of windows in patches, each once, as in "
                "method.windows=[2,3]."
            )
        patches = (params.patch_block or architecture.depth - 1,) if params.reference else ()
        return Capability(
            support="normal" if params.reference else "none",
            blocks=(0, *patches),
            pooled=True,
            stochastic=False,
            normalisation=params.normalisation,
            activation=params.activation,
            threshold=None if params.reference else 0.5,
            text=True,
            projection=True,
        )

    def build(self) -> None:
        """Enumerate the windows and create the empty banks."""
        grid, widest = self.backbone.grid, max(self.params.windows)
        if widest > grid:
            raise AdbenchError(
                f"method.windows={self.params.windows} is not possible: the image has {grid} x {grid} patches."
            )
        self.windows = {side: windows(grid, side) for side in self.params.windows}
        if self.params.reference:
            for name in (*self.windows, "patches"):
                self.register_buffer(f"bank_{name}", torch.empty(0, 0))
        self.texts = TextEmbeddings(self.backbone, self.params.prompts, self.params.templates)

    @torch.no_grad()
    def build_memory(self, support: Support) -> None:
        """Keep the unit embeddings of all windows and patches of the normal images."""
        if not self.params.reference:
            return
        features = self.encode(support.images, "encoding the support")
        windows = self._window_embeddings(features.blocks[0].to(self.device))
        for name, rows in [*windows.items(), ("patches", self._patches(features.blocks))]:
            setattr(self, f"bank_{name}", rows.flatten(0, 1).to(self.device))

    def score(self, batch: Batch) -> Scores:
        """Average the text-guided and reference-guided scores; zero-shot uses the text-guided score alone."""
        pooled = batch.features.pooled
        assert pooled is not None
        text = self.texts(batch.object_names)
        image = self._probability(pooled[:, None], text)[:, 0]
        embeddings = self._window_embeddings(batch.features.blocks[0])
        maps = [self._spread(self._probability(rows, text), side) for side, rows in embeddings.items()]
        patches = harmonic(torch.stack([image[:, None].expand_as(maps[0]), *maps]))
        if self.params.reference:
            maps = [
                self._spread(cosine_distance(rows, self.get_buffer(f"bank_{side}")) / 2, side)
                for side, rows in embeddings.items()
            ]
            maps.append(cosine_distance(self._patches(batch.features.blocks), self.get_buffer("bank_patches")) / 2)
            distance = torch.stack(maps).mean(0)
            image, patches = (image + distance.amax(1)) / 2, (patches + distance) / 2
        return Scores(image, patch_map(patches, self.backbone.input_size))

    def memory_of(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the unit patches (B, patches, C) and those of the normal images (M, C), none without a reference."""
        patches = self._patches(batch.features.blocks)
        return patches, self.get_buffer("bank_patches") if self.params.reference else patches[0, :0]

    def _window_embeddings(self, tokens: Tensor) -> dict[int, Tensor]:
        """Return by window side the unit vectors (B, windows, embed_dim).

        `tokens` (B, 1 + patches, width) are those that enter the first block.
        """
        embeddings = {}
        tokens = tokens.float()  # residual streams stay in fp32
        for side, indices in self.windows.items():
            b, (count, _) = len(tokens), indices.shape
            class_token = torch.zeros(count, 1, dtype=indices.dtype)  # its index, 0: it joins every window
            rows = tokens[:, torch.cat([class_token, indices + 1], dim=1).to(tokens.device)].flatten(0, 1)
            last = self.backbone.run_blocks(rows, 1, self.backbone.architecture.depth)[:, 0]
            embeddings[side] = l2_normalize(self.backbone.project(last)).unflatten(0, (b, count))
        return embeddings

    def _probability(self, vectors: Tensor, text: Tensor) -> Tensor:
        """Return (B, N): the softmax probability of the abnormal state."""
        return abnormal_logit(l2_normalize(vectors), text, 1 / self.params.temperature).sigmoid()

    def _spread(self, scores: Tensor, side: int) -> Tensor:
        return spread(scores, self.windows[side].to(scores.device), self.backbone.grid**2)

    def _patches(self, blocks: dict[int, Tensor]) -> Tensor:
        block = self.params.patch_block or self.backbone.architecture.depth - 1
        return l2_normalize(blocks[block][:, 1:])


def windows(grid: int, side: int) -> Tensor:
    """Return the patch indices (windows, side * side) of every window of a grid of patches, stride 1.

    >>> windows(3, 2).tolist()
    [[0, 1, 3, 4], [1, 2, 4, 5], [3, 4, 6, 7], [4, 5, 7, 8]]
    """
    numbers = torch.arange(grid * grid).view(grid, grid)
    return numbers.unfold(0, side, 1).unfold(1, side, 1).flatten(2).flatten(0, 1)


def harmonic(scores: Tensor) -> Tensor:
    """Return the harmonic mean over the first axis.

    >>> round(float(harmonic(torch.tensor([1.0, 0.5, 0.25]))), 4)
    0.4286
    """
    return len(scores) / (1 / scores.clamp(min=EPSILON)).sum(0)


def spread(scores: Tensor, windows: Tensor, patches: int) -> Tensor:
    """Return (B, patches): for each patch the harmonic mean of the scores (B, windows) of the windows that contain it.

    `windows` (windows, size) holds the patch indices of each window.
    """
    covers = torch.zeros(len(windows), patches, device=scores.device)
    covers.scatter_(1, windows, 1)
    # In fp64: the product's rounding would change the order of close scores.
    inverse = (1 / scores.clamp(min=EPSILON)).double() @ covers.double()
    return (covers.sum(0) / inverse).to(scores.dtype)
