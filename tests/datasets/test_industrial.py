"""MVTec AD and VisA from files written by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from adbench.config import layers
from adbench.config import words as config
from adbench.data import arrays
from adbench.data.fingerprint import hash_items
from adbench.data.items import DatasetConfig, Item
from adbench.errors import DataError
from adbench.plugins import registry
from tests.datasets.sets import grey


def facts_of(name: str, *words: str) -> DatasetConfig:
    (run,) = config.parse([f"dataset={name}", *words])
    return layers.section(DatasetConfig, "dataset", name, run.words("dataset"))


def index(root: Path, name: str, *words: str) -> list[Item]:
    return registry.find("dataset", name).load()(name, facts_of(name, *words)).index(root)


@pytest.fixture
def mvtec(tmp_path: Path) -> Path:
    """Two categories; image names repeat between defects and categories, as in the real set."""
    for category in ("bottle", "grid"):
        base = tmp_path / "mvtec_ad" / category
        for i in range(3):
            grey(base / "train" / "good" / f"{i:03d}.png", i)
        for defect in ("good", "broken", "stained"):
            grey(base / "test" / defect / "000.png", 100)
            if defect != "good":
                grey(base / "ground_truth" / defect / "000_mask.png", 255)
    return tmp_path


def test_a_category_of_mvtec(mvtec: Path) -> None:
    items = index(mvtec, "mvtec", "dataset.category=bottle")
    assert [(i.id, i.label, i.subgroup) for i in items] == [
        *((f"train/normal/good/{n:03d}.png", 0, "good") for n in range(3)),
        ("test/abnormal/broken/000.png", 1, "broken"),
        ("test/normal/good/000.png", 0, "good"),
        ("test/abnormal/stained/000.png", 1, "stained"),
    ]
    assert items[3].mask == (mvtec / "mvtec_ad/bottle/ground_truth/broken/000_mask.png",)
    assert items[4].mask is None
    assert facts_of("mvtec", "dataset.category=bottle").object_name == "bottle"


def test_all_categories_are_one_set_and_all_must_be_there(mvtec: Path) -> None:
    with pytest.raises(DataError, match=r"cable is not laid out as MVTec AD: expected .*found bottle, grid"):
        index(mvtec, "mvtec")
    facts = facts_of("mvtec")
    facts.categories = {name: facts.categories[name] for name in ("bottle", "grid")}
    items = registry.find("dataset", "mvtec").load()("mvtec", facts).index(mvtec)
    assert len(items) == len({i.id for i in items}) == 12
    assert {i.subgroup for i in items if i.label} == {
        f"{c}/{d}" for c in ("bottle", "grid") for d in ("broken", "stained")
    }


def test_a_missing_mask_of_mvtec_is_named(mvtec: Path) -> None:
    (mvtec / "mvtec_ad/grid/ground_truth/broken/000_mask.png").unlink()
    with pytest.raises(DataError, match=r"broken/000\.png has no mask: expected 000_mask\.\* in .*ground_truth/broken"):
        index(mvtec, "mvtec", "dataset.category=grid")
    assert index(mvtec, "mvtec", "dataset.category=grid", "dataset.masks=false")[3].mask is None
    assert len(index(mvtec, "mvtec", "dataset.category=bottle")) == 6


HEADER = "object,split,label,image,mask"
ROWS = [
    "candle,train,normal,candle/Data/Images/Normal/0.JPG,",
    "candle,test,normal,candle/Data/Images/Normal/1.JPG,",
    "candle,test,anomaly,candle/Data/Images/Anomaly/0.JPG,candle/Data/Masks/Anomaly/0.png",
    "pcb1,train,normal,pcb1/Data/Images/Normal/0.JPG,",
    "pcb1,test,anomaly,pcb1/Data/Images/Anomaly/0.JPG,pcb1/Data/Masks/Anomaly/0.png",
]


@pytest.fixture
def visa(tmp_path: Path) -> Path:
    root = tmp_path / "VisA_20220922"
    (root / "split_csv").mkdir(parents=True)
    table(root, *ROWS)
    for number, row in enumerate(ROWS):
        for path in row.split(",")[3:]:
            if path:
                grey(root / path, 2 if "Masks" in path else 50 + number)
    return tmp_path


def table(root: Path, *rows: str, name: str = "1cls.csv") -> None:
    (root / "split_csv" / name).write_text("\n".join([HEADER, *rows]) + "\n")


def test_a_category_of_visa_and_its_small_mask_values(visa: Path, cache: Path) -> None:
    items = index(visa, "visa", "dataset.category=candle")
    assert [i.id for i in items] == ["train/normal/0.JPG", "test/normal/1.JPG", "test/abnormal/0.JPG"]
    masks, _ = arrays.masks(items, hash_items(items, cache, "visa"), cache, 8, facts_of("visa"), "x")
    assert masks.sum(axis=(1, 2)).tolist() == [0, 0, 64]
    assert facts_of("visa", "dataset.category=pcb1").object_name == "printed circuit board"


def test_all_of_visa_and_another_split_of_it(visa: Path) -> None:
    items = index(visa, "visa")
    assert [i.id for i in items][-1] == "test/abnormal/pcb1/0.JPG"
    assert [i.subgroup for i in items] == ["candle"] * 3 + ["pcb1"] * 2
    table(visa / "VisA_20220922", ROWS[0].replace("train", "test"), name="2cls_fewshot.csv")
    (other,) = index(visa, "visa", "dataset.table=split_csv/2cls_fewshot.csv")
    assert other.split == "test"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("soap,train,normal,a.JPG,", r"1cls\.csv row 2: unknown object 'soap'\. Allowed: candle"),
        (
            "candle,train,fine,candle/Data/Images/Normal/0.JPG,",
            r"row 2: unknown label 'fine'\. Allowed: normal, a",
        ),
        ("candle,dev,normal,candle/Data/Images/Normal/0.JPG,", r"row 2: unknown split 'dev'\. Allowed: train, test"),
        ("candle,test,anomaly,candle/Data/Images/Anomaly/0.JPG,", r"row 2: the abnormal image has no mask"),
        ("candle,test,normal,../x.JPG,", r"row 2: \.\./x\.JPG climbs out of"),
        ("candle,test,normal,gone.JPG,", r"row 2: there is no file gone\.JPG"),
        (f"{ROWS[0]}\n{ROWS[0]}", r"row 3 names candle/Data/Images/Normal/0\.JPG again, as row 2 did"),
    ],
)
def test_bad_rows_of_visa_are_named(visa: Path, row: str, says: str) -> None:
    table(visa / "VisA_20220922", row)
    with pytest.raises(DataError, match=says):
        index(visa, "visa")
