from __future__ import annotations

import dataclasses

import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.nn import functional as F

from adbench.backbone.build import build
from adbench.backbone.config import Architecture
from adbench.errors import AdbenchError
from adbench.method import unmet
from adbench.methods.mrad.method import MRAD, Params, cell_states, retrieved, window_mean


def test_a_window_by_hand() -> None:
    tokens = torch.arange(9.0)[None, :, None].expand(1, 9, 2)
    assert torch.equal(window_mean(tokens, 1), tokens)
    # The corner: 0 + 1 + 3 + 4, of nine; the middle: the mean of all.
    assert window_mean(tokens, 3)[0, [0, 4], 0].tolist() == pytest.approx([8 / 9, 4.0])
    assert window_mean(tokens, 5)[0, :, 1].tolist() == pytest.approx([36 / 25] * 9)


def test_retrieval_by_hand() -> None:
    rows = F.normalize(torch.tensor([[1.0, 0], [0, 1.0], [1.0, 1.0]]), dim=-1)
    labels = torch.tensor([0.0, 1.0, 1.0])
    query = torch.tensor([[[1.0, 0.0]]])
    e = torch.tensor([1.0, 0.0, 0.5**0.5])
    for temperature in (1.0, 0.1):
        weights = (e / temperature).exp()
        wanted = float((weights[1] + weights[2]) / weights.sum())
        assert retrieved(query, rows, labels, temperature).item() == pytest.approx(wanted)


def a_mask(support, *rows: slice) -> torch.Tensor:
    masks = torch.zeros_like(support.masks)
    for i, row in enumerate(rows):
        masks[3 + i, row, 0:28] = True
    return masks


def test_which_patches_a_mask_fills(support, capsys) -> None:
    toy = support()
    # Of a grid of 8 x 8 cells of 14 px: cells 0 and 1 in row 0; half of two cells in row 1; nothing.
    toy = dataclasses.replace(toy, masks=a_mask(toy, slice(0, 14), slice(14, 21)))
    states = cell_states(toy, 8)
    assert (states[:3] == 0).all()
    assert (states[3] == 1).nonzero().flatten().tolist() == [0, 1]
    assert (states[3] == 0).sum() == 62
    # Pixels 20 and 21 are the two next to the middle of row 1: one of them is abnormal.
    assert (states[4] == -1).nonzero().flatten().tolist() == [8, 9]
    assert (states[5] == -1).all(), "abnormal somewhere"
    assert not capsys.readouterr().err


def test_lesions_smaller_than_a_patch_and_images_without_masks(support, capsys) -> None:
    toy = support()
    small = dataclasses.replace(toy, masks=a_mask(toy, slice(0, 3), slice(16, 17)))
    states = cell_states(small, 8)
    assert (states[3] == 1).nonzero().flatten().tolist() == [0, 1]
    assert (states[4] == 1).nonzero().flatten().tolist() == [8, 9]
    assert "no patch that a mask fills" in capsys.readouterr().err
    states = cell_states(support(masks=False), 8)
    assert (states[:3] == 0).all()
    assert (states[3:] == 1).all()


@torch.no_grad()
def test_the_score_by_hand(bench, support) -> None:
    toy = support()
    method = bench.fitted("mrad")
    assert method.declared.vv_from == 2
    features = bench.backbone.features(toy.images, (12,), vv=(12,), vv_from=2)
    visual = bench.backbone.model.visual
    own = F.normalize(features.blocks[12][:, 0] @ visual.proj, dim=-1)
    square = visual.ln_post(features.vv[12][:, 1:]).transpose(1, 2).unflatten(2, (8, 8))
    pools = []
    for side in (1, 3, 5):
        padded = F.pad(square, (side // 2,) * 4)
        pools.append(padded.unfold(2, side, 1).unfold(3, side, 1).mean((-1, -2)))
    vectors = (sum(pools) / 3).flatten(2).transpose(1, 2)
    patches = F.normalize(vectors, dim=-1)

    inside = F.interpolate(toy.masks.float()[:, None], (8, 8), mode="bilinear").flatten(1)
    assert ((inside == 1).any(1) == torch.tensor([False] * 3 + [True] * 3)).all()
    rows = [vectors[i][inside[i] == 0].mean(0) for i in range(6)]  # of any length: long ones count more
    rows += [vectors[i][inside[i] == 1].mean(0) for i in (3, 4, 5)]
    rows, labels = F.normalize(torch.stack(rows), dim=-1), torch.tensor([0.0] * 6 + [1.0] * 3)
    sort = labels.argsort(stable=True)
    mine = method.patch_rows[method.patch_labels.argsort(stable=True)]
    torch.testing.assert_close(mine, rows[sort], atol=1e-6, rtol=1e-5)
    assert method.patch_rows.shape == (9, 128)
    assert sorted(method.patch_labels.tolist()) == labels.tolist()
    probability = ((patches @ rows.T).softmax(-1) @ labels).view(6, 1, 8, 8)
    maps = F.interpolate(probability, size=112, mode="bilinear", align_corners=False)
    blurred = torch.stack([torch.from_numpy(gaussian_filter(one.numpy(), 4.0)) for one in maps[:, 0]])
    image = (own @ own.T).softmax(-1) @ toy.labels.float()
    top = blurred.flatten(1).topk(125).values.mean(1)  # of 12,544 pixels
    scores = method.score(bench.batch(method, toy.images))
    torch.testing.assert_close(scores.maps, blurred, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(scores.image, 0.7 * image + 0.3 * top, atol=1e-5, rtol=1e-4)


def test_a_small_lesion_stands_out_in_its_map(bench, support) -> None:
    toy = support()
    method = bench.fitted("mrad", sides="[1]", sigma=0)
    with torch.no_grad():
        scores = method.score(bench.batch(method, toy.images))
    for own, where in zip(scores.maps[3:], toy.masks[3:], strict=True):
        assert own[where].mean() > own[~where].mean()


def test_the_blocks_at_the_published_size(facts) -> None:
    with torch.device("meta"):
        backbone = build("ViT-L-14-336", facts("ViT-L-14-336", weights="random"), 518)
        method = MRAD.create(Params(), backbone.to(torch.device("meta")))
    assert not list(method.parameters())
    assert (method.declared.blocks, method.declared.vv, method.declared.vv_from) == ((24,), (24,), 2)
    assert (method.declared.epochs, method.declared.stochastic) == (0, False)


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("vv_from", 6), ("sides", "[1]"), ("temperature", 0.1), ("image_vector", "embedding"), ("image_share", 0.5),
        ("top", 0.5), ("sigma", 0),
    ],
)  # fmt: skip
def test_every_facet_does_something(bench, support, param: str, value: object) -> None:
    with torch.no_grad():
        one, other = (bench.fitted("mrad", **params) for params in ({}, {param: value}))
        pair = [method.score(bench.batch(method, support().images)).image for method in (one, other)]
    assert not torch.allclose(*pair, rtol=1e-5)


def test_what_it_needs_of_a_backbone() -> None:
    dino = Architecture(depth=12, width=384, patch=14, embed_dim=384, kind="vit")
    assert unmet(MRAD.capability(Params(), dino), dino) == "a projection of patches into the space of text"
    assert unmet(MRAD.capability(Params(image_vector="token"), dino), dino) is None
    bare = dataclasses.replace(dino, class_token=False)
    assert unmet(MRAD.capability(Params(image_vector="token"), bare), bare) == "a class token"
    cnn = Architecture(depth=0, width=0, patch=0, embed_dim=512, kind="cnn")
    assert unmet(MRAD.capability(Params(image_vector="token"), cnn), cnn) == "the blocks of a ViT"


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"image_vector": "cls"}, r"method\.image_vector=cls is not possible: choose from projected, embedding, token"),
        ({"sides": "[2]"}, r"method\.sides=\[2\] is not possible: give odd numbers"),
        ({"sides": "[]"}, r"method\.sides=\[\] is not possible: give odd numbers"),
        ({"temperature": 0}, r"method\.temperature=0\.?0? is not possible"),
        ({"image_share": 2}, r"method\.image_share=2\.?0? is not possible: a share"),
        ({"top": 0}, r"method\.top=0\.?0? is not possible"),
        ({"sigma": -1}, r"method\.sigma=-1"),
    ],
)
def test_what_is_not_possible(bench, params: dict[str, object], said: str) -> None:
    with pytest.raises(AdbenchError, match=said):
        bench.new("mrad", **params)


def test_one_class_alone_is_no_memory(bench, support) -> None:
    with pytest.raises(AdbenchError, match="mrad learns to tell two classes apart and was given 0 normal and 6"):
        bench.new("mrad").build_memory(dataclasses.replace(support(), labels=torch.ones(6, dtype=torch.long)))
