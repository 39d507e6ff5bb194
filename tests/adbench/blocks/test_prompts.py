from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from adbench.backbone.clip import Backbone
from adbench.blocks.prompts import ABNORMAL, NORMAL, TEMPLATES, PromptLearner, Prompts, ensemble
from adbench.errors import AdbenchError


def test_mvfas_ensemble_has_245_normal_and_175_abnormal_sentences() -> None:
    assert (len(NORMAL) * len(TEMPLATES), len(ABNORMAL) * len(TEMPLATES)) == (245, 175)
    assert len(set(TEMPLATES)) == 35
    assert "a low resolution photo of the {}." in TEMPLATES
    assert "this is one {} in the scene." in TEMPLATES


def test_the_ensemble_is_the_mean_of_unit_vectors(random_clip: Backbone) -> None:
    prompts = Prompts(["{}", "clear {}"], ["{} with a lesion"])
    text = ensemble(random_clip, prompts, "brain", ["a photo of a {}.", "the {}."])
    sentences = ["a photo of a brain.", "the brain.", "a photo of a clear brain.", "the clear brain."]
    wanted = F.normalize(F.normalize(random_clip.encode_text(sentences), dim=-1).mean(0), dim=-1)
    torch.testing.assert_close(text[0], wanted)
    torch.testing.assert_close(text.norm(dim=-1), torch.ones(2))


def test_an_empty_state_is_an_error() -> None:
    with pytest.raises(AdbenchError, match=r"method\.prompts\.abnormal=\[\]"):
        Prompts(["{}"], []).phrases("brain")


def test_contexts_replace_the_placeholders_where_the_position_says(random_clip: Backbone) -> None:
    prompts = Prompts(["clear {}"], ["{}"])
    learner = PromptLearner(random_clip, prompts, length=4, positions=("end", "front", "middle"))
    tokens = random_clip.tokenise(["X X X X clear brain."])
    words = random_clip.embed_tokens(tokens)[0]
    start, phrase, tail = words[:1], words[5:7], words[7:]
    orders = {
        "end": lambda own: [start, own, phrase, tail],
        "front": lambda own: [start, phrase, own, tail],
        "middle": lambda own: [start, own[:2], phrase, own[2:], tail],
    }
    frame = learner._frame(random_clip, "brain")
    contexts = torch.cat([learner.normal.flatten(0, 1), learner.abnormal.flatten(0, 1)])
    embedded = frame.words + frame.places @ contexts
    for place, (position, order) in enumerate(orders.items()):
        assert learner.positions[place] == position
        assert torch.equal(embedded[place], torch.cat(order(learner.normal[place, 0])))
        assert int(frame.end[place]) == 1 + 4 + 3  # start, contexts, two words and the full stop


def test_text_vectors_are_the_normalised_plain_mean_without_causal_mask(random_clip: Backbone) -> None:
    learner = PromptLearner(random_clip, Prompts(["clear {}", "{}"], ["bad {}"]), length=4, positions=("end", "front"))
    frame = learner._frame(random_clip, "brain")
    contexts = torch.cat([learner.normal.flatten(0, 1), learner.abnormal.flatten(0, 1)])
    embedded = frame.words + frame.places @ contexts
    assert embedded.shape[:2] == (2 * 2 + 2 * 1, random_clip.architecture.context)
    with torch.no_grad():
        parts = random_clip.encode_embedded(embedded, frame.end, causal=False)
        text = learner(random_clip, "brain")
    torch.testing.assert_close(text[0], F.normalize(parts[:4].mean(0), dim=-1))
    torch.testing.assert_close(text[1], F.normalize(parts[4:].mean(0), dim=-1))


def test_names_that_give_the_same_words_share_what_is_fixed(random_clip: Backbone) -> None:
    learner = PromptLearner(random_clip, Prompts(["clear"], ["bad"]), length=4)
    assert learner._frame(random_clip, "brain") is learner._frame(random_clip, "liver")
    learner.prompts = Prompts(["clear {}"], ["bad"])
    assert learner._frame(random_clip, "brain") is not learner._frame(random_clip, "liver")


def test_learned_vectors_enter_the_tower_unchanged_in_half_precision(random_clip: Backbone, monkeypatch) -> None:
    learner = PromptLearner(random_clip, Prompts(["{}"], ["bad {}"]), length=4)
    entered = []

    def read(embedded: torch.Tensor, end: torch.Tensor, causal: bool) -> torch.Tensor:
        entered.append(embedded)
        return torch.zeros(2, 128, dtype=torch.float16)

    monkeypatch.setattr(random_clip, "encode_embedded", read)
    with torch.autocast("cpu", torch.float16):
        text = learner(random_clip, "brain")
    assert torch.equal(entered[0][:, 1:5], torch.cat([learner.normal, learner.abnormal])[:, 0])
    assert torch.equal(text, torch.zeros(2, 128)), "no NaN where the tower says nothing"


def test_gradients_reach_the_contexts_and_not_the_backbone(random_clip: Backbone) -> None:
    learner = PromptLearner(random_clip, Prompts(["{}"], ["bad {}"]), length=4)
    learner(random_clip, "brain").diff(dim=0).sum().backward()
    assert float(learner.normal.grad.abs().sum()) > 0
    assert all(p.grad is None for p in random_clip.model.parameters())


def test_contexts_belong_to_their_phrases(random_clip: Backbone) -> None:
    learner = PromptLearner(random_clip, Prompts(["{}"], ["bad {}"]), length=4)
    learner.prompts = Prompts(["{}", "good {}"], ["bad {}"])
    with pytest.raises(AdbenchError, match="1 learned contexts do not fit 2 phrases"):
        learner(random_clip, "brain")


def test_an_unknown_position_is_an_error(random_clip: Backbone) -> None:
    with pytest.raises(AdbenchError, match="choose from end, front, middle"):
        PromptLearner(random_clip, Prompts(), positions=("left",))
