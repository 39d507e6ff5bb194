"""Keys that are left out of record.json, and records of older versions, which never had them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from adbench.records.check import key_of
from adbench.verify.examine import examine
from adbench.verify.keys import NEEDED, ONE_BY_ONE, TOGETHER
from tests.adbench.verify.conftest import Tampered, as_of


def findings(record: Tampered) -> list[str]:
    (folder,) = record.path.parent.iterdir()
    report = examine(folder)
    assert report is not None
    return [one.sentence for one in report.findings]


def without(*places: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(content: dict[str, Any]) -> dict[str, Any]:
        for place in places:
            *parents, leaf = place.split(".")
            holder = content
            for parent in parents:
                holder = holder[parent]
            holder.pop(leaf)
        return content

    return change


@pytest.mark.parametrize(
    "known",
    [
        *(ONE_BY_ONE[:number] for number in range(len(ONE_BY_ONE) + 1)),
        *((*ONE_BY_ONE, key) for key in TOGETHER),
        (*ONE_BY_ONE, *TOGETHER),
    ],
)
def test_records_of_older_versions_agree(tampered: Tampered, known: tuple[str, ...]) -> None:
    assert findings(as_of(tampered, *known)) == []


def test_a_record_from_before_masks_were_a_fact_agrees(tampered: Tampered) -> None:
    tampered.write(without("facts.dataset_facets.mask_reading")(tampered.content))
    assert findings(as_of(tampered, "seen")) == []


@pytest.mark.parametrize("key", [*ONE_BY_ONE, *TOGETHER])
def test_a_key_that_is_left_out_is_named(tampered: Tampered, key: str) -> None:
    tampered.write(without(key)(tampered.content))
    if key != "files":
        tampered.rehash()
    assert f"record.json lacks {key}, which the adbench that wrote its facts keeps" in findings(tampered)


@pytest.mark.parametrize("place", [place for place in NEEDED if not place.startswith("facts.")])
def test_a_key_of_a_section_that_is_left_out_is_named(tampered: Tampered, place: str) -> None:
    tampered.write(without(place)(tampered.content))
    tampered.rehash()
    assert any(f"record.json lacks {place}" in one for one in findings(tampered))


def test_all_that_would_be_checked_left_out_is_named(tampered: Tampered) -> None:
    tampered.write(without("files", "seen", "held_out", "lesions", "masks")(tampered.content))
    found = findings(tampered)
    assert "record.json lacks seen, masks, held_out, lesions and files" in found[0]
    assert "lesions.parquet is there, and the record doesn't name it" in found


def test_an_older_record_has_what_came_before_what_it_has(tampered: Tampered) -> None:
    older = as_of(tampered, *ONE_BY_ONE, "held_out")
    older.write(without("masks")(older.content))
    assert findings(older) == ["record.json lacks masks, which the adbench that wrote held_out keeps"]
    older.write(without("held_out")(older.content))
    assert "record.json lacks masks and held_out, which the adbench that wrote held_out keeps" in findings(older)


def test_threads_make_no_older_record_of_a_newer_one(tampered: Tampered) -> None:
    older = as_of(tampered)
    content = older.content
    content["facts"]["decoding"] = 3
    content["key"] = key_of(content["facts"])
    older.write(content)
    older.path.rename(older.path.with_name(content["key"]))
    assert any("lacks seen, image_histograms, masks, held_out, lesions and files" in one for one in findings(older))


def test_a_table_of_pixels_is_there_with_the_others(tampered: Tampered) -> None:
    tampered.edit("lesions", None)
    tampered.rehash()
    assert "lesions is null, and histogram is there" in findings(tampered)
