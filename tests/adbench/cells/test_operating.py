"""Held-out images for thresholds: never of the support or the test split, nor of their patients; and their keys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.cells.cell import TrainingSet
from adbench.cells.operating import choose, held_out_of
from adbench.cells.resolve import resolve
from adbench.config.words import parse
from adbench.data.indexed import IndexedDataset
from adbench.data.items import DatasetConfig, Item
from adbench.data.support import Manifest
from adbench.errors import AdbenchError

NOTHING = Manifest("none", 0, (), (), "none")


def _item(split: str, label: int, number: int, patient: str | None = None) -> Item:
    name = f"{split}/{'abnormal' if label else 'normal'}/{number:03d}.png"
    return Item(name, split, label, Path(name), patient=patient)  # type: ignore[arg-type]


def _dataset(items: list[Item], same: dict[str, str] | None = None) -> IndexedDataset:
    hashes = {item.id: (same or {}).get(item.id, item.id).ljust(64, "0") for item in items}
    config = DatasetConfig("Made", "organ", support_split="valid")
    return IndexedDataset("made", config, Path(), tuple(items), hashes, True)


def _pool(normal: int, abnormal: int, split: str = "valid", **more: object) -> list[Item]:
    rows = [(0, i) for i in range(normal)] + [(1, i) for i in range(abnormal)]
    return [_item(split, label, i, **more) for label, i in rows]


TEST = _pool(2, 2, "test")


def _support(dataset: IndexedDataset, *items: Item) -> list[TrainingSet]:
    return [TrainingSet(dataset, "valid", items, NOTHING)]


def test_a_method_that_learns_from_no_image_holds_the_whole_split_out() -> None:
    pool = _pool(30, 25)
    found = choose(_dataset([*pool, *TEST]), [])
    assert set(found.items) == set(pool)
    assert (found.split, found.of, found.in_test, found.why) == ("the valid split of made", 55, 0, "")


def test_the_support_its_patients_and_its_copies_are_left_out() -> None:
    pool = [replace(item, patient=f"p{number // 2}") for number, item in enumerate(_pool(40, 40))]
    dataset = _dataset([*pool, *TEST], {pool[30].id: "twin", pool[0].id: "twin"})
    found = choose(dataset, _support(dataset, pool[0], pool[50]))
    assert set(pool) - set(found.items) == {pool[0], pool[1], pool[50], pool[51], pool[30]}
    assert found.of == 75


def test_a_patient_or_a_copy_of_the_test_split_is_left_out_and_counted() -> None:
    pool = _pool(30, 30)
    pool[3] = replace(pool[3], patient="tested")
    test = [replace(TEST[0], patient="tested"), *TEST[1:]]
    found = choose(_dataset([*pool, *test], {pool[7].id: "twin", test[3].id: "twin"}), [])
    assert set(pool) - set(found.items) == {pool[3], pool[7]}
    assert (found.in_test, found.of) == (2, 58)


def test_at_most_some_hundred_of_each_class_spread_over_patients_and_the_same_each_time() -> None:
    pool = [replace(item, patient=f"p{number % 60}") for number, item in enumerate(_pool(600, 90))]
    found = choose(_dataset([*pool, *TEST]), [], most=50)
    assert [sum(item.label == label for item in found.items) for label in (0, 1)] == [50, 50]
    assert len({item.patient for item in found.items if not item.label}) == 50
    assert found.of == 690
    assert choose(_dataset([*reversed(pool), *TEST]), [], most=50) == found


def test_few_normals_are_filled_up_from_the_splits_that_are_not_tested() -> None:
    valid, train = _pool(6, 30), _pool(40, 0, "train")
    found = choose(_dataset([*valid, *train, *TEST]), [], most=25)
    assert sum(item.split == "train" for item in found.items) == 19
    assert sum(item.label for item in found.items) == 25
    assert found.split == "the valid and train splits of made"
    enough = choose(_dataset([*_pool(20, 30), *train, *TEST]), [])
    assert {item.split for item in enough.items} == {"valid"}
    one_patient = choose(_dataset([*_pool(30, 30, patient="p"), *train, *TEST]), [])
    assert sum(item.split == "train" for item in one_patient.items) == 40


def test_where_none_is_left_a_sentence_says_so() -> None:
    pool = _pool(3, 3, patient="one")
    dataset = _dataset([*pool, *TEST])
    found = choose(dataset, _support(dataset, pool[0]))
    assert found.items == ()
    assert found.why == "no image of the valid split of made is left without the support and its patients"
    tested = _dataset([*pool, *(replace(item, patient="one") for item in TEST)])
    assert "; 6 are of the test split or its patients" in choose(tested, []).why


def _cell(tiny: Path, *words: str):
    (config,) = parse([f"data_root={tiny}", *words])
    return resolve(config)


def test_keys_stay_where_the_record_is_the_same_and_differ_where_it_is_not(tiny: Path) -> None:
    usual = _cell(tiny, "method=patchcore", "shots=2")
    assert "operating" not in usual.facts
    assert _cell(tiny, "method=patchcore", "shots=2", "operating=valid").key == usual.key
    none = _cell(tiny, "method=patchcore", "shots=2", "operating=none")
    assert none.facts["operating"] == "none"
    assert none.key != usual.key
    full = [_cell(tiny, "method=madclip", "shots=full", f"operating={one}").key for one in ("valid", "none")]
    assert full[0] == full[1], "all of valid is learned from, so nothing is held out either way"


def test_a_shared_training_does_not_depend_on_it(tiny: Path) -> None:
    words = ("method=madclip", "train_on=brainmri", "protocol=cross_dataset", "shots=1")
    for rule in ("last", "oracle"):
        cells = [_cell(tiny, *words, f"operating={one}", f"selection={rule}") for one in ("valid", "none")]
        assert cells[0].training_key == cells[1].training_key
        assert cells[0].key != cells[1].key


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("method=clip",), "it learns from no image"),
        (("method=mvfa", "shots=2", "method.fusion=transductive"), "it is transductive"),
        (("method=madclip", "shots=2", "train_on=brainmri", "protocol=cross_dataset"), "learns from other datasets"),
        (("method=madclip", "shots=1"), "0 and 0 are left to learn from"),
    ],
)
def test_a_cross_validation_that_gives_no_threshold_is_refused(tiny: Path, words: tuple[str, ...], why: str) -> None:
    with pytest.raises(AdbenchError, match=rf"operating=support_cv is not possible for .*{why}.*Use operating=valid"):
        _cell(tiny, *words, "operating=support_cv")


def test_a_cross_validation_of_normal_images_alone_is_possible(tiny: Path) -> None:
    cell = _cell(tiny, "method=patchcore", "shots=4", "operating=support_cv")
    assert cell.facts["operating"] == "support_cv"
    assert cell.facts["held_out"]


def test_held_out_images_of_another_split_are_another_cell(tmp_path: Path) -> None:
    g = np.random.default_rng(0)
    for place in (f"{split}/{state}" for split in ("train", "valid", "test") for state in ("normal", "abnormal")):
        (tmp_path / place).mkdir(parents=True)
        for number in range(12):
            name = place.replace("/", "_") + f"_{number}.png"
            Image.fromarray(g.integers(0, 255, (8, 8), dtype=np.uint8)).save(tmp_path / place / name)
    (tmp_path / "list.txt").write_text("n-0: train_normal_0.png train_normal_1.png\n")

    def cell(*words: str) -> tuple[str, list[str]]:
        made = resolve(parse(["dataset=folder", f"data_root={tmp_path}", *words])[0])
        return made.key, [item.id for item in held_out_of(made).items]

    assert cell("method=clip", "dataset.support_split=valid") == cell("method=clip"), (
        "it learns from no image: no effect"
    )
    words = ["method=patchcore", f"support={tmp_path}/list.txt"]
    first, held = cell(*words)
    second, of_valid = cell(*words, "dataset.support_split=valid", "dataset.support_fill=[train]")
    assert of_valid != held
    assert second != first
