"""Images in a published set's layout that are not that set."""

from __future__ import annotations

from pathlib import Path

import pytest

from adbench.config.schema import Overrides
from adbench.data.counts import differences, is_published
from adbench.data.indexed import as_published, dataset_config
from adbench.data.items import Item
from adbench.errors import AdbenchError
from adbench.records.record import read_all

SET = {"train": [20, 0], "valid": [2, 2], "test": [5, 6]}


@pytest.mark.parametrize(
    ("expected", "counts", "published"),
    [
        (SET, SET, True),
        (SET, {"valid": [2, 2], "test": [5, 6]}, True),  # a repackage without train
        (SET, {"valid": [2, 2], "test": [6, 5]}, False),
        (SET, {"train": [20, 1], "valid": [2, 2], "test": [5, 6]}, False),
        (SET, {"train": [20, 0]}, False),
        ({"train": [20, 0], "test": [5, 6]}, {"train": [20, 0], "valid": [1, 1], "test": [5, 6]}, False),
        ({"train": [20, 0], "valid": None, "test": None}, {"train": [20, 0], "test": [9, 9]}, True),
        ({"train": [20, 0], "valid": None, "test": None}, {"valid": [1, 1], "test": [9, 9]}, None),
        ({"train": None, "test": [5, 6]}, {"train": [9, 9], "test": [5, 6]}, True),
        ({}, {"test": [5, 6]}, None),
    ],
)
def test_counts_tell(expected, counts, published: bool | None) -> None:
    assert is_published(expected, counts) is published
    assert bool(differences(expected, counts)) is (published is False)


def test_what_is_not_the_published_set_has_not_its_title_source_and_licence() -> None:
    config = dataset_config("busi")
    items = [Item(str(i), "test", i % 2, Path(str(i))) for i in range(4)]
    changed, published, (note,) = as_published("busi", config, items, phantom=False)
    assert (published, changed.source, changed.licence, changed.citation) == (False, "", "", "")
    assert changed.title == f"Images in the layout of {config.title}"
    assert changed.facets() == config.facets()
    assert note == "busi is not the published set: test 2 + 2 instead of 101 + 647."
    assert as_published("busi", config, items, phantom=True) == (config, None, ())


def test_the_published_counts_cannot_be_set() -> None:
    for key in ("expected", "own_images"):
        with pytest.raises(AdbenchError, match=f"dataset.{key}= can't be set"):
            dataset_config("brainmri", Overrides({key: {"test": [5, 5]} if key == "expected" else False}))


def test_all_categories_together_have_the_sum_of_their_counts() -> None:
    assert dataset_config("mvtec").expected == {"train": [3629, 0], "test": [467, 1258]}
    assert dataset_config("visa").expected == {"train": [8659, 0], "test": [962, 1200]}


def test_describe_record_and_leaderboard_say_so(adbench, tiny: Path, tmp_path: Path) -> None:
    answer = adbench("data", "describe", "brainmri", f"data_root={tiny}", "--out", tmp_path / "x.png")
    assert "Images in the layout of BMAD Brain MRI" in answer.out
    assert "CC BY" not in answer.out
    assert "not the published set: valid 6 + 6 instead of 39 + 44, test 5 + 5 instead of 640 + 3075." in answer.out
    runs = tmp_path / "runs"
    answer = adbench("run", "method=clip", f"data_root={tiny}", f"runs={runs}", "gallery=0")
    assert answer.code == 0
    (record,) = read_all(runs)
    about = record.content["dataset"]
    assert about["published"] is False
    assert about["counts"] == {"valid": [6, 6], "test": [5, 5]}
    assert about["licence"] == ""
    assert "brainmri is not the published set" in " ".join(record.content["notes"])
    answer = adbench("leaderboard", runs, "--published", "--html", tmp_path / "site")
    assert "not the published set: valid 6 + 6 instead of 39 + 44, test 5 + 5 instead of 640 + 3075" in answer.err
    assert "brainmri@" in answer.out
    pages = [page.read_text() for page in (tmp_path / "site").rglob("*.html")]
    assert sum("test 5 + 5 instead of 640 + 3075" in page for page in pages) >= 2
