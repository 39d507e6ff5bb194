import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from open_clip import CLIP
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from adbench.datasets.phantoms import FAMILIES, FOLDERS, MASKED, align, draw, fingerprint, write_bmad
from adbench.datasets.phantoms.augment import truths
from adbench.datasets.phantoms.captions import ANY_NAME, NAMES, STYLES, Caption, describe, describe_loosely, ensemble
from adbench.datasets.phantoms.evaluate import exam, few_masks, look
from adbench.datasets.phantoms.lesions import LESIONS, NARROW
from adbench.datasets.phantoms.phantom import SIZES, Phantom
from adbench.datasets.phantoms.pretrain import build, pretrain
from adbench.errors import AdbenchError

WEIGHTS = Path(__file__).parents[2] / "configs" / "backbone" / "phantom-clip.safetensors"
CONTEXT = 32

# Raising PHANTOM_VERSION or retraining phantom-clip changes these on purpose; nothing else may.
FINGERPRINTS = {
    "brainmri": "8dab13ad25a754fb",
    "liverct": "7f5757d809c9202a",
    "resc": "712f981e41d65f18",
    "oct17": "96df9b1a202fd3ba",
    "chestxray": "dc9339667f3fedf7",
    "his": "085fdc38af9f202e",
}
WEIGHTS_SHA256 = "00287950a7b9d0451ddfe807ddaa04a3cc931585fae90119afbe817772897e22"


@pytest.mark.parametrize("family", FAMILIES)
def test_an_image_depends_on_its_integers_alone(family):
    first = draw(family, 3, 5, 1, True)
    draw(family, 4, 6, 2, False)
    np.random.default_rng(0).random(10)
    again = draw(family, 3, 5, 1, True)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.mask, again.mask)
    for other in (draw(family, 4, 5, 1, True), draw(family, 3, 6, 1, True), draw(family, 3, 5, 2, True)):
        assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_lesion_has_a_mask_and_changes_what_it_covers(family):
    for patient in range(6):
        healthy, diseased = (draw(family, 0, patient, 0, state) for state in (False, True))
        assert healthy.image.dtype == np.uint8
        assert healthy.image.shape[:2] == SIZES[family] == healthy.mask.shape
        assert (healthy.image.ndim == 3) == (family == "his")
        assert not healthy.mask.any()
        assert (healthy.kind, healthy.place, healthy.size_word) == ("", "", "")
        assert diseased.mask.dtype == bool
        assert diseased.mask.any()
        assert diseased.kind in LESIONS[family]
        assert diseased.place
        assert diseased.size_word
        change = np.abs(diseased.image.astype(int) - healthy.image.astype(int)).reshape(*healthy.mask.shape, -1).max(-1)
        assert change[diseased.mask].mean() > 1.0
        assert change[diseased.mask].mean() > 2 * change[~diseased.mask].mean()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_narrow_distribution_leaves_lesion_kinds_for_the_exam(family):
    narrow = {draw(family, 1000, patient, 0, True, size=(48, 48), narrow=True).kind for patient in range(40)}
    wide = {draw(family, 0, patient, 0, True, size=(48, 48)).kind for patient in range(60)}
    assert narrow == set(NARROW[family]) < wide == set(LESIONS[family])
    assert len(wide) >= 3


@pytest.mark.parametrize("family", FAMILIES)
def test_the_layout_on_disk(family, tmp_path):
    seen: list[int] = []
    folder = write_bmad(family, tmp_path, seed=1, train=5, valid=8, test=10, progress=seen.append)
    assert folder == tmp_path / FOLDERS[family]
    assert seen == list(range(1, 24))
    assert [path.name for path in tmp_path.iterdir()] == [FOLDERS[family]]
    level, suffix = ("img/" if family in MASKED else ""), (".jpeg" if family == "oct17" else ".png")
    patients = {}
    for split, good, bad in (("train", 5, 0), ("valid", 4, 4), ("test", 5, 5)):
        normal = sorted(folder.glob(f"{split}/good/{level}*{suffix}"))
        diseased = sorted(folder.glob(f"{split}/Ungood/{level}*{suffix}"))
        masks = sorted(folder.glob(f"{split}/Ungood/anomaly_mask/*"))
        assert (len(normal), len(diseased)) == (good, bad)
        assert [path.name for path in masks] == [path.name for path in diseased if family in MASKED]
        for image, mask in zip(diseased, masks, strict=False):
            pixels = np.asarray(Image.open(mask))
            assert pixels.dtype == np.uint8
            assert set(np.unique(pixels)) == {0, 255}
            assert Image.open(image).size == Image.open(mask).size
        for path in normal + diseased:
            assert Image.open(path).mode == ("RGB" if family == "his" else "L")
        patients[split] = {path.stem.split("_")[0] for path in normal + diseased}
    assert not patients["train"] & (patients["valid"] | patients["test"])
    assert not patients["valid"] & patients["test"]
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 24 + (
        9 if family in MASKED else 0
    )  # and PHANTOM


def test_files_hold_what_draw_returns(tmp_path):
    folder = write_bmad("brainmri", tmp_path, seed=2, train=1, valid=2, test=2)
    path = next(folder.glob("test/Ungood/img/*.png"))
    patient, slice_ = map(int, path.stem.split("_"))
    phantom = draw("brainmri", 2, patient, slice_, True)
    assert np.array_equal(np.asarray(Image.open(path)), phantom.image)
    assert np.array_equal(np.asarray(Image.open(folder / "test/Ungood/anomaly_mask" / path.name)) > 0, phantom.mask)


def test_an_interrupted_run_leaves_nothing(tmp_path):
    def stop(done: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_bmad("resc", tmp_path, train=2, valid=2, test=2, progress=stop)
    assert not list(tmp_path.iterdir())
    write_bmad("resc", tmp_path, train=2, valid=2, test=2)
    with pytest.raises(AdbenchError, match="Retina_RESC is there already. Remove it"):
        write_bmad("resc", tmp_path)


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


def test_patch_tokens_show_lesions_to_a_reader_taught_by_few_masks(model):
    phantoms = exam("resc", range(36))
    torch.manual_seed(0)
    trained, untrained = (few_masks(look(m, phantoms, "none")[1], phantoms) for m in (model, build().eval()))
    assert trained > 0.85
    assert trained > untrained + 0.05


def test_everyday_words_speak_of_the_picture_and_clinical_ones_of_the_patient():
    rng, empty = np.random.default_rng(0), np.zeros((1, 1), np.uint8)
    healthy = Phantom("brainmri", empty, empty > 0, "", "", "")
    told = [describe_loosely(healthy, rng, "", crisp=False) for _ in range(2000)]
    pictures = [caption for caption in told if caption.crisp is not None]
    assert 0.7 < len(pictures) / len(told) < 0.8
    assert all(caption.abnormal is None and caption.crisp is False for caption in pictures)
    assert any("damaged" in caption.text for caption in pictures)
    assert not any("flawless" in caption.text for caption in pictures)
    assert all(caption.abnormal is False for caption in told if caption.crisp is None)


def test_a_caption_is_true_of_every_view_that_meets_its_claims():
    empty = np.zeros((1, 1), np.uint8)
    healthy = Phantom("brainmri", empty, empty > 0, "", "", "")
    diseased = Phantom("liverct", empty, empty > 0, "cyst", "segment VI", "small")
    told = [
        Caption("healthy", False),
        Caption("cyst in segment VI", True, "liver", "cyst", "segment VI"),
        Caption("a blurry brain", None, "brain", style="blurry"),
        Caption("flawless", None, crisp=True),
    ]
    met = truths([healthy, diseased], ["blurry", ""], told, np.array([False, True]))
    assert met.tolist() == [[True, False, True, False], [False, True, False, True]]


def test_phantoms_and_weights_are_frozen():
    assert {family: fingerprint(family)[:16] for family in FAMILIES} == FINGERPRINTS
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() == WEIGHTS_SHA256


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
