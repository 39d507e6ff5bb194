from __future__ import annotations

from pathlib import Path

import pytest
import torch

from adbench.backbone import Backbone
from adbench.errors import AdbenchError
from adbench.features import FrozenFeatures
from adbench.files import shrink


def frozen(random_clip: Backbone, folder: Path | None, precision: str = "32-true") -> FrozenFeatures:
    return FrozenFeatures(random_clip, "weights", (3, 12), True, precision, folder)


def test_cold_warm_and_absent_caches_give_the_same_bits(
    tmp_path: Path, random_clip: Backbone, noise: torch.Tensor
) -> None:
    absent = frozen(random_clip, None)(noise)
    cold = frozen(random_clip, tmp_path)(noise)
    warm = frozen(random_clip, tmp_path)(noise)
    for other in (cold, warm):
        assert all(torch.equal(other.blocks[b], absent.blocks[b]) for b in (3, 12))
        assert torch.equal(other.pooled, absent.pooled)


def test_an_images_features_do_not_depend_on_its_company(random_clip: Backbone, noise: torch.Tensor) -> None:
    together = frozen(random_clip, None)(noise)
    alone = frozen(random_clip, None)(noise[2:3])
    assert torch.equal(together.blocks[12][2:3], alone.blocks[12])


def test_a_warm_cache_runs_no_network(tmp_path: Path, random_clip: Backbone, noise: torch.Tensor, monkeypatch) -> None:
    frozen(random_clip, tmp_path)(noise)
    monkeypatch.setattr(random_clip, "features", lambda *_: pytest.fail("the network ran"))
    frozen(random_clip, tmp_path)(noise)


def test_other_pixels_or_another_precision_are_other_features(
    tmp_path: Path, random_clip: Backbone, noise: torch.Tensor
) -> None:
    first = frozen(random_clip, tmp_path)(noise[:1])
    changed = noise[:1].clone()
    changed[0, 0, 0, 0] += 1e-3
    assert not torch.equal(frozen(random_clip, tmp_path)(changed).blocks[12], first.blocks[12])
    half = frozen(random_clip, tmp_path, "bf16-mixed")(noise[:1])
    assert half.blocks[3].dtype == torch.bfloat16


def test_damaged_features_are_named(tmp_path: Path, random_clip: Backbone, noise: torch.Tensor) -> None:
    frozen(random_clip, tmp_path)(noise[:1])
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(AdbenchError, match=rf"{file.name} are damaged.*Remove that file"):
        frozen(random_clip, tmp_path)(noise[:1])


def test_the_cache_stays_within_its_limit_and_drops_the_oldest(
    tmp_path: Path, random_clip: Backbone, noise: torch.Tensor
) -> None:
    for image in noise:
        frozen(random_clip, tmp_path)(image[None])
    sizes = [p.stat().st_size for p in tmp_path.rglob("*.safetensors")]
    frozen(random_clip, tmp_path)(noise[:1])  # used last
    assert shrink([tmp_path], 2.5 * sizes[0] / 1e9) == 2
    left = list(tmp_path.rglob("*.safetensors"))
    assert len(left) == 2
    assert frozen(random_clip, tmp_path)._path(noise[0]) in left
