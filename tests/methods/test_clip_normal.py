from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from adbench.errors import AdbenchError


def unit(rows: torch.Tensor) -> NDArray[np.float64]:
    x = rows.double().numpy()
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.mark.parametrize(("words", "levels"), [({}, (3, 6, 9, 12)), ({"levels": "[2,5]"}, (2, 5))])
@pytest.mark.parametrize("image_score", ["map_max", "pooled"])
def test_scores_equal_plain_numpy(bench, support, words: dict[str, str], levels: tuple[int], image_score: str) -> None:
    method, toy = bench.fitted("clip_normal", image_score=image_score, **words), support()
    assert method.declared.blocks == levels
    batch = bench.batch(method, toy.images[2:5])
    with torch.no_grad():
        scores, maps = method.score(batch), method.level_maps(batch)
    normal = bench.batch(method, toy.images[:3]).features
    distances = []
    for level in levels:
        bank = unit(normal.blocks[level][:, 1:].flatten(0, 1))
        distances.append(1 - (unit(batch.features.blocks[level][:, 1:]) @ bank.T).max(-1))
    distance = np.mean(distances, axis=0)
    image = distance.max(1)
    if image_score == "pooled":
        image = 1 - (unit(batch.features.pooled) @ unit(normal.pooled).T).max(1)
    np.testing.assert_allclose(scores.image, image, atol=2e-6)
    square = torch.from_numpy(distance).float().view(3, 1, 8, 8)
    wanted = F.interpolate(square, (112, 112), mode="bilinear", align_corners=True)[:, 0]
    torch.testing.assert_close(scores.maps, wanted, atol=2e-6, rtol=1e-4)
    torch.testing.assert_close(torch.stack([*maps.values()]).mean(0), scores.maps, atol=1e-6, rtol=1e-4)
    assert float(scores.image[0]) == pytest.approx(0, abs=2e-6), "its own support"
    assert scores.image[0] < scores.image[1:].min()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"image_score": "auto"}, r"method\.image_score=auto is not possible: choose from map_max, pooled"),
        ({"levels": "[5,2]"}, r"method\.levels=\[5, 2\] is not possible: give rising block numbers from 1 to 12"),
        ({"levels": "[13]"}, r"method\.levels=\[13\] is not possible"),
    ],
)
def test_what_is_not_possible_is_refused(bench, words: dict[str, str], message: str) -> None:
    with pytest.raises(AdbenchError, match=message):
        bench.new("clip_normal", **words)
