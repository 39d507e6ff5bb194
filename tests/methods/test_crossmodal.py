from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from adbench.backbone.build import build
from adbench.errors import AdbenchError
from adbench.methods.crossmodal.method import CrossModal, Params, Pool


def scored(bench, method, images, names: tuple[str, ...] | None = None):
    batch = bench.batch(method, images)
    if names:
        batch = dataclasses.replace(batch, object_names=names)
    with torch.no_grad():
        return method.score(batch)


def test_parameter_counts_at_full_size(facts) -> None:
    with torch.device("meta"):
        backbone = build("ViT-L-14-336", facts("ViT-L-14-336", weights="random"), 336)
        method = CrossModal.create(Params(), backbone.to(torch.device("meta")))

    def pool(inward: int, outward: int, count: int) -> int:
        return 2 * inward + 2 * (inward + 1) * 64 + count * 64 + (64 + 1) * outward

    wanted = pool(1024, 768, 4) + (768 + 1) * 1024 + pool(768, 1024, 2)
    assert sum(p.numel() for p in method.parameters()) == wanted == 1_137_536


def test_attention_by_hand() -> None:
    torch.manual_seed(0)
    pool, tokens = Pool(2, 6, 3, 4, "attention"), torch.randn(1, 5, 6)
    normed = F.layer_norm(tokens[0], (6,))
    key, value = (normed @ layer.weight.T + layer.bias for layer in (pool.key, pool.value))
    weights = (pool.query @ key.T / 4**0.5).softmax(-1)
    torch.testing.assert_close(pool(tokens)[0], weights @ value @ pool.leave.weight.T + pool.leave.bias)
    # Masked tokens have no weight.
    mask = torch.tensor([[True, True, True, False, False]])
    torch.testing.assert_close(pool(tokens, mask), pool(tokens[:, :3]))


def test_the_plain_mean_as_a_pool() -> None:
    torch.manual_seed(0)
    pool, tokens = Pool(2, 6, 3, 4, "mean"), torch.randn(1, 5, 6)
    value = (F.layer_norm(tokens[0], (6,)) @ pool.value.weight.T + pool.value.bias).mean(0)
    wanted = (value + pool.query) @ pool.leave.weight.T + pool.leave.bias
    torch.testing.assert_close(pool(tokens)[0], wanted)


@torch.no_grad()
@pytest.mark.parametrize("insert", ["add", "replace"])
def test_untrained_the_text_embedding_is_clips_own_where_words_are_added(bench, support, insert: str) -> None:
    """Words replaced before every block lose what the blocks before added; words that are added to keep it."""
    method = bench.fitted("crossmodal", epochs=0, insert=insert)
    entering = bench.batch(method, support().images[:2]).features.blocks[0]
    text = method._run_text(entering[:, 1:], ["Brain", "Brain"])[2]
    clip = F.normalize(
        bench.backbone.encode_text(["a photo of a normal Brain", "a photo of a anomalous Brain"]), dim=-1
    )
    assert torch.equal(text[0], text[1])
    assert torch.allclose(text[0], clip, atol=1e-5) is (insert == "add")


def test_the_image_takes_no_more_words_than_the_frame_has(bench) -> None:
    with pytest.raises(AdbenchError, match="text_tokens=5 is not possible: method.frame='a photo of a' has 4 tokens"):
        bench.new("crossmodal", text_tokens=5)


@torch.no_grad()
def test_untrained_with_the_words_alone_it_is_clip_and_two_sentences(bench, support) -> None:
    method = bench.fitted("crossmodal", epochs=0, directions="[patches_to_text]")
    images, backbone = support().images, bench.backbone
    text = F.normalize(backbone.encode_text(["a photo of a normal Brain", "a photo of a anomalous Brain"]), dim=-1)
    features = backbone.features(images.float() / 255, (12,), pooled=True)
    scores = scored(bench, method, images)
    wanted = (F.normalize(features.pooled, dim=-1) @ text.T / 0.01).softmax(-1)[:, 1]
    torch.testing.assert_close(scores.image, wanted, atol=1e-4, rtol=1e-3)
    corner = F.normalize(backbone.project(features.blocks[12][:, 1]), dim=-1)
    torch.testing.assert_close(scores.maps[:, 0, 0], (corner @ text.T / 0.01).softmax(-1)[:, 1], atol=1e-4, rtol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize(
    "params",
    [
        {"insert": "replace", "start": "random"},
        {"insert": "replace", "start": "words", "text_tokens": 2},
        {"insert": "add", "start": "random", "shared": "false"},
        {"insert": "add", "start": "words", "shared_frame": "false"},
        {"insert": "replace", "start": "random", "speakers": "normal"},
        {"insert": "replace", "start": "random", "speakers": "abnormal", "text_tokens": 3},
    ],
)
def test_both_towers_by_hand(bench, support, params: dict[str, object]) -> None:
    method = bench.fitted("crossmodal", epochs=1, **params).eval()
    p, m = method.params, params.get("text_tokens", 4)
    backbone, model = bench.backbone, bench.backbone.model
    entering = backbone.features(support().images[4:5].float() / 255, (0,)).blocks[0]
    depth, text_depth = backbone.architecture.depth, backbone.architecture.text_depth
    words = method.to_text(entering[:, 1:])[0]
    frame = model.token_embedding(backbone.tokenise(["a photo of a"]))[0, 1:5]
    sentences, outputs = [], []
    for state in ("normal", "anomalous"):
        tokens = backbone.tokenise([f"a photo of a {state} Brain"])
        length = int(tokens.argmax()) + 1
        x = model.token_embedding(tokens)[:, :length] + model.positional_embedding[:length]
        levels, before = [], x[0, 1 : 1 + m]
        for block in model.transformer.resblocks:
            x = x.clone()
            if p.insert == "add":
                x[0, 1 : 1 + m] += words
            else:
                x[0, 1 : 1 + m] = words + (before if p.start == "words" else 0)
            x = block(x, attn_mask=model.attn_mask[:length, :length])
            levels.append(x[0])
        outputs.append(levels)
        sentences.append(F.normalize(model.ln_final(x)[0, -1] @ model.text_projection, dim=-1))
    stream = entering
    for block in range(depth):
        level = -(-(block + 1) * text_depth // depth) - 1
        speakers = {"both": outputs, "normal": outputs[:1], "abnormal": outputs[1:]}[p.speakers]
        text_tokens = torch.cat([levels[level] for levels in speakers])
        tokens = method.levels[0 if p.shared else block](text_tokens[None])
        framed = method.to_patches[0 if p.shared_frame else block](frame)[None]
        stream = model.visual.transformer.resblocks[block](torch.cat([stream, framed, tokens], 1))
        stream = stream[:, : entering.shape[1]]
    pooled = F.normalize(backbone.project(stream[:, 0]), dim=-1)
    wanted = (pooled @ torch.stack(sentences).T / 0.01).softmax(-1)[:, 1]
    torch.testing.assert_close(scored(bench, method, support().images[4:5]).image, wanted, atol=1e-4, rtol=1e-3)


def test_a_longer_name_in_the_batch_changes_nothing(bench, support) -> None:
    method, images = bench.fitted("crossmodal", epochs=1), support().images[:2]
    alone = scored(bench, method, images[:1], ("Brain",))
    together = scored(bench, method, images, ("Brain", "Chest X-ray film of a patient"))
    torch.testing.assert_close(together.image[:1], alone.image, atol=1e-5, rtol=1e-4)


def test_the_loss_falls_and_every_map_learns(bench, support) -> None:
    def loss(method: CrossModal) -> float:
        with torch.no_grad():
            rows = [method.data[i] for i in range(len(method.data))]
            return float(method.training_step([torch.stack(list(column)) for column in zip(*rows, strict=True)], 0))

    before = bench.new("crossmodal")
    before.prepare(support())
    after = bench.fitted("crossmodal", epochs=40)
    assert loss(after) < 0.7 * loss(before)
    initial = dict(before.named_parameters())
    assert all(not torch.equal(initial[name], value) for name, value in after.named_parameters() if "weight" in name)


@torch.no_grad()
def test_what_is_fixed_is_tokenised_once(bench, support, monkeypatch: pytest.MonkeyPatch) -> None:
    method, images = bench.new("crossmodal"), support().images
    calls, tokenise = [], bench.backbone.tokenise
    monkeypatch.setattr(bench.backbone, "tokenise", lambda texts: calls.append(texts) or tokenise(texts))
    first, second = (scored(bench, method, images) for _ in range(2))
    assert sorted(calls, key=len) == [["a photo of a"], ["a photo of a normal Brain", "a photo of a anomalous Brain"]]
    assert torch.equal(first.image, second.image)


def test_which_text_block_gives_tokens_to_which_image_block(bench) -> None:
    proportional, first = bench.new("crossmodal"), bench.new("crossmodal", beside="first")
    text_depth = bench.backbone.architecture.text_depth
    assert text_depth == 3
    assert [proportional._text_block(block) for block in range(1, 13)] == [1] * 4 + [2] * 4 + [3] * 4
    assert [first._text_block(block) for block in range(1, 5)] == [1, 2, 3, 3]


def test_other_words_after_training(bench, support) -> None:
    method = bench.fitted("crossmodal", epochs=1)
    images = support().images
    before = scored(bench, method, images).image
    method.params.prompts.normal, method.params.prompts.abnormal = ["anomalous {}"], ["normal {}"]
    method.sentences.clear()
    assert not torch.allclose(scored(bench, method, images).image, before)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ({"beside": "last"}, "choose from proportional, first"),
        ({"pool": "max"}, "choose from attention, mean"),
        ({"start": "zero"}, "choose from words, random"),
        ({"insert": "append"}, "choose from add, replace"),
        ({"speakers": "none"}, "choose from both, normal, abnormal"),
        ({"text_tokens": -1}, "text_tokens=-1 .*at least 0"),
        ({"directions": "[]"}, "some of patches_to_text, text_to_patches, levels"),
        ({"prompts.normal": "[a,b]"}, "normal has 2 phrases"),
        ({"level_tokens": 0}, "level_tokens=0 .*at least 1"),
    ],
)
def test_what_is_refused(bench, word: dict[str, object], message: str) -> None:
    with pytest.raises(AdbenchError, match=message):
        bench.new("crossmodal", **word)


def test_one_class_alone_is_refused(bench, support) -> None:
    toy = support()
    method = bench.new("crossmodal")
    normal = dataclasses.replace(toy, labels=torch.zeros_like(toy.labels))
    with pytest.raises(AdbenchError, match="two classes"):
        method.prepare(normal)
