from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from adbench.blocks.prompts import Prompts, ensemble
from adbench.errors import AdbenchError
from adbench.method import Batch


def test_clip_by_hand(bench, support) -> None:
    method = bench.fitted("clip")
    batch = bench.batch(method, support().images[:2])
    text = ensemble(bench.backbone, Prompts(), "Brain")
    with torch.no_grad():
        scores = method.score(batch)
        pooled = F.normalize(batch.features.pooled, dim=-1)
        image = (pooled @ text.T / 0.01).softmax(-1)[:, 1]
        visual = bench.backbone.model.visual
        tokens = F.normalize(visual.ln_post(batch.features.blocks[12][:, 1:]) @ visual.proj, dim=-1)
        patches = (tokens @ text.T / 0.01).softmax(-1)[..., 1].unflatten(1, (8, 8))
        maps = F.interpolate(patches[:, None], (112, 112), mode="bilinear", align_corners=True)[:, 0]
    torch.testing.assert_close(scores.image, image)
    torch.testing.assert_close(scores.maps, maps)


def test_clip_reads_each_images_own_object_name(bench, support) -> None:
    method = bench.fitted("clip")
    two = support().images[:2]
    features = method.encode(two.float() / 255)
    with torch.no_grad():
        mixed = method.score(Batch(two, features, ("a", "b"), ("Brain", "Liver"))).image
        brain = method.score(Batch(two, features, ("a", "a"), ("Brain", "Brain"))).image
        liver = method.score(Batch(two, features, ("b", "b"), ("Liver", "Liver"))).image
    torch.testing.assert_close(mixed, torch.stack([brain[0], liver[1]]))


def test_patchcore_finds_its_own_support_at_distance_zero(bench, support) -> None:
    method = bench.fitted("patchcore", coreset=1.0, sigma=0)
    toy = support()
    with torch.no_grad():
        scores = method.score(bench.batch(method, toy.images))
    torch.testing.assert_close(scores.maps[:3], torch.zeros(3, 112, 112), atol=1e-4, rtol=0)
    assert scores.image[3:].min() > scores.image[:3].max() + 0.1


def test_patchcore_score_by_hand(bench, support) -> None:
    method = bench.fitted("patchcore", neighbours=3, sigma=0)
    batch = bench.batch(method, support().images[3:4])
    with torch.no_grad():
        patches, bank = method._patches(batch.features)[0], method.bank
        distance = torch.cdist(patches, bank)
        worst = int(distance.min(1).values.argmax())
        star = int(distance[worst].argmin())
        around = torch.cdist(bank[star : star + 1], bank)[0].topk(3, largest=False).indices
        exponentials = torch.exp(distance[worst][around].double())
        weight = 1 - torch.exp(distance[worst, star].double()) / exponentials.sum()
        score = method.score(batch).image[0]
    torch.testing.assert_close(score.double(), weight * distance[worst, star], rtol=1e-4, atol=1e-5)


def test_patchcore_keeps_the_share_of_patches(bench) -> None:
    assert len(bench.fitted("patchcore", coreset=0.25).bank) == round(0.25 * 3 * 64)
    with pytest.raises(AdbenchError, match=r"method\.neighbourhood=2 is not possible"):
        bench.new("patchcore", neighbourhood=2)
