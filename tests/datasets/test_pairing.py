"""Masks and images, paired by their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from adbench.datasets.pairing import Pairs, masks_among, names_masks, pair_masks
from adbench.errors import DataError

BASE = Path("m")


def pair(masks: str, images: str) -> Pairs:
    return pair_masks(
        [BASE / name for name in masks.split()], BASE, [(name, Path("x", name)) for name in images.split()]
    )


def paired(masks: str, images: str) -> dict[str, list[str]]:
    found = pair(masks, images).masks
    return {
        image.relative_to("x").as_posix(): [mask.relative_to(BASE).as_posix() for mask in found[image]]
        for image in found
    }


@pytest.mark.parametrize(
    "mask",
    [
        "a.png", "a.tiff", "A.png", "a_mask.png", "a_masks.bmp", "a-mask.png", "a_seg.png", "a_segmentation.png",
        "a_gt.png", "a-gt.tif", "a.gt.png", "a.bm.png", "a_label.png", "a_anno.bmp", "mask_a.png", "gt-a.png",
        "a_Mask.PNG", "a_mask_1.png", "a_mask3.png", "a_ground_truth.png", "a.jpg.png", "a.jpg_mask.png",
        "a_annotations.png",
    ],
)  # fmt: skip
def test_usual_words_fit(mask: str) -> None:
    assert paired(f"p1/{mask}", "p1/a.jpg p1/b.jpg a2.jpg") == {"p1/a.jpg": [f"p1/{mask}"]}


@pytest.mark.parametrize(
    "mask", ["amask.png", "a_2.png", "b_mask.png", "p2/a.png", "mask.png", "a_lesion.png", "masks_.png"]
)
def test_other_names_do_not(mask: str) -> None:
    found = pair(mask, "a.jpg p1/a.jpg c.jpg")
    assert (found.masks, found.unused) == ({}, [BASE / mask])


def test_the_word_may_stand_before_the_number_of_the_image() -> None:
    assert paired("image_mask_97.jpg image_mask_9.jpg", "image_97.jpg image_9.jpg") == {
        "image_97.jpg": ["image_mask_97.jpg"],
        "image_9.jpg": ["image_mask_9.jpg"],
    }


def test_several_masks_are_a_union_and_the_very_name_wins() -> None:
    assert paired("a_mask.png a_mask_1.png a_mask_2.png", "a.png a_1.png") == {
        "a.png": ["a_mask.png", "a_mask_1.png", "a_mask_2.png"]
    }
    found = pair("a.png a_mask.png a_mask_1.png", "a.jpg")
    assert list(found.masks.values()) == [(BASE / "a.png",)]
    assert found.unused == [BASE / "a_mask.png", BASE / "a_mask_1.png"]
    found = pair("a_mask.png a_mask_mask.png", "a.png a_mask.png")
    assert found.masks == {Path("x/a_mask.png"): (BASE / "a_mask.png",)}
    assert found.unused == [BASE / "a_mask_mask.png"]


@pytest.mark.parametrize(
    "masks", ["a_mask.png a_seg.png", "a.png a.tif", "mask_a.png a_mask.png", "a_gt.png a_gt.bmp", "a.png a.jpg.png"]
)
def test_masks_that_fit_in_two_ways_are_an_error(masks: str) -> None:
    first, second = masks.split()
    with pytest.raises(DataError, match="image x/a.jpg has 2 masks, m/.* and m/.*Keep one of them") as caught:
        pair(masks, "a.jpg b.jpg")
    assert first in str(caught.value)
    assert second in str(caught.value)


def test_images_that_differ_only_in_ending_or_case_need_masks_of_their_own() -> None:
    for mask, images in (("a_seg.png", "a.png a.jpg"), ("a.png", "a.png a.jpg"), ("A_seg.png", "a.png a.PNG")):
        with pytest.raises(DataError, match=f"the mask m/{mask} fits two images, x/a.* and x/a.*different names"):
            pair(mask, images)
    assert paired("a.png.png a.jpg_mask.png", "a.png a.jpg") == {"a.png": ["a.png.png"], "a.jpg": ["a.jpg_mask.png"]}
    assert paired("a.png A.png", "a.jpg A.jpg") == {"a.jpg": ["a.png"], "A.jpg": ["A.png"]}


def test_accented_letters_fit_however_they_are_written() -> None:
    assert paired("L\u00e4sion_mask.png", "La\u0308sion.jpg") == {"La\u0308sion.jpg": ["L\u00e4sion_mask.png"]}


@pytest.mark.parametrize(
    ("masks", "affix"),
    [
        ("a_lesion.png b_c_Lesion.png", "_lesion"),
        ("roi-a.png roi-b_c.png", "roi-"),
        ("a_L1.png a_L2.png b_c_L1.png", "_l"),
    ],
)
def test_what_all_masks_add_to_their_images_is_found(masks: str, affix: str) -> None:
    found = pair(masks, "a.jpg b_c.jpg d.jpg")
    assert (found.affix, found.unused) == (affix, [])
    assert sorted(image.name for image in found.masks) == ["a.jpg", "b_c.jpg"]


def test_what_only_some_masks_add_is_not() -> None:
    for masks in ("a_left.png b_right.png", "a_lesion.png z_lesion.png", "a_lesion.png", "a_1.png b_1.png"):
        found = pair(masks, "a.jpg b.jpg")
        assert (found.masks, found.affix) == ({}, None)


def test_masks_among_images() -> None:
    files = [
        Path("x", name) for name in ("p/a.jpg", "p/a_segmentation.png", "q/a.png", "b (1).png", "B (1)_mask_1.png")
    ]
    assert masks_among(files, Path("x")) == {files[1]: (files[0],), files[4]: (files[3],)}
    with pytest.raises(
        DataError, match="x/c_mask.png has the name of a mask, like .*_mask_1.png, but its image is missing"
    ):
        masks_among([*files, Path("x/c_mask.png")], Path("x"))
    assert masks_among([Path("x/c_mask.png"), Path("x/mask.png")], Path("x")) == {}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            "k0/image.png k0/mask.png k1/image.png k1/mask.png",
            {"k0/mask.png": "k0/image.png", "k1/mask.png": "k1/image.png"},
        ),
        ("image.png Mask1.png Mask2.png", {"Mask1.png": "image.png", "Mask2.png": "image.png"}),
        ("p1_scan.png p1_gt.png p10_scan.png", {"p1_gt.png": "p1_scan.png"}),
        ("b/b_flair.nii.gz b/b_t1.nii.gz b/b_seg.nii.gz", {"b/b_seg.nii.gz": "b/b_flair.nii.gz b/b_t1.nii.gz"}),
        ("b/t1.nii b/t2.nii b/seg.nii", {"b/seg.nii": "b/t1.nii b/t2.nii"}),
        ("label_1.png label_2.png", {}),  # all of them have the word: it is how images are called there
        ("BM_001.png BM_002.png 3.png", {}),
        ("p1/label.png p2/label.png", {}),
    ],
)
def test_a_mask_named_after_a_part_of_its_images_name(names: str, expected: dict[str, str]) -> None:
    found = masks_among([Path("x", name) for name in names.split()], Path("x"))
    shown = {mask.relative_to("x").as_posix(): [i.relative_to("x").as_posix() for i in found[mask]] for mask in found}
    assert shown == {mask: images.split() for mask, images in expected.items()}


@pytest.mark.parametrize(
    "names", ["mask.png a.png b.png", "p1_mask.png p1_1.png p1_2.png", "b/seg.nii b/t1.nii b/a.png"]
)
def test_a_mask_that_may_be_of_several_images_is_refused(names: str) -> None:
    with pytest.raises(DataError, match="has the name of a mask, and fits 2 images, such as "):
        masks_among([Path("x", name) for name in names.split()], Path("x"))


def test_names_of_mask_folders() -> None:
    yes = ("mask", "Masks", "mask_", "labels", "ground_truth", "GT", "lesion masks", "anomaly_mask", "segmentations")
    assert [name for name in yes if not names_masks(name)] == []
    assert [name for name in ("scratch", "bad", "maskless", "bm", "segments", "label noise") if names_masks(name)] == []
