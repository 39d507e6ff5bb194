from __future__ import annotations

import dataclasses

import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.nn import functional as F

from adbench.backbone.build import build
from adbench.backbone.config import Architecture
from adbench.errors import AdbenchError
from adbench.method import fault_in, unmet
from adbench.methods.anomalyclip.method import AnomalyCLIP, Params

SMALL = {"epochs": 2, "levels": "[6, 12]"}


def big(patches: torch.Tensor) -> torch.Tensor:
    grid = patches.unflatten(1, (8, 8))[:, None]
    return F.interpolate(grid, (112, 112), mode="bilinear", align_corners=False)[:, 0]


def texts(bench, method, phrases: tuple[str, str] = ("object", "damaged object")) -> torch.Tensor:
    """Two unit text vectors (2, C), from the words, block by block, over the whole context."""
    model, rows = bench.backbone.model, []
    contexts = (method.learner.normal[0, 0], method.learner.abnormal[0, 0])
    for context, phrase in zip(contexts, phrases, strict=True):
        tokens = bench.backbone.tokenise([" ".join(["X"] * 12) + f" {phrase}."])
        stream = model.token_embedding(tokens)
        stream = torch.cat([stream[:, :1], context[None], stream[:, 13:]], dim=1) + model.positional_embedding
        for number, block in enumerate(model.transformer.resblocks, 1):
            if number > 1:
                own = method.deep.vectors[number - 2]
                stream = torch.cat([stream[:, :1], own[None], stream[:, 5:]], dim=1)
            stream = block(stream, attn_mask=model.attn_mask)
        end = int(tokens.argmax())
        rows.append(model.ln_final(stream)[0, end] @ model.text_projection)
    return F.normalize(torch.stack(rows), dim=-1)


def seen(bench, images: torch.Tensor, vv: tuple[int, ...] = (6, 12)) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Unit vectors of the images and, at each level, of the patches."""
    with torch.no_grad():
        features = bench.backbone.features(images, (12,), vv=vv, vv_from=3)
        visual = bench.backbone.model.visual
        own = F.normalize(features.blocks[12][:, 0] @ visual.proj, dim=-1)
        return own, [F.normalize(visual.ln_post(features.vv[b][:, 1:]) @ visual.proj, dim=-1) for b in vv]


def test_parameters_and_blocks_at_the_published_size(facts) -> None:
    with torch.device("meta"):
        backbone = build("ViT-L-14-336", facts("ViT-L-14-336", weights="random"), 518)
        method = AnomalyCLIP.create(Params(), backbone.to(torch.device("meta")))
    assert sum(p.numel() for p in method.parameters()) == 2 * 12 * 768 + 8 * 4 * 768 == 43_008
    declared = method.declared
    assert (declared.blocks, declared.vv, declared.vv_from) == ((24,), (24,), 6)
    assert (declared.support, declared.activation, declared.normalisation) == ("both", "native", "native")
    assert method.deep.vectors.shape == (8, 4, 768)


@torch.no_grad()
def test_scores_by_hand(bench, support) -> None:
    toy = support()
    method = bench.fitted("anomalyclip", sigma=0, **SMALL)
    own, levels = seen(bench, toy.images)
    text = texts(bench, method)
    maps = torch.zeros(6, 112, 112)
    for patches in levels:
        normal, abnormal = (big(state) for state in (patches @ text.T / 0.07).softmax(-1).unbind(-1))
        maps = maps + (abnormal + 1 - normal) / 2
    scores = method.score(bench.batch(method, toy.images))
    torch.testing.assert_close(scores.maps, maps, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(scores.image, (own @ text.T / 0.07).softmax(-1)[:, 1], atol=1e-5, rtol=1e-4)
    method.params.sigma = 4.0
    smooth = torch.stack([torch.from_numpy(gaussian_filter(one, 4.0)) for one in maps.detach().numpy()])
    torch.testing.assert_close(method.score(bench.batch(method, toy.images)).maps, smooth, atol=1e-5, rtol=1e-4)
    method.params.sigma = 0.0
    by_level = method.level_maps(bench.batch(method, toy.images))
    assert list(by_level) == [6, 12]
    torch.testing.assert_close(sum(by_level.values()), scores.maps)


@pytest.mark.parametrize("masked", [[0, 1, 2, 3, 4, 5], [0, 3, 5], []], ids=["masks", "some masks", "no masks"])
def test_one_training_step_is_the_sum_of_its_losses(bench, support, masked: list[int]) -> None:
    toy = dataclasses.replace(support(), has_mask=torch.tensor([i in masked for i in range(6)]))
    method = bench.new("anomalyclip", **SMALL)
    method.prepare(toy)
    loss = method.training_step([column.clone() for column in method.data.tensors], 0)
    own, levels = seen(bench, toy.images)
    text = texts(bench, method)
    probability = (own @ text.T / 0.07).softmax(-1)
    wanted = -probability[range(6), toy.labels].log().mean()
    for patches in levels if masked else []:
        normal, abnormal = (big(state)[masked] for state in (patches @ text.T / 0.07).softmax(-1).unbind(-1))
        mask = toy.masks[masked]
        right = torch.where(mask, abnormal, normal)
        p_t = (1 - 1e-5) * right + 1e-5 * (1 - right) + 1e-5
        wanted = wanted + 4 * (-((1 - p_t) ** 2) * p_t.log()).mean()
        for p, m in ((abnormal, mask), (normal, ~mask)):
            wanted = wanted + 4 * (1 - (2 * (p * m).sum((1, 2)) + 1) / (p.sum((1, 2)) + m.sum((1, 2)) + 1)).mean()
    assert float(loss.detach()) == pytest.approx(float(wanted.detach()), rel=1e-4)
    mine = torch.autograd.grad(loss, list(method.parameters()))
    theirs = torch.autograd.grad(wanted, list(method.parameters()))
    for found, by_hand in zip(mine, theirs, strict=True):
        torch.testing.assert_close(found, by_hand, atol=1e-5, rtol=1e-3)
        assert float(found.abs().max()) > 0


def test_the_published_prompts_name_no_object(bench) -> None:
    method = bench.new("anomalyclip")
    runs: list[int] = []
    method.deep.register_forward_hook(lambda *_: runs.append(1))
    assert torch.equal(*method._text(["Brain", "bottle"]))
    assert len(runs) == 1, "the same prompts run through the text tower once"
    named = bench.new("anomalyclip", **{"prompts.normal": "['{}']", "prompts.abnormal": "['damaged {}']"})
    brain, bottle, again = named._text(["Brain", "bottle", "Brain"])
    assert torch.equal(brain, again)
    assert not torch.allclose(brain, bottle)
    torch.testing.assert_close(bottle, texts(bench, named, ("bottle", "damaged bottle")))


def test_it_learns_the_toy_and_leaves_the_tower_alone(bench, support) -> None:
    toy = support()
    method = bench.fitted("anomalyclip", epochs=30, sigma=0)
    with torch.no_grad():
        scores = method.score(bench.batch(method, toy.images))
    assert scores.image[3:].min() > scores.image[:3].max()
    for own, where in zip(scores.maps[3:], toy.masks[3:], strict=True):
        assert own[where].mean() > own[~where].mean()


def test_without_masks_it_says_so(bench, support, capsys) -> None:
    bench.fitted("anomalyclip", support(masks=False), epochs=1)
    assert "anomalyclip found no masks: it learns from the labels of the images" in capsys.readouterr().err
    bench.fitted("anomalyclip", support(masks=False), epochs=1, pixel_weight=0)
    assert "no masks" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("levels", "[12]"), ("vv_from", 6), ("context_length", 6), ("deep_blocks", 0), ("deep_length", 2),
        ("temperature", 0.5), ("pixel_weight", 0), ("image_vector", "embedding"), ("epochs", 1),
    ],
)  # fmt: skip
def test_every_facet_does_something(bench, support, plain, param: str, value: object) -> None:
    with torch.no_grad():
        method = bench.fitted("anomalyclip", **(SMALL | {param: value}))
        other = method.score(bench.batch(method, support().images))
    assert not torch.allclose(plain.image, other.image) or not torch.allclose(plain.maps, other.maps)


@pytest.fixture(scope="module")
def plain(bench, support):
    method = bench.fitted("anomalyclip", **SMALL)
    with torch.no_grad():
        return method.score(bench.batch(method, support().images))


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"image_vector": "token"}, r"method\.image_vector=token is not possible: choose from projected, embedding"),
        ({"temperature": 0}, r"method\.temperature=0\.?0? is not possible: a number above 0"),
        ({"pixel_weight": -1}, r"method\.pixel_weight=-1\.?0? is not possible: at least 0"),
        ({"deep_length": 0}, r"method\.deep_length=0 is not possible: at least 1"),
        ({"context_length": 2}, r"method\.deep_length=4 is not possible with method\.context_length=2"),
        ({"levels": "[13]"}, r"method\.levels=\[13\] is not possible"),
        ({"context_length": 60}, r"takes \d+ tokens; phantom-clip reads at most 32"),
    ],
)
def test_what_is_not_possible(bench, params: dict[str, object], said: str) -> None:
    with pytest.raises(AdbenchError, match=said):
        bench.new("anomalyclip", **params)._text(["Brain"])


def test_what_it_needs_of_a_backbone_and_of_a_support(bench, support) -> None:
    dino = Architecture(depth=12, width=384, patch=14, embed_dim=384, kind="vit")
    cnn = Architecture(depth=0, width=0, patch=0, embed_dim=512, kind="cnn")
    for shape in (dino, cnn):
        assert unmet(AnomalyCLIP.capability(Params(), shape), shape) == "a text tower"
    clip = bench.backbone.architecture
    assert "blocks 6 to 12" in fault_in(AnomalyCLIP.capability(Params(levels=[3], vv_from=6), clip), clip)
    with pytest.raises(AdbenchError, match="anomalyclip learns to tell two classes apart and was given 6 normal and 0"):
        bench.new("anomalyclip").prepare(dataclasses.replace(support(), labels=torch.zeros(6, dtype=torch.long)))
