import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip import CLIP
from open_clip.tokenizer import SimpleTokenizer
from safetensors import safe_open
from safetensors.torch import load_file

from adbench.datasets.phantoms import FAMILIES
from adbench.datasets.phantoms.lesions import LESIONS
from adbench.datasets.phantoms.phantom import Phantom
from tools.phantom_clip import align
from tools.phantom_clip.augment import truths
from tools.phantom_clip.captions import ANY_NAME, NAMES, STYLES, Caption, describe, describe_loosely, ensemble
from tools.phantom_clip.evaluate import draw_patients, embed, few_masks
from tools.phantom_clip.pretrain import build, pretrain

WEIGHTS = Path(__file__).parents[2] / "configs" / "backbone" / "phantom-clip.safetensors"
CONTEXT = 32


def caption_vocabulary() -> tuple[set[int], int]:
    """Token ids of many captions, and the most tokens in one of them."""
    tokenizer, rng = SimpleTokenizer(context_length=CONTEXT), np.random.default_rng(0)
    empty, ids, longest = np.zeros((1, 1), np.uint8), set(), 0
    for family in FAMILIES:
        for kind in ["", "", "", *LESIONS[family]]:
            phantom = Phantom(family, empty, empty > 0, kind, "upper field" if kind else "", "small" if kind else "")
            for i in range(400):
                tokens = tokenizer.encode(describe(phantom, rng, STYLES[i % len(STYLES)] if i % 3 else "").text)
                ids.update(tokens)
                longest = max(longest, len(tokens))
    return ids, longest


def prompts() -> list[str]:
    """Every sentence the methods show to the text tower (their learnable vectors aside)."""
    names = ["Brain", "Liver", "retinal OCT", "Chest X-ray film", "histopathological image", ANY_NAME]
    sentences = [sentence for name in names for state in ensemble(name) for sentence in state]
    sentences += [f"{state} {name}." for name in names for state in ("disease", "abnormal")]
    sentences += [
        "normal",
        "healthy",
        "negative",
        "unremarkable",
        "clear",
        "asymptomatic",
        "normal findings",
        "no findings",
    ]
    sentences += [
        "in good health",
        "no evidence of disease",
        "abnormal",
        "positive",
        "symptomatic",
        "disease",
        "lesion",
    ]
    sentences += ["pathological", "impaired", "evidence of disease", "abnormal finding", "pathological condition"]
    sentences += [
        "pathological abnormality",
        "This is a normal brain MRI scan. No mass, lesion, or abnormal enhancement is seen.",
        "This MRI shows a hyperintense lesion in the right frontal lobe with surrounding edema and midline shift.",
        "Healthy retina with continuous and well-organized layers.",
        "Intraretinal cysts and fluid accumulation in the macular region, with disrupted retinal architecture.",
        "Homogeneous hepatic parenchyma with smooth contours and no visible lesion.",
        "Hypodense mass in segment VI showing irregular borders and capsular retraction.",
    ]
    objects = [name for names in NAMES.values() for name in names] + ["Retinal OCT", "Pathology", "Brain MRI scan"]
    return sentences + [f"a photo of a {state} {x}" for x in objects for state in ("normal", "anomalous")]


def test_every_word_of_every_prompt_occurs_in_captions():
    tokenizer, (known, longest) = SimpleTokenizer(context_length=CONTEXT), caption_vocabulary()
    assert longest <= CONTEXT - 2
    unknown = {tokenizer.decode([i]) for sentence in prompts() for i in tokenizer.encode(sentence) if i not in known}
    assert not unknown


def test_prompts_fit_the_context():
    tokenizer = SimpleTokenizer(context_length=CONTEXT)
    assert max(len(tokenizer.encode(sentence)) for sentence in prompts()) <= CONTEXT - 2
    placeholders = " ".join(["X"] * 8)
    assert len(tokenizer.encode(f"{placeholders} histopathological image without damage.")) <= CONTEXT - 2


def test_captions_keep_words_of_health_and_disease_apart():
    rng, empty = np.random.default_rng(0), np.zeros((1, 1), np.uint8)
    healthy = Phantom("brainmri", empty, empty > 0, "", "", "")
    diseased = Phantom("brainmri", empty, empty > 0, "mass", "left frontal lobe", "small")
    said = [[describe(phantom, rng).text.lower() for _ in range(2000)] for phantom in (healthy, diseased)]
    tied = (("flawless", "without defect", "unremarkable"), ("damaged", "with flaw", "impaired"))
    for state, words in enumerate(tied):
        for word in words:
            assert any(word in text for text in said[state])
            assert not any(word in text for text in said[1 - state])


@pytest.fixture(scope="module")
def model() -> CLIP:
    model = CLIP(**json.loads(WEIGHTS.with_suffix(".json").read_text()))
    model.load_state_dict({name: tensor.float() for name, tensor in load_file(WEIGHTS).items()}, strict=True)
    return model.eval()


def test_weights_are_small_half_precision_and_signed():
    assert WEIGHTS.stat().st_size < 16_000_000
    with safe_open(WEIGHTS, "pt") as file:
        assert file.metadata()["format"] == "pt"
        assert int(file.metadata()["seed"]) >= 1000
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}  # noqa: SIM118


def test_patch_tokens_show_lesions_to_a_reader_trained_on_few_masks(model):
    phantoms = draw_patients("resc", range(36))
    torch.manual_seed(0)
    trained, untrained = (few_masks(embed(m, phantoms, "none")[1], phantoms) for m in (model, build().eval()))
    assert trained > 0.85
    assert trained > untrained + 0.05


def test_everyday_words_speak_of_the_picture_and_clinical_ones_of_the_patient():
    rng, empty = np.random.default_rng(0), np.zeros((1, 1), np.uint8)
    healthy = Phantom("brainmri", empty, empty > 0, "", "", "")
    captions = [describe_loosely(healthy, rng, "", crisp=False) for _ in range(2000)]
    pictures = [caption for caption in captions if caption.crisp is not None]
    assert 0.7 < len(pictures) / len(captions) < 0.8
    assert all(caption.abnormal is None and caption.crisp is False for caption in pictures)
    assert any("damaged" in caption.text for caption in pictures)
    assert not any("flawless" in caption.text for caption in pictures)
    assert all(caption.abnormal is False for caption in captions if caption.crisp is None)


def test_a_caption_is_true_of_every_view_that_meets_its_claims():
    empty = np.zeros((1, 1), np.uint8)
    healthy = Phantom("brainmri", empty, empty > 0, "", "", "")
    diseased = Phantom("liverct", empty, empty > 0, "cyst", "segment VI", "small")
    captions = [
        Caption("healthy", False),
        Caption("cyst in segment VI", True, "liver", "cyst", "segment VI"),
        Caption("a blurry brain", None, "brain", style="blurry"),
        Caption("flawless", None, crisp=True),
    ]
    met = truths([healthy, diseased], ["blurry", ""], captions, np.array([False, True]))
    assert met.tolist() == [[True, False, True, False], [False, True, False, True]]


@pytest.mark.slow
def test_the_pretraining_makes_a_backbone_that_can_be_used(adbench, tiny: Path, tmp_path: Path, monkeypatch) -> None:
    trunk, out = tmp_path / "trunk.safetensors", tmp_path / "clip.safetensors"
    pretrain(trunk, seed=1000, threads=1, pairs=24, steps=40, batch=8)
    words = ["--trunk", trunk, "--out", out, "--pairs", 24, "--steps", 40, "--batch", 8, "--threads", 1]
    monkeypatch.setattr(sys, "argv", ["align", *map(str, words)])
    align.main()
    shipped, made = load_file(WEIGHTS), load_file(out)
    assert {name: value.shape for name, value in made.items()} == {name: v.shape for name, v in shipped.items()}
    answer = adbench("run", "method=clip", f"data_root={tiny}", f"backbone.weights={out}", f"runs={tmp_path / 'runs'}")
    assert answer.code == 0, answer.err
