"""MRAD-TF: retrieval from a memory of labelled images, the training-free form of MRAD (ICLR 2026).

Nothing is trained. An image of the support leaves one vector in the memory of images, and up to two in that of patches:
the mean of its normal and that of its abnormal patches, in V-V features of a frozen ViT. A patch or an image is
compared with the whole memory; the softmax of the cosines, summed over the abnormal vectors, is its probability of
being abnormal. Map: that of each patch, smoothed. Image score: that of the image, and the mean of the map's highest
pixels.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from adbench.backbone.config import Architecture
from adbench.backbone.contract import Features
from adbench.blocks.maps import gaussian_blur, patch_map, top_mean
from adbench.blocks.precision import l2_normalize
from adbench.blocks.similarity import IMAGE_VECTORS, image_vectors, require_both_classes
from adbench.blocks.validate import at_least, choices, positive, shares
from adbench.errors import AdbenchError
from adbench.method import Batch, Capability, Method, Scores, Support
from adbench.system.progress import track


@dataclass
class Params:
    """Hyper-parameters. The defaults are the authors' (README.md)."""

    vv_from: int = 2  # the block at which the V-V stream starts, which is read after the last
    sides: list[int] = field(default_factory=lambda: [1, 3, 5])  # of the windows over which patches are averaged
    temperature: float = 1.0  # of the cosines
    image_vector: str = "projected"  # or `embedding`, with the final norm; `token`: no projection, for any ViT
    image_share: float = 0.7  # of the image's own probability in its score; the rest is the map's
    top: float = 0.01  # share of the map's pixels whose mean enters the image score
    sigma: float = 4.0  # Gaussian smoothing of the map, in pixels of the input; 0: none
    activation: str = "native"
    normalisation: str = "native"


class MRAD(Method[Params]):
    """Two memories of unit vectors with labels, of images and of patches."""

    version = "2"
    patch_rows: Tensor
    patch_labels: Tensor
    image_rows: Tensor
    image_labels: Tensor

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        """Learn from both classes; read the V-V stream and the class token of the last block."""
        choices(params, image_vector=IMAGE_VECTORS)
        positive(params, "temperature", "top")
        shares(params, "image_share", "top")
        at_least(params, 0, "sigma", most=1000)
        at_least(params, 1, "vv_from", most=architecture.depth or 1000)
        if not params.sides or any(side < 1 or side % 2 == 0 for side in params.sides):
            given = ",".join(map(str, params.sides))
            raise AdbenchError(f"method.sides=[{given}] is not possible: give odd numbers above 0, as in [1,3,5].")
        return Capability(
            support="both",
            blocks=(architecture.depth,),
            vv=(architecture.depth,),
            vv_from=params.vv_from,
            stochastic=False,
            normalisation=params.normalisation,
            activation=params.activation,
            projection=params.image_vector != "token",
        )

    def build(self) -> None:
        """Create the empty memories: unit vectors (rows, width) and their labels (rows,), 1 abnormal."""
        for memory in ("patch", "image"):
            self.register_buffer(f"{memory}_rows", torch.zeros(0, 0))
            self.register_buffer(f"{memory}_labels", torch.zeros(0))

    def build_memory(self, support: Support) -> None:
        """Fill both memories, image by image."""
        require_both_classes(support.labels, "mrad")
        states = cell_states(support, self.backbone.grid)
        images, patches, labels = [], [], []
        for i in track(range(len(support)), "encoding the support", len(support)):
            tokens, vectors = self._read(self.encode(support.images[i : i + 1]))
            images.append(vectors[0])
            for state in (0, 1):
                if (own := states[i] == state).any():
                    patches.append(tokens[0, own].mean(0))
                    labels.append(float(state))
        self.image_rows, self.image_labels = torch.stack(images).to(self.device), support.labels.float().to(self.device)
        self.patch_rows = l2_normalize(torch.stack(patches)).to(self.device)
        self.patch_labels = torch.tensor(labels, device=self.device)

    def score(self, batch: Batch) -> Scores:
        """Return the probability of each patch as the map; the image score weighs it against the image's own."""
        p = self.params
        patches, images = self._read(batch.features)
        own = retrieved(images, self.image_rows, self.image_labels, p.temperature)
        maps = retrieved(l2_normalize(patches), self.patch_rows, self.patch_labels, p.temperature)
        maps = patch_map(maps, self.backbone.input_size, align_corners=False)
        maps = gaussian_blur(maps, p.sigma, edge="symmetric")
        return Scores(p.image_share * own + (1 - p.image_share) * top_mean(maps.flatten(1), p.top), maps)

    def _read(self, features: Features) -> tuple[Tensor, Tensor]:
        """Return vectors of patches (B, patches, width), of any length, and unit vectors of images (B, C); fp32."""
        depth, prefix = self.backbone.architecture.depth, self.backbone.architecture.prefix
        on = features.to(self.backbone.device)
        with torch.autocast(self.backbone.device.type, enabled=False):
            patches = self.backbone.norm(on.vv[depth][:, prefix:].float())
        pooled = torch.stack([window_mean(patches, side) for side in self.params.sides]).mean(0)
        return pooled, image_vectors(self.backbone, on.blocks[depth][:, 0], self.params.image_vector)


def window_mean(tokens: Tensor, side: int) -> Tensor:
    """Return tokens (B, patches, C) on a square grid, each the mean over its `side` x `side` window, zeros outside.

    >>> window_mean(torch.tensor([[[9.0], [0.0], [0.0], [18.0]]]), 3).flatten().tolist()
    [3.0, 3.0, 3.0, 3.0]
    """
    grid = round(tokens.shape[1] ** 0.5)
    square = tokens.transpose(1, 2).unflatten(2, (grid, grid))
    return F.avg_pool2d(square, side, stride=1, padding=side // 2).flatten(2).transpose(1, 2)


def cell_states(support: Support, grid: int) -> Tensor:
    """Return (N, grid²): 0 where a patch is normal, 1 where it is abnormal, -1 where it counts as neither.

    A mask is interpolated to the grid (bilinear, not antialiased); exact zeros are normal, exact ones abnormal. Of an
    abnormal image without mask, or with an empty one, no patch counts. Where no patch of any image is abnormal by that
    rule, each that a mask touches is, and each of an abnormal image without mask; a message says so.
    """
    n, masks = len(support), support.masks.float()[:, None]
    inside = F.interpolate(masks, size=(grid, grid), mode="bilinear", align_corners=False).flatten(1)
    unmarked = (support.labels == 1) & ~support.masks.flatten(1).any(1)
    unknown = unmarked[:, None].expand(n, grid**2)
    states = torch.full((n, grid**2), -1)
    states[(inside == 0) & ~unknown] = 0
    states[(inside == 1) & ~unknown] = 1
    if not (states == 1).any():
        print(
            "adbench: mrad found no patch that a mask fills: each that a mask touches counts as abnormal, and each of "
            "an abnormal image without mask.",
            file=sys.stderr,
        )
        states[(F.adaptive_max_pool2d(masks, grid).flatten(1) > 0) | unknown] = 1
    return states


def retrieved(queries: Tensor, rows: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Return (...) in [0, 1]: the softmax weights of the rows (N, C) that have label 1, summed, for queries (..., C).

    The logits are the products, cosines where both have unit length, over the temperature. In fp32, also under
    autocast.

    >>> rows, labels = torch.eye(2), torch.tensor([0.0, 1.0])
    >>> round(float(retrieved(torch.tensor([0.0, 1.0]), rows, labels, 1.0)), 4)  # e / (e + 1)
    0.7311
    """
    with torch.autocast(queries.device.type, enabled=False):
        return (queries @ rows.T / temperature).softmax(-1) @ labels
