"""A multivariate Gaussian at each position of a grid, and the Mahalanobis distance to it.

The covariance is S + epsilon I (PaDiM, Sec. III.B), with S that of n images over n - 1; S of one image is zero. Two
forms give the same distance, and the smaller one is taken:

* n <= C images: A (n, C) holds their differences to the mean over sqrt(n - 1), and S = A'A. No C x C matrix exists.
* n > C images: mean and S are streamed over the images; kept is the inverse of the covariance's Cholesky factor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

AT_ONCE = 64  # positions whose covariances are inverted together, in fp64


class Gaussians(NamedTuple):
    """Gaussians at P positions over C channels, fp32. A form leaves the tensors of the other one empty.

    mean (P, C). differences (P, n, C): A. gram (P, n, n): the Cholesky factor of A A' + epsilon I.
    whitening (P, C, C): the inverse of the Cholesky factor of S + epsilon I.
    """

    mean: Tensor
    differences: Tensor
    gram: Tensor
    whitening: Tensor


def fitted(chunks: Iterable[Tensor], images: int, epsilon: float) -> Gaussians:
    """Fit Gaussians to `images` images, which come in chunks (m, P, C) of any sizes; epsilon > 0.

    What comes out has P x C x min(n, C) numbers; while it is made, several times as many are held, in fp64 too.

    >>> three = torch.tensor([[[0.0]], [[1.0]], [[2.0]]])  # three images, one position, one channel: variance 1
    >>> float(mahalanobis(torch.tensor([[[4.0]]]), fitted([three], 3, epsilon=1.25), epsilon=1.25))  # 3 / 1.5
    2.0
    """
    parts = (chunk.float() for chunk in chunks)
    first = next(parts)
    return _of_few([first, *parts], epsilon) if images <= first.shape[2] else _of_many(first, parts, epsilon)


def _of_few(parts: list[Tensor], epsilon: float) -> Gaussians:
    rows = torch.cat(parts)
    mean, n = rows.mean(0), len(rows)
    differences = ((rows - mean) / max(1, n - 1) ** 0.5).transpose(0, 1).contiguous()
    exact = differences.double()
    gram = torch.linalg.cholesky(exact @ exact.mT + epsilon * torch.eye(n, dtype=exact.dtype))
    return Gaussians(mean, differences, gram.float(), mean.new_empty(0, 0, 0))


def _of_many(first: Tensor, more: Iterator[Tensor], epsilon: float) -> Gaussians:
    mean, scatter, n = first.mean(0), _scatter(first), len(first)
    for part in more:  # two groups' scatter: each one's own, and that between their means (Chan et al., 1979)
        m, apart = len(part), part.mean(0) - mean
        scatter += _scatter(part)
        scatter += (apart[:, :, None] * apart[:, None]) * (n * m / (n + m))
        mean, n = mean + apart * (m / (n + m)), n + m
    eye = torch.eye(mean.shape[1], dtype=torch.float64)
    for positions in scatter.split(AT_ONCE):  # in place: of P matrices there is one copy
        factor = torch.linalg.cholesky(positions.double() / (n - 1) + epsilon * eye)
        positions.copy_(torch.linalg.solve_triangular(factor, eye.expand_as(factor), upper=False))
    none = mean.new_empty(0, 0, 0)
    return Gaussians(mean, none, none, scatter)


def _scatter(rows: Tensor) -> Tensor:
    """Return (P, C, C): the sum over (m, P, C) images of the products of their differences to their mean."""
    centred = (rows - rows.mean(0)).transpose(0, 1)
    return centred.mT @ centred


def mahalanobis(vectors: Tensor, some: Gaussians, epsilon: float) -> Tensor:
    """Return the Mahalanobis distance (B, P) of (B, P, C) vectors, in fp32 also under autocast (PaDiM, Eq. 2).

    With few images it is the least of |d - A't|² / epsilon + |t|² over t, for the difference d to the mean
    (Woodbury's identity): what no difference of images explains counts 1 / epsilon.
    """
    with torch.autocast(vectors.device.type, enabled=False):
        apart = (vectors.float() - some.mean).permute(1, 2, 0)  # (P, C, B)
        if some.whitening.numel():
            return (some.whitening @ apart).square().sum(1).sqrt().T
        t = torch.cholesky_solve(some.differences @ apart, some.gram)
        rest = apart - some.differences.mT @ t
        return (rest.square().sum(1) / epsilon + t.square().sum(1)).sqrt().T
