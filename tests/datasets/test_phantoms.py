import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.datasets.phantoms import FAMILIES, FOLDERS, MASKED, draw, fingerprint, write_bmad
from adbench.datasets.phantoms.lesions import LESIONS, NARROW
from adbench.datasets.phantoms.phantom import SIZES
from adbench.errors import AdbenchError

WEIGHTS = Path(__file__).parents[2] / "configs" / "backbone" / "phantom-clip.safetensors"

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
    with pytest.raises(AdbenchError, match="Retina_RESC already exists. Remove it"):
        write_bmad("resc", tmp_path)


def test_phantoms_and_weights_are_frozen():
    assert {family: fingerprint(family)[:16] for family in FAMILIES} == FINGERPRINTS
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() == WEIGHTS_SHA256
