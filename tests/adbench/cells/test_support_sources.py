"""Supports that the named split alone can't give: filled up from train, or abnormal images from the test split."""

from __future__ import annotations

from pathlib import Path

import pytest

from adbench.cells.cell import Cell
from adbench.cells.datamodule import DataModule
from adbench.cells.overlap import overlap
from adbench.cells.resolve import resolve
from adbench.config.words import parse
from adbench.data.indexed import dataset_class, dataset_config
from adbench.datasets.phantoms import write_bmad
from adbench.datasets.phantoms.scenes import save, scenes
from adbench.errors import AdbenchError
from adbench.running.cell import seen_of


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drawn")
    write_bmad("oct17", root, train=12, test=4)
    write_bmad("brainmri", root, train=2, valid=4, test=4)
    for category in ("bottle", "cable"):
        dataset = dataset_class("mvtec")("mvtec", dataset_config("mvtec", {"category": category}))
        dataset.draw_phantom(root / category, {"train": 4, "test": 12})
    return root


def cell(root: Path, *words: str) -> Cell:
    (config,) = parse([f"data_root={root}", "input_size=56", "eval_size=56", *words])
    return resolve(config)


def support(cell: Cell) -> list[str]:
    return [item.id for item in cell.training_sets[0].support]


def seen(cell: Cell) -> list[tuple[str, str, int]]:
    return [(row["role"], row["split"], row["images"]) for row in seen_of(cell)]


def test_oct17_has_the_published_numbers_of_valid_images(drawn: Path) -> None:
    valid = cell(drawn, "dataset=oct17", "method=clip").target.split("valid")
    assert [sum(item.label == label for item in valid) for label in (0, 1)] == [8, 24]


def test_its_phantom_has_the_test_images_of_a_set_with_the_usual_number() -> None:
    from adbench.datasets.phantoms.write import _plan, classes

    def plan(valid: int) -> list[tuple[str, int, int, bool]]:
        return _plan("oct17", 0, {s: classes("oct17", s, n) for s, n in (("train", 60), ("valid", valid), ("test", 6))})

    assert [row for row in plan(32) if row[0] == "test"] == [row for row in plan(80) if row[0] == "test"]
    assert sum(row[0] == "valid" for row in plan(32)) == 32


@pytest.mark.parametrize("draw", [0, 3])
def test_a_class_is_filled_up_in_nested_draws(drawn: Path, draw: int) -> None:
    words = "dataset=oct17", "method=madclip", f"draw={draw}"
    few, eight, many = (support(cell(drawn, *words, f"shots={k}")) for k in (4, 8, 14))
    plain = support(cell(drawn, *words, "shots=8", "dataset.support_fill=[]"))
    assert eight == plain, "the images of 8 shots are those of the valid split alone"
    assert few == eight[:4] + eight[8:12]
    assert many[:8] == eight[:8]
    assert {name.partition("/")[0] for name in many[8:14]} == {"train"}
    assert {name.partition("/")[0] for name in many[14:]} == {"valid"}


def test_the_record_says_from_which_splits_images_are(drawn: Path) -> None:
    full = cell(drawn, "dataset=oct17", "method=patchcore", "shots=9")
    assert seen(full) == [("support", "valid", 8), ("support", "train", 1)]
    assert "1 image of the support of oct17 is from its train split" in " ".join(full.notes)
    within = cell(drawn, "dataset=oct17", "method=patchcore", "shots=8")
    assert seen(within) == [("support", "valid", 8)]
    assert not within.notes


def test_too_many_shots_name_all_splits(drawn: Path) -> None:
    with pytest.raises(AdbenchError, match=r"the valid and train splits of oct17 has 20 normal .* At most shots=20"):
        cell(drawn, "dataset=oct17", "method=patchcore", "shots=21")
    with pytest.raises(AdbenchError, match="the valid split of oct17 has 8 normal"):
        cell(drawn, "dataset=oct17", "method=patchcore", "shots=9", "dataset.support_fill=[]")
    with pytest.raises(AdbenchError, match="test is neither train nor valid"):
        cell(drawn, "dataset=oct17", "method=patchcore", "dataset.support_fill=[test]")


def test_a_list_may_name_images_of_the_filling_split(drawn: Path, tmp_path: Path) -> None:
    found = support(cell(drawn, "dataset=oct17", "method=patchcore", "shots=10"))
    file = tmp_path / "own.txt"
    file.write_text("n-0: " + " ".join(name.rpartition("/")[2] for name in found) + "\n")
    listed = cell(drawn, "dataset=oct17", "method=patchcore", f"support={file}")
    assert support(listed) == found
    assert seen(listed) == [("support", "valid", 8), ("support", "train", 2)]
    with pytest.raises(AdbenchError, match="in the train split"):
        cell(drawn, "dataset=oct17", "method=patchcore", f"support={file}", "dataset.support_fill=[]")


def test_a_holdout_without_a_class_is_filled_up_too_and_overlaps_with_nothing(drawn: Path) -> None:
    whole = cell(drawn, "dataset=oct17", "method=madclip", "shots=10", "selection=valid")
    (held,) = whole.holdouts
    labels = [item.label for item in held.items]
    assert (labels.count(0), labels.count(1)) == (10, 14), "train has 12 normal images, 2 of them in the support"
    assert not {item.id for item in held.items} & set(support(whole))
    assert seen(whole)[2:] == [("selection", "valid", 14), ("selection", "train", 10)]
    (held,) = cell(drawn, "dataset=oct17", "method=madclip", "shots=4", "selection=valid").holdouts
    assert {item.split for item in held.items} == {"valid"}
    with pytest.raises(AdbenchError, match="0 normal and 16 abnormal are left"):
        cell(drawn, "dataset=oct17", "method=madclip", "shots=8", "selection=valid", "dataset.support_fill=[]")


BOTTLE = ("dataset=mvtec", "dataset.category=bottle", "method=madclip", "shots=2")


def test_abnormal_support_images_leave_the_test_split(drawn: Path) -> None:
    taken = cell(drawn / "bottle", *BOTTLE, "dataset.abnormal_support=test")
    assert seen(taken) == [("support", "train", 2), ("support", "test", 2)]
    images = support(taken)
    assert all(name.startswith("test/abnormal/") for name in images[2:])
    tested = [item.id for item in taken.test_items]
    assert len(tested) == 12 - 2
    assert not set(tested) & set(images)
    data = DataModule.of_cell(taken)
    assert set(data.test.ids) == set(tested)
    assert overlap(data.test, data.learned_images()) == 0
    assert taken.facts["abnormal_support"] == "test"
    assert "2 abnormal images of the test split of mvtec are learned from and not scored" in " ".join(taken.notes)


def test_those_draws_are_nested_and_the_python_interface_leaves_the_images_out_too(drawn: Path) -> None:
    more = cell(drawn / "bottle", *BOTTLE[:3], "shots=4", "dataset.abnormal_support=test")
    few = cell(drawn / "bottle", *BOTTLE, "dataset.abnormal_support=test")
    assert set(support(few)) < set(support(more))
    assert few.key != more.key
    assert few.facts["data"] == more.facts["data"], "one dataset"
    data = DataModule(
        "mvtec", data_root=drawn / "bottle", shots=2, input_size=56, eval_size=56,
        overrides={"dataset.category": "bottle", "dataset.abnormal_support": "test"},
    )  # fmt: skip
    data.setup()
    assert len(data.test) == 10
    assert not set(data.support.ids) & set(data.test.ids)


def test_without_the_key_such_a_set_is_refused_and_with_it_where_it_has_no_place(drawn: Path) -> None:
    with pytest.raises(AdbenchError, match="the train split of mvtec has 4 normal and 0 abnormal"):
        cell(drawn / "bottle", *BOTTLE)
    with pytest.raises(AdbenchError, match="the valid split of brainmri has 2. Leave it out"):
        cell(drawn, "dataset=brainmri", "method=madclip", "shots=1", "dataset.abnormal_support=test")
    with pytest.raises(AdbenchError, match="no abnormal image is left in the test split of mvtec. Use fewer shots"):
        cell(drawn / "bottle", *BOTTLE[:3], "shots=full", "dataset.abnormal_support=test")
    with pytest.raises(AdbenchError, match="abnormal_support=train is not possible: `test`"):
        cell(drawn / "bottle", *BOTTLE, "dataset.abnormal_support=train")


def test_a_method_of_normal_images_has_the_whole_test_split_and_the_key_of_always(drawn: Path) -> None:
    words = ("dataset=mvtec", "dataset.category=cable", "method=patchcore", "shots=2")
    with_key = cell(drawn / "cable", *words, "dataset.abnormal_support=test")
    assert with_key.key == cell(drawn / "cable", *words).key
    assert "dataset.abnormal_support has no effect" in " ".join(with_key.notes)
    assert len(with_key.test_items) == 12


def test_all_images_of_a_patient_leave_the_test_split(tmp_path: Path) -> None:
    for scene in scenes("brainmri", 5, {"train": (2, 0), "test": (2, 6)}, slices=2):
        kind = ("normal", "abnormal")[scene.label]
        save(tmp_path / scene.split / kind / f"p{scene.patient}_{scene.slice}.png", scene.phantom.image)
    words = ["dataset=folder", "method=madclip", "shots=1", "dataset.patient_pattern=(?P<patient>[^_]+)"]
    taken = cell(tmp_path, *words, "dataset.abnormal_support=test")
    (chosen,) = [item for item in taken.training_sets[0].support if item.label]
    assert chosen.patient not in {item.patient for item in taken.test_items}
    assert len(taken.test_items) == 8 - 2
    assert "not scored; nor is 1 more of their patients or content" in " ".join(taken.notes)


def test_a_copy_of_a_support_image_leaves_the_test_split_too(tmp_path: Path) -> None:
    for scene in scenes("brainmri", 6, {"train": (1, 0), "test": (2, 2)}):
        kind = ("normal", "abnormal")[scene.label]
        save(tmp_path / scene.split / kind / f"{scene.patient}.png", scene.phantom.image)
    (first, second) = sorted((tmp_path / "test" / "abnormal").iterdir())
    for original in (first, second):
        original.with_stem(f"{original.stem}_copy").write_bytes(original.read_bytes())
    taken = cell(tmp_path, "dataset=folder", "method=madclip", "shots=1", "dataset.abnormal_support=test")
    (chosen,) = [item for item in taken.training_sets[0].support if item.label]
    left = [item for item in taken.test_items if item.label]
    assert len(left) == 2
    assert all(item.path.read_bytes() != chosen.path.read_bytes() for item in left)
