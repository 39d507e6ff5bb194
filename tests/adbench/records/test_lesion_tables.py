"""The tables of lesions and false positives, and the patients of a record: what is read, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from adbench.errors import RecordError
from adbench.records import tables
from adbench.records.check import FIELDS
from adbench.records.record import Record

CONTENT: dict[str, Any] = {"test_images": 3, "lesions": {"number": 2, "thresholds": 1}}
LESIONS = pd.DataFrame({"image": [0, 2], "area": [4, 9], "score": [0.5, 0.25]})
COUNTS = pd.DataFrame({"image": [0, 1, 2], "specificity": [0.95] * 3, "threshold": [0.5] * 3, "regions": [1, 0, 2]})


@pytest.mark.parametrize(("name", "good"), [("lesions", LESIONS), ("false_positives", COUNTS)])
def test_the_tables_are_read_as_they_were_written(tmp_path: Path, name: str, good: pd.DataFrame) -> None:
    good.to_parquet(tmp_path / f"{name}.parquet", index=False)
    pd.testing.assert_frame_equal(getattr(Record(tmp_path, CONTENT), name)(), good)
    assert getattr(Record(tmp_path, {"lesions": None}), name)() is None
    assert getattr(Record(tmp_path, {}), name)() is None, "of an older record"


@pytest.mark.parametrize(
    ("name", "bad", "words"),
    [
        ("lesions", LESIONS.assign(image=[0, 3]), "an image that is not one of 3"),
        ("lesions", LESIONS.assign(area=[0, 9]), "a lesion has no pixel"),
        ("lesions", LESIONS.assign(score=[0.5, float("inf")]), "missing or not finite"),
        ("lesions", LESIONS.iloc[:1], "it has 1 rows, not 2"),
        ("lesions", LESIONS.drop(columns="area"), "0 columns area"),
        ("false_positives", COUNTS.assign(regions=[1, -1, 0]), "a count is negative"),
        ("false_positives", COUNTS.assign(specificity=2.0), "a specificity not from 0 to 1"),
        ("false_positives", COUNTS.iloc[:2], "it has 2 rows, not 3"),
    ],
)
def test_a_damaged_table_is_named(tmp_path: Path, name: str, bad: pd.DataFrame, words: str) -> None:
    bad.to_parquet(tmp_path / f"{name}.parquet", index=False)
    with pytest.raises(RecordError, match=words):
        getattr(Record(tmp_path, CONTENT), name)()


@pytest.mark.parametrize("value", [{}, {"number": -1, "thresholds": 0}, {"number": 1, "thresholds": 65}, [], "x"])
def test_record_json_says_how_many(value: object) -> None:
    assert not FIELDS["lesions"].holds(value)
    assert FIELDS["lesions"].holds({"number": 0, "thresholds": 3})


def predictions(folder: Path, **changes: object) -> Record:
    table = pd.DataFrame({"image": ["a", "b", "c"], "label": [0, 1, 0], "score": [0.5, 0.25, 1.0]})
    table = table.assign(map_max=0.0, map_mean=0.0, patient=pd.array(["p", "p", None], dtype="string"))
    table.assign(**changes).to_parquet(folder / "predictions.parquet", index=False)
    return Record(folder, CONTENT)


def test_patients_of_a_record(tmp_path: Path) -> None:
    found = predictions(tmp_path).patients()
    assert found["patient"].fillna("unknown").tolist() == ["p", "unknown"]
    assert found[["label", "score", "images"]].to_numpy().tolist() == [[1, 0.5, 2], [0, 1.0, 1]]
    assert predictions(tmp_path).patients("mean")["score"].tolist() == [0.375, 1.0]
    with pytest.raises(RecordError, match="knows the patient of no image"):
        predictions(tmp_path, patient=pd.array([None] * 3, dtype="string")).patients()


@pytest.mark.parametrize(("column", "value"), [("lesion_area", -1), ("aupimo", 1.5), ("aupimo_loose", -0.5)])
def test_a_value_beyond_its_range_is_refused(tmp_path: Path, column: str, value: float) -> None:
    assert column in tables.predictions(predictions(tmp_path, **{column: type(value)(0)}).path, 3)
    with pytest.raises(RecordError, match=f"a value of {column} is negative or too large"):
        predictions(tmp_path, **{column: value}).predictions()
