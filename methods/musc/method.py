"""MuSc: zero-shot anomaly classification and segmentation by mutual scoring (Li et al., ICLR 2024, arXiv 2401.16753).

Nothing is trained and nothing is learned from: the unlabelled test images score each other. A patch is normal if most
other images hold one like it. Patch tokens are averaged over neighbourhoods of several sizes (LNAMD); a patch's score
is the mean of its distances to the images nearest to it (MSM); the image score, the maximum of the map, is smoothed
over the images whose CLIP embedding is similar (RsCIN).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from adbench.backbone.config import Architecture
from adbench.blocks.maps import patch_map
from adbench.blocks.memory_bank import most_similar_in_each
from adbench.blocks.observed import fingerprints, first_rows
from adbench.blocks.precision import l2_normalize
from adbench.blocks.validate import at_least, positive, shares
from adbench.errors import AdbenchError
from adbench.method import Batch, Capability, Method, Scores
from adbench.system.progress import track

AT_ONCE = 64  # images whose tokens are pooled, or maps drawn, together


@dataclass
class Params:
    """Hyper-parameters. The defaults are the paper's."""

    blocks: list[int] = field(default_factory=list)  # empty: at 1/4, 2/4, 3/4 and 4/4 of the depth
    sides: list[int] = field(default_factory=lambda: [1, 3, 5])  # of the neighbourhoods, in patches
    nearest: float = 0.3  # share of the other images, the nearest ones, that a patch is compared with
    neighbours: list[int] = field(default_factory=lambda: [1, 2, 3])  # images that a score is smoothed over; []: none
    divide: int = 1  # random parts of the test images; those of one part are compared with each other
    activation: str = "native"
    normalisation: str = "native"


class MuSc(Method[Params]):
    """Test images that score each other."""

    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        """Learn from nothing, and look at all test images."""
        at_least(params, 1, "divide")
        positive(params, "nearest")
        shares(params, "nearest")
        _each_once(params.sides, "sides", "odd sides in patches", "[1,3,5]", all(side % 2 for side in params.sides))
        if params.neighbours:
            _each_once(params.neighbours, "neighbours", "numbers of images", "[1,2,3], or none", True)
        return Capability(
            support="none",
            blocks=tuple(params.blocks) or tuple(dict.fromkeys(max(1, level) for level in architecture.levels(4))),
            pooled=True,
            class_token=False,
            stochastic=params.divide > 1,
            normalisation=params.normalisation,
            activation=params.activation,
            transductive=True,
        )

    def build(self) -> None:
        """Prepare to keep what is observed; nothing of it is saved."""
        self.row_of: dict[str, int] = {}  # of an observed image
        for name in ("embeddings", "patch_scores", "image_scores", *(f"tokens_{block}" for block in self.blocks)):
            self.register_buffer(name, torch.empty(0), persistent=False)

    def observe_test_images(self, batches: Iterable[Batch]) -> None:
        """Compare all images with each other, one block and neighbourhood after the other."""
        tokens: dict[int, list[Tensor]] = {block: [] for block in self.blocks}
        embeddings, names = [], []
        for batch in batches:
            for block in self.blocks:
                tokens[block].append(batch.features.blocks[block][:, self.backbone.architecture.prefix :].float())
            assert batch.features.pooled is not None
            embeddings.append(l2_normalize(batch.features.pooled))
            names += fingerprints(batch.images)
        parts = self._parts(len(names))
        for block in self.blocks:
            setattr(self, f"tokens_{block}", torch.cat(tokens.pop(block)))
        self.embeddings, self.row_of = torch.cat(embeddings), first_rows(names)
        observed = {block: self._tokens(block) for block in self.blocks}
        self.patch_scores = self._compared(observed, range(len(names)), parts)
        maxima = [self._map(some).flatten(1).amax(1) for some in self.patch_scores.split(AT_ONCE)]
        self.image_scores = torch.cat(maxima)

    def score(self, batch: Batch) -> Scores:
        """Return what the images observed say of each image; one that wasn't observed is compared with all of them."""
        features = batch.features
        assert features.pooled is not None
        rows = [self.row_of.get(name) for name in fingerprints(batch.images)]
        new = [i for i, row in enumerate(rows) if row is None]
        patches = self.patch_scores[[row or 0 for row in rows]]
        if new:
            tokens = {
                block: features.blocks[block][new, self.backbone.architecture.prefix :].float() for block in self.blocks
            }
            patches[new] = self._compared(tokens, [None] * len(new), [torch.arange(len(self.embeddings))])
        maps = self._map(patches)
        scores = maps.flatten(1).amax(1)
        if self.params.neighbours:
            embeddings = l2_normalize(features.pooled)
            observed = self.image_scores, self.embeddings
            scores = smoothed(scores, embeddings, rows, *observed, self.params.neighbours)
        return Scores(scores, maps)

    def _parts(self, n: int) -> list[Tensor]:
        """Return the rows of the images of each part: random where there are several."""
        if n < 2 * self.params.divide:
            each = f" in each of {self.params.divide} parts (method.divide)" if self.params.divide > 1 else ""
            raise AdbenchError(
                f"musc compares each image with others, and {n} {'was' if n == 1 else 'were'} given: it needs two or "
                f"more{each}, as in adbench score RECORD FOLDER."
            )
        if self.params.divide == 1:
            return [torch.arange(n)]
        order = torch.randperm(n, generator=self.generator("divide"))
        return [part.sort().values for part in order.tensor_split(self.params.divide)]

    def _tokens(self, block: int) -> Tensor:
        return self.get_buffer(f"tokens_{block}")

    def _map(self, patches: Tensor) -> Tensor:
        return patch_map(patches, self.backbone.input_size)

    def _compared(self, queries: dict[int, Tensor], own: Sequence[int | None], parts: Sequence[Tensor]) -> Tensor:
        """Return the patch scores (Q, patches) of query tokens (Q, patches, width): the mean over blocks and sides.

        own: the rows of the queries among the images observed. Those of a part are compared within it; None: with all.
        """
        steps = [(block, side) for side in self.params.sides for block in self.blocks]
        total = torch.zeros(len(own), self.backbone.grid**2, device=self.device)
        for block, side in track(steps, "comparing the images", len(steps)):
            observed, asked = neighbourhoods(self._tokens(block), side), neighbourhoods(queries[block], side)
            for part in parts:
                place = {int(row): at for at, row in enumerate(part)}
                images = observed if len(parts) == 1 else observed[part]
                for i, row in enumerate(own):
                    if row is None or row in place:
                        at = None if row is None else place[row]
                        total[i] += mutual_score(asked[i], images, at, self.params.nearest)
        return total / len(steps)


def neighbourhoods(tokens: Tensor, side: int) -> Tensor:
    """Return unit vectors (N, patches, C), fp32: tokens averaged over `side` x `side` patches (LNAMD).

    All numbers of an image are normed together first. Beyond the border there are zeros, which count in the mean.
    """
    grid = round(tokens.shape[1] ** 0.5)
    parts = []
    for part in tokens.float().split(AT_ONCE):
        square = F.layer_norm(part, part.shape[1:]).transpose(1, 2).unflatten(2, (grid, grid))
        pooled = F.avg_pool2d(square, side, stride=1, padding=side // 2)
        parts.append(l2_normalize(pooled.flatten(2).transpose(1, 2)))
    return torch.cat(parts)


def mutual_score(queries: Tensor, images: Tensor, own: int | None, share: float) -> Tensor:
    """Return the scores (P,) of the patches (P, C) of an image, given images (N, P, C); all unit vectors (MSM).

    A patch's distance to an image is the Euclidean one to its nearest patch; the score is the mean of the lowest
    `share` of them, at least one. The image at the row `own` is left out.
    """
    similar = most_similar_in_each(queries, images)
    if own is not None:
        similar = torch.cat([similar[:, :own], similar[:, own + 1 :]], dim=1)
    distances = (2 - 2 * similar).clamp(min=0).sqrt()
    return distances.topk(max(1, int(share * distances.shape[1])), largest=False).values.mean(1)


def smoothed(
    scores: Tensor, embeddings: Tensor, own: Sequence[int | None], observed_scores: Tensor, observed: Tensor,
    neighbours: Sequence[int],
) -> Tensor:  # fmt: skip
    """Return the scores (B,) averaged over similar images, for each number of `neighbours`, and their mean (RsCIN).

    scores, embeddings: of the images (B,) and (B, E), unit vectors. observed_scores, observed: (N,) and (N, E), with
    the images themselves at the rows `own`. All scores are first mapped to 0 to 1 by the least and the largest one
    observed. An image counts as its own nearest neighbour, with weight 1; others weigh their cosine, negative ones 0.
    """
    low, spread = observed_scores.min(), observed_scores.max() - observed_scores.min()
    scale = 1 / spread if spread > 0 else torch.zeros_like(spread)
    with torch.autocast(embeddings.device.type, enabled=False):
        similar = (embeddings @ observed.T).clamp(min=0)
    for i, row in enumerate(own):
        if row is not None:
            similar[i, row] = -1  # itself, which comes first, below
    weights = torch.cat([torch.ones_like(similar[:, :1]), similar], dim=1)
    values = torch.cat([scores[:, None], observed_scores.expand(len(scores), -1)], dim=1)
    found = []
    for count in neighbours:
        top = weights.topk(min(count, len(observed)), dim=1)
        found.append((top.values * values.gather(1, top.indices)).sum(1) / top.values.sum(1))
    return (torch.stack(found).mean(0) - low) * scale


def _each_once(numbers: Sequence[int], key: str, what: str, example: str, allowed: bool) -> None:
    if not numbers or min(numbers) < 1 or len(set(numbers)) < len(numbers) or not allowed:
        raise AdbenchError(
            f"method.{key}=[{','.join(map(str, numbers))}] is not possible: name {what}, each once, as in "
            f"method.{key}={example}."
        )
