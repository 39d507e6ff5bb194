"""Ranks: which rows are ordered, and that bold says what `adbench compare` says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from adbench.board.intervals import PAIR, judged, measure
from adbench.board.leaderboard import ROW, collect, table
from adbench.board.peers import complete, row_id
from adbench.board.ranks import ranked
from adbench.board.samples import Samples, rows_of
from tests.adbench.board.conftest import compare


def lines(*rows: dict[str, object]) -> pd.DataFrame:
    head = dict.fromkeys(ROW, "x") | {"data": "real", "standing": "clean", "shots": "4", "dataset": "d"}
    head |= {"metric": "image_auroc", "n": 3, "draws": "0/0 1/0 2/0", "half_width": 0.0, "ci_note": ""}
    return pd.DataFrame([head | row for row in rows])


def pairs(rows: pd.DataFrame, *differences: tuple[int, int, float, float]) -> pd.DataFrame:
    """Differences of rows, each (first, second, difference, p)."""
    ids = row_id(rows)
    made = [("d", "image_auroc", ids[i], ids[j], difference, 1.0, 9.0, p) for i, j, difference, p in differences]
    return pd.DataFrame(made, columns=[*PAIR])


def test_rows_over_fewer_or_other_runs_are_not_ordered() -> None:
    rows = lines(
        {"method": "a"}, {"method": "b", "n": 2, "draws": "0/0 1/0"}, {"method": "c", "draws": "3/0 4/0 5/0"},
        {"method": "d"}, {"method": "e", "shots": "1", "n": 1, "draws": "0/0"}, {"method": "f", "n": 0, "draws": ""},
        {"method": "g", "metric": "fit_seconds"}, {"method": "h", "data": "published", "n": np.nan, "draws": ""},
    )  # fmt: skip
    assert complete(rows).tolist() == [True, False, False, True, True, False, False, False]


def test_bold_and_ranks_stay_within_shots_and_protocol() -> None:
    rows = lines(
        {"method": "a", "mean": 90.0}, {"method": "b", "mean": 89.0}, {"method": "c", "mean": 70.0},
        {"method": "a", "mean": 99.0, "shots": "16"}, {"method": "b", "mean": 50.0, "shots": "16"},
        {"method": "c", "mean": 80.0, "protocol": "zero_shot"},
        {"method": "e", "mean": 95.0, "n": 2, "draws": "0/0 1/0"},
    )  # fmt: skip
    known = pairs(rows, (0, 1, 1.0, 0.5), (0, 2, 20.0, 0.001), (2, 1, -19.0, 0.02), (3, 4, 49.0, 1e-9))
    found = ranked(rows, known, {}).set_index(["method", "shots", "protocol"])
    assert found["best"].tolist() == [True, True, False, True, False, False, False]
    wanted = [(1, 1, 2), (2, 1, 2), (3, 3, 3), (1, 1, 1), (2, 2, 2)]
    assert [tuple(row) for row in found[["rank", "rank_low", "rank_high"]].to_numpy()[:5]] == wanted
    assert found["rank"].isna().tolist()[5:] == [True, True], "one row alone, and one of 2 runs, have no rank"
    assert found["ci_note"].iloc[6] == "not ranked: 2 of 3 runs"


def test_holm_counts_the_comparisons_of_a_group() -> None:
    rows = lines(*({"method": name, "mean": mean} for name, mean in (("a", 90.0), ("b", 80.0), ("c", 79.0))))
    found = ranked(rows, pairs(rows, (0, 1, 10.0, 0.03), (0, 2, 11.0, 0.04), (1, 2, 1.0, 0.9)), {})
    assert found["best"].tolist() == [True, True, True], "0.03 of three comparisons is 0.09"


def test_no_rank_rests_on_a_difference_within_half_widths() -> None:
    rows = lines({"method": "a", "mean": 90.0, "half_width": 3.0}, {"method": "b", "mean": 86.0, "half_width": 1.5})
    assert ranked(rows, pairs(rows, (0, 1, 4.0, 1e-9)), {})["best"].tolist() == [True, True]
    assert ranked(rows.assign(half_width=1.0), pairs(rows, (0, 1, 4.0, 1e-9)), {})["best"].tolist() == [True, False]


def test_what_cannot_be_compared_has_no_rank() -> None:
    rows = lines({"method": "a", "mean": 90.0}, {"method": "b", "mean": 80.0})
    for known in (pairs(rows), pairs(rows, (0, 1, 10.0, float("nan")))):
        found = ranked(rows, known, {})
        assert found["rank"].isna().all()
        assert not found["best"].any()


def test_bold_is_what_compare_says(study, tmp_path: Path) -> None:
    for dataset in ("brainmri", "liverct"):
        for method, shift in (("madclip", 2.0), ("mvfa", 1.9), ("clip", 0.1)):
            study(tmp_path, method, shift=shift, dataset=dataset)
    records = collect([tmp_path]).records
    long = table(records)
    whole = judged(long, measure(records, long, ("image_auroc",)))
    said = compare(rows_of(records), "image_auroc", Samples())
    for dataset in ("brainmri", "liverct", "mean of 2"):
        rows = whole[whole["dataset"] == dataset].set_index("method")
        best = rows["mean"].idxmax()
        for one in said:
            if one.dataset.replace("mean of all", "mean of") == dataset and best in (one.first, one.second):
                other = one.second if one.first == best else one.first
                significant = one.p < 0.05
                assert rows.loc[other, "best"] == (not significant), (dataset, other)
        assert rows.loc[best, "best"]
        assert rows.loc[best, "rank"] == 1
    assert not whole[whole["method"] == "clip"]["best"].any()


@pytest.mark.parametrize("shots", [["16", "4", "0"], ["full", "1", "2"]])
def test_rows_are_in_groups_of_shots(shots: list[str]) -> None:
    from adbench.board.sections import sections

    rows = lines(
        *({"method": m, "shots": s, "mean": v, "std": np.nan} for s in shots for m, v in (("a", 1.0), ("b", 2.0)))
    )
    (section,) = sections(rows.assign(unit="per cent"))
    order = sorted(shots, key=lambda text: (not text.isdecimal(), text.zfill(3)))
    assert section.rows["shots"].tolist() == [text for text in order for _ in range(2)]
    assert section.rows["method"].tolist() == ["b", "a"] * 3
