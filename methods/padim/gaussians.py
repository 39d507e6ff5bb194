"""A multivariate Gaussian at each position of a grid, and the Mahalanobis distance to it.

The covariance is S + epsilon I (PaDiM, Sec. III.B), with S that of n images over n - 1; S of one image is zero. Two
forms give the same distance, and the smaller one is taken:

* n <= C images: A (n, C) holds their differences to the mean over sqrt(n - 1), and S = A'A. No C x C matrix exists.
* n > C images: mean and S are streamed over the images; kept is the inverse of the covariance's Cholesky factor.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

AT_ONCE = 16  # positions whose covariances are added to or inverted together, in fp64


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

    What comes out has P x C x min(n, C) numbers. While it is made, no more is held than these, one chunk and some
    positions in fp64, however many images there are.

    >>> three = torch.tensor([[[0.0]], [[1.0]], [[2.0]]])  # three images, one position, one channel: variance 1
    >>> float(mahalanobis(torch.tensor([[[4.0]]]), fitted([three], 3, epsilon=1.25), epsilon=1.25))  # 3 / 1.5
    2.0
    """
    parts = (chunk.float() for chunk in chunks)
    first = next(parts)
    return _of_few(first, parts, images, epsilon) if images <= first.shape[2] else _of_many(first, parts, epsilon)


def _of_few(first: Tensor, more: Iterator[Tensor], n: int, epsilon: float) -> Gaussians:
    _, positions, channels = first.shape
    mean, gram = first.new_empty(positions, channels), first.new_empty(positions, n, n)
    differences, start = first.new_empty(positions, n, channels), 0
    for part in itertools.chain([first], more):
        differences[:, start : start + len(part)] = part.transpose(0, 1)
        start += len(part)
    for here in _places(positions):  # in place
        rows = differences[here]
        mean[here] = rows.transpose(0, 1).contiguous().mean(0)  # images first: the same bits for any AT_ONCE
        rows.sub_(mean[here, None]).div_(max(1, n - 1) ** 0.5)
        exact = rows.double()
        gram[here] = torch.linalg.cholesky(exact @ exact.mT + epsilon * torch.eye(n, dtype=exact.dtype))
    return Gaussians(mean, differences, gram, mean.new_empty(0, 0, 0))


def _of_many(first: Tensor, more: Iterator[Tensor], epsilon: float) -> Gaussians:
    _, positions, channels = first.shape
    mean, seen = first.new_zeros(positions, channels), 0
    scatter = first.new_zeros(positions, channels, channels)
    for part in itertools.chain([first], more):
        m, own = len(part), part.mean(0)
        apart = own - mean if seen else torch.zeros_like(mean)
        for here in _places(positions):  # each group's own scatter, and that between their means (Chan et al., 1979)
            centred = (part[:, here] - own[here]).transpose(0, 1)
            scatter[here] += centred.mT @ centred
            scatter[here] += (apart[here, :, None] * apart[here, None]) * (seen * m / (seen + m))
        mean, seen = mean + apart * (m / (seen + m)) if seen else own, seen + m
    eye = torch.eye(channels, dtype=torch.float64)
    for here in _places(positions):  # in place: of P matrices there is one copy
        factor = torch.linalg.cholesky(scatter[here].double() / (seen - 1) + epsilon * eye)
        scatter[here] = torch.linalg.solve_triangular(factor, eye.expand_as(factor), upper=False).float()
    none = mean.new_empty(0, 0, 0)
    return Gaussians(mean, none, none, scatter)


def _places(positions: int) -> Iterator[slice]:
    return (slice(start, start + AT_ONCE) for start in range(0, positions, AT_ONCE))


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
