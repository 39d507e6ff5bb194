"""Memory banks: the distance of a patch to its nearest neighbour among the patches of the support."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor

from adbench.errors import AdbenchError

MAX_SIMILARITIES = 1 << 24  # held at once: 64 MB in fp32


def cosine_distance(
    queries: Tensor, bank: Tensor, max_similarities: int = MAX_SIMILARITIES, run_precision: bool = False
) -> Tensor:
    """Return the cosine distance (...), in [0, 2], of (..., C) queries to the nearest of (M, C) bank rows.

    Queries and rows are unit vectors, normalised by the caller. The bank is read in chunks of at most
    `max_similarities` similarities, and only the running maximum is kept. Computed in fp32, also under autocast;
    `run_precision` leaves the product to autocast, where cosines near 1 are 0.0005 (fp16) or 0.004 (bf16) apart.

    >>> round(float(cosine_distance(torch.tensor([0.0, 1.0]), torch.tensor([[1.0, 0.0], [0.6, 0.8]]))), 4)
    0.2
    """
    flat = queries.float().reshape(-1, queries.shape[-1])
    best = flat.new_full((len(flat),), -1.0)
    with nullcontext() if run_precision else torch.autocast(flat.device.type, enabled=False):
        for rows in torch.split(bank.float(), max(1, max_similarities // max(1, len(flat)))):
            best = torch.maximum(best, (flat @ rows.T).to(best.dtype).amax(1))
    return (1 - best).view(queries.shape[:-1])


def most_similar_in_each(queries: Tensor, images: Tensor, max_similarities: int = MAX_SIMILARITIES) -> Tensor:
    """Return (Q, N): the cosine of each of (Q, C) queries with the most similar of the P patches of each of N images.

    `images` is (N, P, C); queries and patches are unit vectors, normalised by the caller. At most `max_similarities`
    cosines are held at once, or those with one image. Computed in fp32, also under autocast.

    >>> patches = torch.tensor([[[1.0, 0.0], [0.6, 0.8]], [[0.0, 1.0], [1.0, 0.0]]])
    >>> most_similar_in_each(torch.tensor([[0.0, 1.0]]), patches).tolist()
    [[0.800000011920929, 1.0]]
    """
    at_once = max(1, max_similarities // max(1, len(queries) * images.shape[1]))
    parts = torch.split(images.float(), at_once)
    with torch.autocast(queries.device.type, enabled=False):
        found = [(part.flatten(0, 1) @ queries.float().T).unflatten(0, part.shape[:2]).amax(1) for part in parts]
    return torch.cat(found).T


def nearest(queries: Tensor, bank: Tensor, chunk: int = 4096) -> tuple[Tensor, Tensor]:
    """Return for (Q, C) queries the Euclidean distance (Q,) to, and the index (Q,) of, the nearest of (M, C) bank rows.

    Computed in fp32, also under autocast: a product in bf16 finds the wrong neighbour for most patches.

    >>> distance, index = nearest(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 3.0], [0.0, 0.0]]))
    >>> float(distance), int(index)
    (1.0, 1)
    """
    # The neighbour comes from a product, which is fast; the distance from the difference, which doesn't round as much.
    bank = bank.float()
    half = bank.square().sum(1) / 2
    parts = torch.split(queries.float(), chunk)
    with torch.autocast(bank.device.type, enabled=False):
        indices = [(half - part @ bank.T).argmin(1) for part in parts]
    distances = [(part - bank[index]).norm(dim=1) for part, index in zip(parts, indices, strict=True)]
    return torch.cat(distances), torch.cat(indices)


def coreset(features: Tensor, keep: float, generator: torch.Generator, project_to: int = 128) -> Tensor:
    """Return the indices of a greedy k-centre subset with the share `keep`, in (0, 1], of (N, C) features.

    Distances are measured after a random projection to `project_to` channels where the features are wider, and the
    first row is a random one (PatchCore, Roth et al., CVPR 2022, Alg. 1).
    """
    if not 0 < keep <= 1:
        raise AdbenchError(f"coreset={keep} is not possible: a share above 0 and up to 1 is needed.")
    total = max(1, round(len(features) * keep))
    if total == len(features):
        return torch.arange(total)
    points = features.float().cpu()
    if points.shape[1] > project_to:
        points = points @ torch.randn(points.shape[1], project_to, generator=generator) / project_to**0.5
    return farthest_first(points, total, int(torch.randint(len(points), (1,), generator=generator)))


def farthest_first(points: Tensor, total: int, first: int) -> Tensor:
    """Return the indices of `total` of (N, C) points, in the order in which they are taken, from the row `first` on.

    Each step takes the row farthest from those taken so far, the first of equal ones: the greedy k-centre of PatchCore
    (Roth et al., CVPR 2022, Alg. 1). 1 <= total <= N.

    >>> farthest_first(torch.tensor([[0.0], [1.0], [10.0], [4.0]]), 3, first=0).tolist()
    [0, 2, 3]
    """
    taken = [first]
    distance = (points - points[first]).square().sum(1)
    while len(taken) < total:
        taken.append(int(distance.argmax()))
        distance = torch.minimum(distance, (points - points[taken[-1]]).square().sum(1))
    return torch.tensor(taken)
