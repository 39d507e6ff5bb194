"""WinCLIP: zero-/few-shot anomaly classification and segmentation (Jeong et al., CVPR 2023, arXiv 2303.14814).

CLIP reads every small window of the image as if it were an image of its own, by letting the class token see the
patches of that window alone. A window is as abnormal as its embedding looks to the sentences about both states and,
with normal images at hand (WinCLIP+), as far as it is from every window of theirs. Nothing is trained.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from adbench.backbone.clip import Architecture
from adbench.blocks.maps import patch_map
from adbench.blocks.memory_bank import cosine_distance
from adbench.blocks.precision import l2_normalize
from adbench.blocks.prompts import NORMAL, Prompts
from adbench.blocks.similarity import TextEmbeddings, abnormal_logit
from adbench.blocks.validate import positive
from adbench.errors import AdbenchError
from adbench.method import Batch, Capability, Method, Scores, Support

# The state phrases and templates of the paper's Table 7; the normal phrases are those of blocks.prompts.
ABNORMAL = ["damaged {}", "{} with flaw", "{} with defect", "{} with damage"]
_LOOKS = ["cropped ", "close-up ", "bright ", "dark ", "jpeg corrupted ", "blurry ", ""]
_ENDS = ["", " for visual inspection", " for anomaly detection"]
TEMPLATES = [
    *(f"a {look}photo of {a} {{}}." for look in _LOOKS for a in ("a", "the")),
    *(f"a photo of {a} {size} {{}}." for size in ("small", "large") for a in ("a", "the")),
    *(f"a photo of {a} {{}}{end}." for end in _ENDS[1:] for a in ("a", "the")),
]
LEAST = 1e-6  # no score is smaller: a harmonic mean would be nothing else


@dataclass
class Params:
    """Facets. `reference=false` is WinCLIP, which learns from no image; the default is WinCLIP+."""

    reference: bool = True
    windows: list[int] = field(default_factory=lambda: [2, 3])  # sides in patches
    patch_block: int = 0  # whose patches are compared with the support's; 0: the last but one
    temperature: float = 0.07
    prompts: Prompts = field(default_factory=lambda: Prompts(list(NORMAL), list(ABNORMAL)))
    templates: list[str] = field(default_factory=lambda: list(TEMPLATES))
    activation: str = "native"
    normalisation: str = "native"


class WinCLIP(Method[Params]):
    """Frozen CLIP over windows; with a support, banks of its windows and patches."""

    editable = ("prompts", "templates", "temperature")

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        """Ask for what enters the first block, the patches of one later block, and the pooled embedding."""
        positive(params, "temperature")
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
        )

    def build(self) -> None:
        """Lay the windows over the grid and create the empty banks."""
        grid, widest = self.backbone.grid, max(self.params.windows)
        if widest > grid:
            raise AdbenchError(
                f"method.windows={self.params.windows} is not possible: the image has {grid} x {grid} patches."
            )
        self.windows = {side: windows(grid, side) for side in self.params.windows}
        self.banks = [f"bank_{side}" for side in self.windows] + ["bank_patches"] if self.params.reference else []
        for name in self.banks:
            self.register_buffer(name, torch.empty(0, 0))
        self.texts = TextEmbeddings(self.backbone, self.params.prompts, self.params.templates)

    @torch.no_grad()
    def build_memory(self, support: Support) -> None:
        """Keep the unit embeddings of all windows and patches of the normal images."""
        if not self.params.reference:
            return
        features = self.encode(support.images, "encoding the support")
        seen = [*self._seen(features.blocks[0].to(self.device)), self._patches(features.blocks)]
        for name, rows in zip(self.banks, seen, strict=True):
            setattr(self, name, rows.flatten(0, 1).to(self.device))

    def score(self, batch: Batch) -> Scores:
        """Return the mean of what the text says and what the support says; without a support, what the text says."""
        pooled = batch.features.pooled
        assert pooled is not None
        text = self.texts(batch.object_names)
        image = self._probability(pooled[:, None], text)[:, 0]
        seen = self._seen(batch.features.blocks[0])
        told = [
            self._spread(self._probability(rows, text), side) for rows, side in zip(seen, self.windows, strict=True)
        ]
        patches = harmonic(torch.stack([image[:, None].expand_as(told[0]), *told]))
        if self.params.reference:
            far = [cosine_distance(rows, getattr(self, bank)) / 2 for rows, bank in zip(seen, self.banks, strict=False)]
            maps = [self._spread(rows, side) for rows, side in zip(far, self.windows, strict=True)]
            maps.append(cosine_distance(self._patches(batch.features.blocks), self.get_buffer("bank_patches")) / 2)
            distance = torch.stack(maps).mean(0)
            image, patches = (image + distance.amax(1)) / 2, (patches + distance) / 2
        return Scores(image, patch_map(patches, self.backbone.input_size))

    def _seen(self, entering: Tensor) -> list[Tensor]:
        """Return per window size (B, windows, embed_dim) unit embeddings of a stream as it enters the first block."""
        found = []
        entering = entering.float()  # the windows' streams stay in fp32, as those of a method that trains
        for places in self.windows.values():
            b, (count, _) = len(entering), places.shape
            whole = torch.zeros(count, 1, dtype=places.dtype)  # the class token looks through every window
            tokens = entering[:, torch.cat([whole, places + 1], dim=1).to(entering.device)].flatten(0, 1)
            last = self.backbone.run_blocks(tokens, 1, self.backbone.architecture.depth)[:, 0]
            found.append(l2_normalize(self.backbone.project(last)).unflatten(0, (b, count)))
        return found

    def _probability(self, vectors: Tensor, text: Tensor) -> Tensor:
        """Return (B, N): the softmax probability of the abnormal state."""
        return abnormal_logit(l2_normalize(vectors), text, 1 / self.params.temperature).sigmoid()

    def _spread(self, scores: Tensor, side: int) -> Tensor:
        return spread(scores, self.windows[side].to(scores.device), self.backbone.grid**2)

    def _patches(self, blocks: dict[int, Tensor]) -> Tensor:
        block = self.params.patch_block or self.backbone.architecture.depth - 1
        return l2_normalize(blocks[block][:, 1:])


def windows(grid: int, side: int) -> Tensor:
    """Return (windows, side * side) patch numbers of every window of a grid of patches, stride 1.

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
    return len(scores) / (1 / scores.clamp(min=LEAST)).sum(0)


def spread(scores: Tensor, places: Tensor, patches: int) -> Tensor:
    """Return (B, patches): for each patch the harmonic mean of the scores (B, windows) of the windows it lies in.

    `places` (windows, size) are the patches of each window.
    """
    covers = torch.zeros(len(places), patches, device=scores.device)
    covers.scatter_(1, places, 1)
    # Not the product's rounding but the order of the scores matters: fp64.
    inverse = (1 / scores.clamp(min=LEAST)).double() @ covers.double()
    return (covers.sum(0) / inverse).to(scores.dtype)
