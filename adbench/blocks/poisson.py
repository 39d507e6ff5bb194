"""Seamless cloning: Poisson image editing (Pérez, Gangnet, Blake, SIGGRAPH 2003)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import spsolve


def seamless(
    image: NDArray[np.uint8], piece: NDArray[np.floating], shape: NDArray[np.bool_], corner: NDArray[np.int_]
) -> NDArray[np.uint8]:
    """Clone `piece` (C, h, w) in 0 to 255 into the pixels of `shape` (h, w), its first one at `corner` of (C, H, W).

    Inside, the Laplacian is the piece's; outside, the image is unchanged and gives the boundary values (Eq. 7).
    Neighbours outside the piece contribute zero gradient; neighbours outside the image are dropped.
    """
    height, width = shape.shape
    y, x = np.nonzero(shape)
    number = np.full(image.shape[1:], -1)
    gy, gx = y + corner[0], x + corner[1]
    number[gy, gx] = np.arange(len(y))
    values, count = piece[:, y, x], np.zeros(len(y))
    right = np.zeros((len(piece), len(y)))
    rows, columns = [], []
    for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        ny, nx = gy + dy, gx + dx
        inside = (ny >= 0) & (ny < image.shape[1]) & (nx >= 0) & (nx < image.shape[2])
        count += inside
        ny, nx = ny.clip(0, image.shape[1] - 1), nx.clip(0, image.shape[2] - 1)
        gradient = values - piece[:, (y + dy).clip(0, height - 1), (x + dx).clip(0, width - 1)]
        neighbour = number[ny, nx]
        fixed = inside & (neighbour < 0)
        right += gradient * inside + image[:, ny, nx] * fixed
        rows.append(np.nonzero(inside & ~fixed)[0])
        columns.append(neighbour[inside & ~fixed])
    i, j = np.concatenate(rows), np.concatenate(columns)
    diagonal = np.arange(len(y))
    entries = np.concatenate([count, -np.ones(len(i))])
    system = csc_matrix((entries, (np.r_[diagonal, i], np.r_[diagonal, j])))
    solved = spsolve(system, right.T).reshape(len(y), -1).T
    out = image.copy()
    out[:, gy, gx] = np.rint(solved).clip(0, 255)
    return out
