"""SubspaceAD: training-free few-shot anomaly detection by subspace modelling (CVPR 2026).

Nothing is trained. The patch tokens of the normal support, averaged over several middle blocks of a frozen ViT, span a
linear subspace: their mean and the leading principal components with 99 % of the variance. Map: the squared length of
what a patch has outside of that subspace. Image score: the mean of the highest 1 % of the map's pixels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from adbench.backbone.config import Architecture
from adbench.blocks.augment import rotated
from adbench.blocks.maps import gaussian_blur, patch_map, top_mean
from adbench.blocks.validate import at_least, positive, shares
from adbench.method import Batch, Capability, Method, Scores, Support
from adbench.system.progress import track

MOST_DEGREES = 345  # of a random rotation
DEEP = 18  # blocks that a tower needs for the authors' choice, which counts from its end


@dataclass
class Params:
    """Hyper-parameters. The authors', but no rotations: most medical images have one way up."""

    blocks: list[int] = field(default_factory=list)  # averaged; empty: N-17 to N-11, of few blocks N/2 to 3N/4
    rotations: int = 0  # random ones of each support image, in addition to itself; the paper: 30
    variance: float = 0.99  # share of the variance that the subspace holds at least
    top: float = 0.01  # share of the map's pixels that the image score is the mean of
    sigma: float = 4.0  # Gaussian smoothing of the map over 3 x 3 pixels; 0: none
    activation: str = "native"
    normalisation: str = "native"


class SubspaceAD(Method[Params]):
    """The squared residual of a patch outside the subspace of normal patches."""

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        """Learn from normal images alone."""
        at_least(params, 0, "rotations", "sigma", most=1000)
        positive(params, "variance", "top")
        shares(params, "variance", "top")
        return Capability(
            support="normal",
            blocks=tuple(params.blocks) or middle(architecture.depth),
            class_token=False,
            stochastic=params.rotations > 0,
            normalisation=params.normalisation,
            activation=params.activation,
        )

    def build(self) -> None:
        """Create the empty subspace: the mean of normal patches (width,) and an orthonormal basis (width, r)."""
        width = self.backbone.architecture.width
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("basis", torch.zeros(width, 0))

    def build_memory(self, support: Support) -> None:
        """Fit the subspace to the patches of the support and of its rotations."""
        angles = MOST_DEGREES * torch.rand(len(support), self.params.rotations, generator=self.generator("rotations"))

        def patches() -> Iterable[Tensor]:
            """Yield the patches of one support image after the other: the memory of many rotations is bounded."""
            each = zip(support.images, angles.tolist(), strict=True)
            for image, degrees in track(each, "encoding the support", len(support)):
                views = rotated(image.expand(1 + len(degrees), -1, -1, -1), [0, *degrees], "nearest", "zeros")
                yield self._patches(self.encode(views).blocks).flatten(0, 1)

        mean, basis = principal_subspace(patches(), self.params.variance)
        self.mean, self.basis = mean.float().to(self.device), basis.float().to(self.device)

    def score(self, batch: Batch) -> Scores:
        """Return the squared residuals as the map; the image score is the mean of its highest pixels."""
        distance = residual(self._patches(batch.features.blocks), self.mean, self.basis)
        maps = patch_map(distance, self.backbone.input_size, align_corners=False)
        maps = gaussian_blur(maps, self.params.sigma, radius=1)
        return Scores(top_mean(maps.flatten(1), self.params.top), maps)

    def _patches(self, blocks: dict[int, Tensor]) -> Tensor:
        """Return (B, patches, width): the mean over the blocks, fp32."""
        return torch.stack([tokens[:, self.backbone.architecture.prefix :].float() for tokens in blocks.values()]).mean(
            0
        )


def middle(depth: int) -> tuple[int, ...]:
    """Return the blocks that are read by default.

    >>> middle(40), middle(24), middle(12)
    ((23, 24, 25, 26, 27, 28, 29), (7, 8, 9, 10, 11, 12, 13), (6, 7, 8, 9))
    """
    if depth >= DEEP:
        return tuple(range(depth - 17, depth - 10))
    return tuple(range(max(1, depth // 2), max(1, 3 * depth // 4) + 1))


def principal_subspace(parts: Iterable[Tensor], variance: float) -> tuple[Tensor, Tensor]:
    """Return the mean (C,) of rows and the basis (C, r) of the least r principal components that hold `variance`.

    The rows come in several parts (n, C), and are never together in memory. In fp64 (Chan et al.'s update of the
    covariance). Rows that are all the same span no direction: r is 0.
    """
    count, mean, scatter = 0, torch.zeros(()), torch.zeros(())
    for part in parts:
        rows = part.double()
        own, n = rows.mean(0), len(rows)
        gap, total = own - mean, count + n
        scatter = scatter + (rows - own).T @ (rows - own) + torch.outer(gap, gap) * (count * n / total)
        mean, count = mean + gap * (n / total), total
    values, vectors = torch.linalg.eigh(scatter / max(1, count - 1))
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    shares = values.cumsum(0) / values.sum()
    r = min(int((shares < variance).sum()) + 1, len(values)) if values.sum() > 0 else 0
    return mean, vectors[:, :r]


def residual(rows: Tensor, mean: Tensor, basis: Tensor) -> Tensor:
    """Return (...): the squared distance of rows (..., C) to the subspace through `mean` with the orthonormal `basis`.

    >>> residual(torch.tensor([5.0, 2.0]), torch.tensor([1.0, 0.0]), torch.tensor([[1.0], [0.0]])).tolist()
    4.0
    """
    with torch.autocast(rows.device.type, enabled=False):
        centred = rows - mean
        return (centred - centred @ basis @ basis.T).square().sum(-1)
