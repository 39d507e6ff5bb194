from __future__ import annotations

import torch

from adbench.backbone.clip import Backbone
from adbench.blocks.deep_prompts import DeepPrompts

TEXTS = ["a photo of a damaged brain", "x y z"]


def words(backbone: Backbone) -> tuple[torch.Tensor, torch.Tensor]:
    tokens = backbone.tokenise(TEXTS)
    return backbone.embed_tokens(tokens), backbone.ends(tokens)


@torch.no_grad()
def test_every_block_but_the_first_reads_vectors_of_its_own(random_clip: Backbone) -> None:
    deep = DeepPrompts(random_clip, last=9, length=2)
    assert deep.vectors.shape == (2, 2, 64), "phantom-clip has three text blocks"
    model = random_clip.model
    embedded, end = words(random_clip)
    stream = embedded + model.positional_embedding  # the whole context of 32 tokens, padding included
    for number, block in enumerate(model.transformer.resblocks):
        if number > 0:
            stream[:, 1:3] = deep.vectors[number - 1]
        stream = block(stream, attn_mask=model.attn_mask)
    wanted = model.ln_final(stream)[[0, 1], end] @ model.text_projection
    torch.testing.assert_close(deep(random_clip, embedded, end), wanted)


@torch.no_grad()
def test_without_vectors_it_is_the_text_tower(random_clip: Backbone) -> None:
    for last in (0, 1):
        deep = DeepPrompts(random_clip, last, length=4)
        assert deep.vectors.numel() == 0
        torch.testing.assert_close(deep(random_clip, *words(random_clip)), random_clip.encode_text(TEXTS))


def test_a_block_reads_them_and_the_words_before_it_matter_still(random_clip: Backbone) -> None:
    deep = DeepPrompts(random_clip, last=2, length=2)
    assert len(deep.vectors) == 1
    embedded, end = words(random_clip)
    embedded = embedded.detach().requires_grad_()
    deep(random_clip, embedded, end).sum().backward()
    assert (deep.vectors.grad.abs().amax(-1) > 0).all()
    assert embedded.grad is not None
    assert (embedded.grad[0, 1:3].abs().amax(-1) > 0).all(), "the first block reads the words that are thrown away"


def test_the_vectors_start_small_and_random(random_clip: Backbone) -> None:
    torch.manual_seed(0)
    vectors = DeepPrompts(random_clip, last=3, length=20).vectors.detach()
    assert abs(float(vectors.mean())) < 1e-3
    assert abs(float(vectors.std()) - 0.02) < 1e-3
