from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.cells.resolve import resolve
from adbench.commands import contact
from adbench.config import words as config
from adbench.data.doctor import confounds, copies, facts
from adbench.data.doctor import examine as doctor
from adbench.data.doctor.facts import ImageFacts, MaskFacts
from adbench.data.doctor.finding import Case, Finding
from adbench.data.items import DatasetConfig, Item


def save(path: Path, pixels: object, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(np.array(pixels, np.uint8))
    (image.convert(mode) if mode else image).save(path, **options)
    return path


# What a file holds


def test_content_is_that_of_the_pixels_not_of_the_file(tmp_path: Path) -> None:
    pixels = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    packed = save(tmp_path / "a.png", pixels, compress_level=0)
    others = [
        save(tmp_path / "b.png", pixels, compress_level=9), save(tmp_path / "c.png", pixels, "RGB"),
        save(tmp_path / "d.bmp", pixels), save(tmp_path / "e.tif", pixels),
    ]  # fmt: skip
    assert len({path.read_bytes() for path in [packed, *others]}) == 5
    assert {facts.image_facts(path).content for path in others} == {facts.image_facts(packed).content}
    pixels[5, 5] ^= 1
    assert facts.image_facts(save(tmp_path / "f.png", pixels)).content != facts.image_facts(packed).content
    flat = [facts.image_facts(save(tmp_path / "g.png", np.zeros(shape))).content for shape in ((4, 16), (16, 4))]
    assert flat[0] != flat[1], "the shape counts"


def test_facts_of_an_image_by_hand(tmp_path: Path) -> None:
    grey = facts.image_facts(save(tmp_path / "a.png", [[0, 255, 255], [0, 255, 0]]))
    assert (grey.width, grey.height, grey.mode, grey.colour, grey.mean, grey.spread) == (3, 2, "L", False, 127.5, 127.5)
    assert facts.image_facts(save(tmp_path / "b.png", [[[9, 9, 9], [9, 9, 8]]])).colour
    assert not facts.image_facts(save(tmp_path / "c.png", [[[9, 9, 9], [7, 7, 7]]])).colour
    (tmp_path / "d.png").write_bytes(b"")
    assert "zero bytes" in facts.image_facts(tmp_path / "d.png").error
    assert "does not exist" in facts.image_facts(tmp_path / "gone.png").error


def test_facts_of_a_mask_by_hand(tmp_path: Path) -> None:
    path = save(tmp_path / "m.png", [[0, 0, 0, 0, 0], [100, 100, 255, 255, 255]])
    assert facts.mask_facts(path, 127) == MaskFacts(5, 2, 3, 255, 0.3, 0.2)
    assert facts.mask_facts(path, 99).above == 0.5
    assert facts.mask_facts(save(tmp_path / "z.png", [[0, 0]]), 127) == MaskFacts(2, 1, 1, 0, 0.0, 0.0)


def test_a_file_is_decoded_again_only_after_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [save(tmp_path / f"{i}.png", [[i, 200]]) for i in range(3)]
    read: list[Path] = []

    def counting(path: Path, own: Callable[[Path], ImageFacts] = facts.image_facts) -> ImageFacts:
        read.append(path)
        return own(path)

    monkeypatch.setattr(facts, "image_facts", counting)
    first = facts.images(paths, tmp_path / "cache", "x")
    assert sorted(read) == paths
    assert facts.images(paths, tmp_path / "cache", "x") == first
    assert len(read) == 3
    save(paths[1], [[77, 77]])
    os.utime(paths[1], (1, 1))
    assert facts.images(paths, tmp_path / "cache", "x")[paths[1]].mean == 77
    assert read[3:] == [paths[1]]


# Findings on files


def first(folder: Path, number: int = 0) -> Path:
    return sorted(folder.iterdir())[number]


def truncated(brain: Path) -> None:
    path = first(brain / "test/good/img")
    path.write_bytes(path.read_bytes()[:60])


def other_size(brain: Path) -> None:
    save(first(brain / "test/Ungood/anomaly_mask"), np.eye(16) * 255)


def no_lesion(brain: Path) -> None:
    save(first(brain / "test/Ungood/anomaly_mask"), np.zeros((32, 32)))


def zero_and_one(brain: Path) -> None:
    save(first(brain / "valid/Ungood/anomaly_mask"), np.eye(32))


def grey_mask(brain: Path) -> None:
    mask = np.zeros((32, 32))
    mask[:16], mask[16:18] = 255, 120
    save(first(brain / "test/Ungood/anomaly_mask"), mask)


def inverted(brain: Path) -> None:
    mask = np.full((32, 32), 255)
    mask[:2] = 0
    save(first(brain / "test/Ungood/anomaly_mask"), mask)


def no_mask(brain: Path) -> None:
    first(brain / "test/Ungood/anomaly_mask").unlink()


def leaked(brain: Path) -> None:
    with Image.open(first(brain / "valid/good/img")) as image:
        image.convert("RGB").save(brain / "test/good/img/99999_1.png", compress_level=1)


def twice(brain: Path) -> None:
    path = first(brain / "test/good/img")
    shutil.copy(path, path.with_name("99999_1.png"))


def saved_anew(brain: Path) -> None:
    with Image.open(first(brain / "valid/good/img")) as image:
        image.convert("RGB").save(brain / "test/good/img/99999_1.jpg", quality=95)


def both_labels(brain: Path) -> None:
    shutil.copy(first(brain / "test/Ungood/img"), brain / "test/good/img/99999_1.png")


def shared_patient(brain: Path) -> None:
    first(brain / "test/good/img").rename(brain / "test/good/img/00000_99.png")


def in_train(brain: Path) -> None:
    (brain / "train/good/img").mkdir(parents=True)
    shutil.copy(first(brain / "valid/good/img"), brain / "train/good/img/55555_1.png")


def patient_in_train(brain: Path) -> None:
    (brain / "train/good/img").mkdir(parents=True)
    save(brain / "train/good/img/00000_1.png", np.eye(32) * 255)


def all_grey(brain: Path) -> None:
    save(first(brain / "test/good/img"), np.full((32, 32), 9))


def mask_alone(brain: Path) -> None:
    save(brain / "test/Ungood/anomaly_mask/77777_1.png", np.eye(32) * 255)


def odd_ending(brain: Path) -> None:
    (brain / "test/good/img/scan.nii").write_bytes(b"x")


def no_abnormal(brain: Path) -> None:
    shutil.rmtree(brain / "test/Ungood")


def untouched(brain: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("change", "check", "level", "says"),
    [
        (truncated, "unreadable", "error", "00100_60.png cannot be read"),
        (other_size, "mask-size", "error", "Brain/test/Ungood/anomaly_mask/00110_60.png is 16 x 16, its image 32 x 32"),
        (no_lesion, "mask-empty", "error", "test/abnormal/00110_60.png: all zero"),
        (zero_and_one, "mask-empty", "error", "valid/abnormal/00010_60.png: highest value 1"),
        (grey_mask, "mask-values", "warning", "00110_60.png: 3 values, 6.2 % between"),
        (inverted, "mask-full", "warning", "test/abnormal/00110_60.png: 94 % abnormal"),
        (no_mask, "refused", "error", "00110_60.png has no mask"),
        (leaked, "identical-test", "error", "valid/normal/00000_60.png = test/normal/99999_1.png"),
        (saved_anew, "alike-test", "warning", "valid/normal/00000_60.png ~ test/normal/99999_1.jpg (0.9"),
        (twice, "identical-within", "warning", "test/normal/00100_60.png = test/normal/99999_1.png"),
        (both_labels, "identical-labels", "error", "test/normal/99999_1.png = test/abnormal/00110_60.png"),
        (shared_patient, "patient-test", "error", "00000: 3 in valid, 1 in test"),
        (in_train, "identical-train-valid", "warning", "train/normal/55555_1.png = valid/normal/00000_60.png"),
        (patient_in_train, "patient-train-valid", "warning", "00000: 1 in train, 3 in valid"),
        (all_grey, "blank", "warning", "test/normal/00100_60.png"),
        (mask_alone, "stray", "warning", "Brain/test/Ungood/anomaly_mask/77777_1.png"),
        (odd_ending, "stray", "warning", "Brain/test/good/img/scan.nii"),
        (no_abnormal, "balance", "error", "5 normal and 0 abnormal: no figure"),
        (untouched, "counts", "warning", "test 5 + 5, published 640 + 3075"),
    ],
)
def test_each_fault_is_found_and_no_other(
    adbench, tiny: Path, change: Callable[[Path], None], check: str, level: str, says: str
) -> None:
    before = json.loads(adbench("data", "check", "brainmri", f"data_root={tiny}", "--json").out)
    assert [f["check"] for f in before["findings"] if f["level"] != "ok"] == ["counts"]
    change(tiny / "Brain")
    answer = adbench("data", "check", "brainmri", f"data_root={tiny}", "--json")
    assert answer.code == (1 if level == "error" else 0), answer.err
    found = json.loads(answer.out)
    bad = [f for f in found["findings"] if f["level"] != "ok"]
    assert {f["check"] for f in bad} == {"counts", check}
    (one,) = (f for f in bad if f["check"] == check)
    assert one["level"] == level
    assert says in " ".join([*one["where"], one["why"]])
    assert one["count"] == len(one["where"]) or check in ("refused", "balance")
    assert one["why"]
    assert found["levels"]["error"] == (level == "error")


def test_a_refused_dataset_is_still_examined(adbench, tiny: Path) -> None:
    no_mask(tiny / "Brain")
    leaked(tiny / "Brain")
    found = json.loads(adbench("data", "check", "brainmri", f"data_root={tiny}", "--json").out)
    errors = {f["check"]: f for f in found["findings"] if f["level"] == "error"}
    assert set(errors) == {"refused", "identical-test"}


def test_words_reach_into_the_dataset(adbench, tiny: Path) -> None:
    no_lesion(tiny / "Brain")
    root = f"data_root={tiny}"
    assert adbench("data", "check", "brainmri", root).code == 1
    allowed = adbench("data", "check", "brainmri", root, "dataset.empty_masks=allow", "--json")
    assert (allowed.code, '"mask-empty",\n      "level": "warning"' in allowed.out) == (0, True)
    blind = adbench("data", "check", "brainmri", root, "dataset.patient_pattern=null", "--json")
    unknown = next(f for f in json.loads(blind.out)["findings"] if f["check"] == "patient-unknown")
    assert (unknown["level"], unknown["count"], len(unknown["where"])) == ("warning", 22, 3)


def test_the_table_shows_levels_examples_and_how_many_more(adbench, tiny: Path) -> None:
    for i in range(5):
        path = tiny / "Brain/test/good/img" / f"9999{i}_[bold]1.png"
        save(path, np.full((32, 32), 9 + i))
    answer = adbench("data", "check", "brainmri", f"data_root={tiny}")
    assert answer.code == 0
    row = answer.out[answer.out.index("blank images") :]
    assert "5   test/normal/99990_[bold]1.png" in row
    assert "and 2 more" in row
    assert "ok        every abnormal image has a mask" in answer.out
    assert "3 warnings," in answer.out, "counts, and the patients of these names, beside the blank ones"


def test_json_goes_to_a_file_as_well(adbench, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "found" / "brainmri.json"
    answer = adbench("data", "check", "brainmri", f"data_root={tiny}", "--out", out)
    assert f"written: {out}" in answer.out
    content = json.loads(out.read_text())
    assert (content["dataset"], content["data"], content["images"]) == ("brainmri", "real", 22)
    again = adbench("data", "check", "brainmri", f"data_root={tiny}", "--json")
    assert json.loads(again.out) == content, "the same from the cache, and nothing but JSON on standard output"


def test_phantoms_are_in_order_and_named_as_such(adbench, tmp_path: Path) -> None:
    assert adbench("data", "phantom", "--root", tmp_path, "--dataset", "liverct", "--test", "24").code == 0
    answer = adbench("data", "check", "liverct", f"data_root={tmp_path}", "--json")
    found = json.loads(answer.out)
    assert (answer.code, found["data"]) == (0, "phantom")
    assert [f["check"] for f in found["findings"] if f["level"] != "ok"] == []
    checks = {f["check"] for f in found["findings"]}
    assert {"layout", "counts", "balance", "slice-position", "image-size", "colour-mode", "brightness"} <= checks


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["brain"], 2, "did you mean 'brainmri'"),
        (["brainmri", "data_root=/nowhere"], 3, "data_root=/nowhere is not a folder"),
        (["brainmri", "shots=4"], 2, "unknown key 'shots' here"),
        (["brainmri", "dataset.maskz=false"], 2, "did you mean 'masks'"),
    ],
)
def test_bad_words_are_one_sentence(adbench, words: list[str], code: int, says: str) -> None:
    answer = adbench("data", "check", *words)
    assert (answer.code, answer.err.count("\n")) == (code, 1)
    assert says in answer.err


# Findings on hand-made facts


def case(items: list[Item], images: dict[Path, ImageFacts], found: dict[Path, MaskFacts], **changes: object) -> Case:
    settings = DatasetConfig("Some set", "object", **changes)  # type: ignore[arg-type]
    return Case(Path(), items, settings, images, found)


def of(findings: list[Finding], check: str) -> Finding:
    (one,) = (finding for finding in findings if finding.check == check)
    return one


def test_several_mask_files_are_one_union() -> None:
    path, one, other = Path("a/x.png"), Path("m/x.png"), Path("m/x_1.png")
    images = {path: ImageFacts(4, 4, "L", False, 9, 1, "c")}
    masks = {one: MaskFacts(4, 4, 1, 0, 0.0, 0.0), other: MaskFacts(4, 4, 2, 255, 0.2, 0.0)}
    for mask, level in (((one, other), "ok"), ((one,), "error")):
        item = Item("test/abnormal/x.png", "test", 1, path, mask)
        assert of(doctor.paired(case([item], images, masks)), "mask-empty").level == level
    healthy = Item("test/normal/x.png", "test", 0, path, (one, other))
    assert of(doctor.paired(case([healthy], images, masks)), "mask-of-normal").where == ("test/normal/x.png",)


def test_every_abnormal_image_needs_a_mask_where_the_set_has_masks() -> None:
    path = Path("a/x.png")
    images = {path: ImageFacts(4, 4, "L", False, 9, 1, "c")}
    item = Item("test/abnormal/x.png", "test", 1, path)
    assert of(doctor.paired(case([item], images, {})), "mask-missing").level == "error"
    assert [f.check for f in doctor.paired(case([item], images, {}, masks=False))] == ["masks"]


def test_copies_are_told_from_images_that_only_resemble_each_other() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(40, 200, 256)

    def look(pixels: object, content: str) -> ImageFacts:
        return ImageFacts(16, 16, "L", False, 9, 1, content, np.array(pixels, np.uint8).tobytes().hex())

    learnt = Item("valid/normal/a.png", "valid", 0, Path("a"))
    looks = {
        "darker": look(base // 2, "d"), "other": look(rng.integers(40, 200, 256), "o"), "same": look(base, "a"),
        "blank": look([7] * 256, "b"), "noisy": look(base + rng.integers(-30, 30, 256), "n"),
    }  # fmt: skip
    tests = [Item(f"test/normal/{name}.png", "test", 0, Path(name)) for name in looks]
    images = {Path("a"): look(base, "a")} | {Path(name): one for name, one in looks.items()}
    (found,) = copies.alike(case([learnt, *tests], images, {}))
    assert found.where == ("valid/normal/a.png ~ test/normal/darker.png (0.9999)",), "equal pixels are another finding"
    assert copies.alike(case(tests, images, {}))[0].level == "ok"


def test_published_counts() -> None:
    items = [Item(f"test/normal/{i}.png", "test", i % 2, Path(f"{i}.png")) for i in range(6)]
    same = doctor.counts(case(items, {}, {}, expected={"test": [3, 3], "valid": None}))
    assert [(f.level, f.where) for f in same] == [("ok", ("test 3 + 3",))]
    other = doctor.counts(case(items, {}, {}, expected={"test": [3, 4], "train": [2, 0]}))
    assert [(f.level, f.where) for f in other] == [
        ("warning", ("train 0 + 0, published 2 + 0", "test 3 + 3, published 3 + 4"))
    ]


def test_a_test_split_of_one_in_ten_is_a_warning() -> None:
    def level(normal: int, abnormal: int) -> str:
        labels = [0] * normal + [1] * abnormal
        items = [Item(f"{i}", "test", label, Path(f"{i}")) for i, label in enumerate(labels)]
        return doctor.balance(case(items, {}, {}))[0].level

    assert (level(9, 1), level(10, 1), level(1, 10), level(0, 5)) == ("ok", "warning", "warning", "error")


# Shortcuts


def slices(numbers: list[int], label: int, patient: str = "") -> list[Item]:
    names = [(patient or f"p{i % 4}", number) for i, number in enumerate(numbers)]
    return [Item(f"{p}_{n}", "test", label, Path(f"{p}_{n}.png"), patient=p) for p, n in names]


def looks(items: list[Item], **figures: Callable[[Item], object]) -> dict[Path, ImageFacts]:
    base = {"width": 8, "height": 8, "mode": "L", "colour": False, "mean": 5.0, "spread": 1.0, "content": "c"}
    return {i.path: ImageFacts(**base | {key: figure(i) for key, figure in figures.items()}) for i in items}  # type: ignore[arg-type]


def confound(items: list[Item], images: dict[Path, ImageFacts], check: str) -> confounds.Confound:
    (one,) = (c for c in confounds.confounds(items, images) if c.check == check)
    return one


def test_slices_at_the_ends_are_told_from_those_in_the_middle() -> None:
    middle = list(range(40, 60))
    ends = [*range(10), *range(90, 100)]
    items = slices(ends, 0) + slices(middle, 1)
    found = confound(items, looks(items), "slice-position")
    assert found.telling
    assert found.figures == ("test AUROC 1.00 (distance from the middle)",)
    items = slices(list(range(0, 40, 2)), 0) + slices(list(range(1, 41, 2)), 1)
    assert not confound(items, looks(items), "slice-position").telling


def test_low_slices_are_told_from_high_ones() -> None:
    items = slices(list(range(20)), 0) + slices(list(range(20, 40)), 1)
    assert confound(items, looks(items), "slice-position").figures == ("test AUROC 1.00 (number)",)


def test_the_patients_own_middle_counts_where_heads_differ_in_height() -> None:
    items = []
    for base in range(0, 4000, 200):
        patient = f"p{base:04d}"
        items += slices([base, base + 100], 0, patient) + slices([base + 49, base + 51], 1, patient)
    found = confound(items, looks(items), "slice-position")
    assert found.figures == ("test AUROC 1.00 (distance from the patient's middle)",)


def test_without_patients_a_number_is_no_slice() -> None:
    items = [Item(f"{i}", "test", i // 20, Path(f"image_{i}.png")) for i in range(40)]
    assert not [c for c in confounds.confounds(items, looks(items)) if c.check == "slice-position"]


@pytest.mark.parametrize(
    ("name", "patient", "number"),
    [("00018_60", "00018", 60), ("CNV-1016042-7", "1016042", 7), ("TCGA_DU_5851_19950428_12", "TCGA_DU_5851", 12)]
    + [("00018", "00018", None), ("scan_3", None, None), ("scan_3", "p", None)],
)
def test_slice_numbers(name: str, patient: str | None, number: int | None) -> None:
    assert confounds.slice_number(Item("x", "test", 0, Path(name + ".png"), patient=patient)) == number


@pytest.mark.parametrize(
    ("check", "figures", "says"),
    [
        ("image-size", {"width": lambda i: 8 + 8 * i.label, "height": lambda i: 8}, "1.00 (pixels)"),
        (
            "image-size",
            {"width": lambda i: (4, 8)[i.label], "height": lambda i: (8, 4)[i.label]},
            "1.00 (width / height)",
        ),
        ("colour-mode", {"mode": lambda i: ("L", "RGB")[i.label]}, "1.00 (mode)"),
        ("colour-mode", {"colour": lambda i: i.label == 1}, "1.00 (mode)"),
        ("brightness", {"mean": lambda i: 90.0 - 50 * i.label}, "1.00 (mean)"),
        ("brightness", {"spread": lambda i: 3.0 + i.label}, "1.00 (spread)"),
    ],
)
def test_what_every_method_sees(check: str, figures: dict[str, Callable[[Item], object]], says: str) -> None:
    items = slices(list(range(30)), 0) + slices(list(range(30, 60)), 1)
    assert not confound(items, looks(items), check).telling
    found = confound(items, looks(items, **figures), check)
    assert found.telling
    assert says in found.figures[0]


def test_few_images_accuse_nobody() -> None:
    items = slices(list(range(9)), 0) + slices(list(range(9, 18)), 1)
    assert confounds.confounds(items, looks(items, mean=lambda i: float(i.label))) == []
    # AUROC 0.74 over 10 + 10: beyond the limit, within three standard deviations of chance (0.13 each).
    lower, upper = list(range(0, 30, 3)), list(range(8, 38, 3))
    few = slices(lower, 0) + slices(upper, 1)
    many = slices([10 * n + i for n in lower for i in range(10)], 0) + slices(
        [10 * n + i for n in upper for i in range(10)], 1
    )
    assert confounds.chance(10, 10) == pytest.approx(0.1323, abs=1e-4)
    assert not confound(few, looks(few), "slice-position").telling
    assert confound(many, looks(many), "slice-position").telling


# Contact sheets


def test_describe_prints_the_facts_and_outlines_masks(adbench, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    answer = adbench("data", "describe", "brainmri", f"data_root={tiny}", "--out", out)
    assert answer.code == 0, answer.err
    for text in (
        "BMAD Brain MRI",
        "CC BY-NC-SA 4.0",
        "BraTS2021 through BMAD",
        r"_\d+$",
        "640 + 3075",
        f"drawn: {out}",
    ):
        assert text in answer.out
    row = next(line for line in answer.out.splitlines() if " test " in line)
    assert row.replace("│", " ").split()[:5] == ["test", "5", "5", "4", "5"]
    with Image.open(out) as sheet:
        pixels = np.asarray(sheet)
    assert (pixels == contact.COLOUR).all(-1).sum() > 100


def test_a_tile_keeps_proportions_and_draws_the_union_of_masks(tmp_path: Path) -> None:
    path = save(tmp_path / "x.png", np.zeros((50, 100)))
    left, right = np.zeros((50, 100)), np.zeros((50, 100))
    left[10:40, 5:35] = right[10:40, 65:95] = 255
    masks = save(tmp_path / "l.png", left), save(tmp_path / "r.png", right)
    tile = np.asarray(contact.tile(Item("x", "test", 1, path, masks), 127))
    assert tile.shape == (contact.TILE, contact.TILE, 3)
    quarter = contact.TILE // 4
    assert (tile[0, 0] > 200).all()
    assert (tile[: quarter - 1] == tile[0, 0]).all(), "a band above a wide image"
    drawn = (tile == contact.COLOUR).all(-1)
    assert drawn[:, : contact.TILE // 2].any()
    assert drawn[:, contact.TILE // 2 :].any()
    assert not (np.asarray(contact.tile(Item("x", "test", 0, path), 127)) == contact.COLOUR).all(-1).any()


def test_long_names_are_cut_in_the_middle() -> None:
    name = "TCGA_DU_5851_19950428_a_very_long_name_12.png"
    short = contact.fitting(name, 120, contact.TEXT)
    assert contact.TEXT.getlength(short) <= 120
    assert (short[:4], short[-6:], "…" in short) == ("TCGA", "12.png", True)


def test_nothing_is_left_where_an_image_cannot_be_drawn(adbench, tiny: Path, tmp_path: Path) -> None:
    truncated(tiny / "Brain")
    out = tmp_path / "out" / "sheet.png"
    answer = adbench("data", "describe", "brainmri", f"data_root={tiny}", "--out", out)
    assert (answer.code, "cannot be read" in answer.err, out.parent.exists()) == (3, True, False)


# Supports on the command line


def ids(text: str) -> list[str]:
    return [line.split()[1] for line in text.splitlines() if line[:5].strip().isdigit()]


@pytest.fixture
def show(adbench, tiny: Path, tmp_path: Path) -> Callable[..., object]:
    def call(*words: str) -> object:
        return adbench("support", "show", f"data_root={tiny}", *words, "--out", tmp_path / "support.png")

    return call


def test_what_is_shown_is_what_a_run_takes(show, tiny: Path, tmp_path: Path) -> None:
    for words in (["shots=2"], ["shots=3", "draw=4"], ["shots=full"]):
        (cell,) = config.parse(["method=madclip", f"data_root={tiny}", *words])
        manifest = resolve(cell).manifest
        answer = show(*words)
        assert answer.code == 0, answer.err
        assert ids(answer.out) == [*manifest.normal, *manifest.abnormal]
        assert f"manifest {manifest.hash}" in answer.out
        assert "patient 0000" in answer.out
        with Image.open(tmp_path / "support.png") as sheet:
            assert sheet.width > 4 * contact.TILE


def test_a_method_says_which_classes(show) -> None:
    both = ids(show("shots=3", "draw=1").out)
    assert ids(show("shots=3", "draw=1", "method=madclip").out) == both
    assert ids(show("shots=3", "draw=1", "method=patchcore").out) == [i for i in both if "/normal/" in i]
    answer = show("shots=3", "method=clip")
    assert (answer.code, "clip learns from no image" in answer.err) == (2, True)


def test_a_list_is_shown_as_it_stands(show, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("n-0: 00001_64.png 00000_60.png\na-0: 00010_61.png\n")
    answer = show(f"support={tmp_path / 'list.txt'}")
    assert [i.rpartition("/")[2] for i in ids(answer.out)] == ["00001_64.png", "00000_60.png", "00010_61.png"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["shots=0"], "shots=0 has no support"),
        (["shots=2,4"], "one support is shown at a time"),
        (["shots=7"], "6 normal and 6 abnormal"),
        (["seed=1"], "unknown key 'seed' here"),
        (["protocol=full_normal"], "name it with method="),
        (["dataset.support_split=test"], "a support comes from train or valid"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(show, words: list[str], says: str) -> None:
    answer = show(*words)
    assert (answer.code, answer.err.count("\n"), says in answer.err) == (2, 1, True), answer.err


def test_a_draw_depends_neither_on_file_order_nor_on_the_method(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(method: str) -> tuple[tuple[str, ...], tuple[str, ...], str]:
        (cell,) = config.parse([f"method={method}", "shots=4", f"data_root={tiny}"])
        manifest = resolve(cell).manifest
        return manifest.normal, manifest.abnormal, manifest.hash

    before = drawn("madclip")
    normals, _, _ = drawn("patchcore")
    assert normals == before[0]
    orders = []

    def shuffled(path: object = ".", listdir: Callable[..., list[str]] = os.listdir) -> list[str]:
        names = sorted(listdir(path))
        random.Random(len(orders)).shuffle(names)
        orders.append(names)
        return names

    monkeypatch.setattr(os, "listdir", shuffled)
    assert [drawn("madclip") for _ in range(3)] == [before] * 3
    assert any(names != sorted(names) for names in orders), "the order of files was another one"


def test_a_draw_does_not_depend_on_the_hash_seed(tiny: Path, tmp_path: Path) -> None:
    words = ["support", "show", f"data_root={tiny}", "shots=4", "draw=2", "--out", str(tmp_path / "s.png")]
    outs = [
        subprocess.run(
            [sys.executable, "-m", "adbench", *words], env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert outs[0] == outs[1]
    assert len(ids(outs[0])) == 8
