"""Memory banks: nearest neighbours of patch features among those of the support."""

from __future__ import annotations

import torch
from torch import Tensor

from adbench.errors import AdbenchError


def nearest(queries: Tensor, bank: Tensor, chunk: int = 4096) -> tuple[Tensor, Tensor]:
    """Return for (Q, C) queries the Euclidean distance to, and the index of, the nearest of (M, C) bank rows.

    In fp32, also under autocast: a product in bf16 mistakes the neighbour of most patches.

    >>> distance, index = nearest(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 3.0], [0.0, 0.0]]))
    >>> float(distance), int(index)
    (1.0, 1)
    """
    # The product finds the neighbour fast; its rounding is then kept out of the distance by taking the difference.
    bank = bank.float()
    half = bank.square().sum(1) / 2
    parts = torch.split(queries.float(), chunk)
    with torch.autocast(bank.device.type, enabled=False):
        found = [(half - part @ bank.T).argmin(1) for part in parts]
    distances = [(part - bank[index]).norm(dim=1) for part, index in zip(parts, found, strict=True)]
    return torch.cat(distances), torch.cat(found)


def coreset(features: Tensor, keep: float, generator: torch.Generator, project_to: int = 128) -> Tensor:
    """Return the indices of a greedy k-centre subset holding the share `keep` in (0, 1] of (N, C) features.

    Each step takes the row farthest from those taken so far (PatchCore, Roth et al., CVPR 2022, Alg. 1), measured
    after a random projection to `project_to` channels where the features are wider.
    """
    if not 0 < keep <= 1:
        raise AdbenchError(f"coreset={keep} is not possible: a share above 0 and up to 1 is needed.")
    total = max(1, round(len(features) * keep))
    if total == len(features):
        return torch.arange(total)
    points = features.float().cpu()
    if points.shape[1] > project_to:
        points = points @ torch.randn(points.shape[1], project_to, generator=generator) / project_to**0.5
    taken = [int(torch.randint(len(points), (1,), generator=generator))]
    distance = (points - points[taken[0]]).square().sum(1)
    while len(taken) < total:
        taken.append(int(distance.argmax()))
        distance = torch.minimum(distance, (points - points[taken[-1]]).square().sum(1))
    return torch.tensor(taken)
