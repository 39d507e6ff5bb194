"""The page of a cell: figures, half-widths, provenance, the original command."""

from __future__ import annotations

import json
import re
import shlex
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, strategies

from adbench.board import leaderboard
from adbench.board.site import cellpage
from adbench.board.site.build import write
from adbench.errors import RecordError
from adbench.records.record import read


def test_figures_of_a_cell_are_the_records_with_their_half_widths(pages: dict[str, Any], runs: Path) -> None:
    metrics = read(runs / "a0").metrics
    text = pages["cells/a0.html"].text
    for name in ("image_auroc", "image_ap", "pixel_auroc", "pixel_aupro"):
        assert f"{100 * (metrics[name] or 0):.2f}" in text, name
    assert "computation error" in text
    assert re.search(r"image AUROC\s*[\d.]+\s*none", text)
    assert "Pixels" in text
    assert "Pixels" not in pages["cells/c0.html"].text


@given(strategies.floats(0, 1, exclude_min=True))
@example(5e-5)
@example(0.1198)
def test_a_half_width_is_never_shown_smaller_than_it_is(half: float) -> None:
    sign, shown = cellpage.half_width(half).split()
    true = 100 * Decimal(half)
    if sign == "<":
        assert (shown, true < Decimal("0.005")) == ("0.01", True)
    else:
        assert re.fullmatch(r"\d+\.\d\d", shown)
        assert true <= Decimal(shown) < true + Decimal("0.01")


def test_a_cell_names_its_provenance(pages: dict[str, Any]) -> None:
    text = pages["cells/a0.html"].text
    for word in ("w" * 64, "d" * 64, "valid/a.png", "torch", "eval_size", "Manifest", "facts"):
        assert word in text, word


def test_what_was_typed_can_be_typed_again(make_record, build_site, read_page, tmp_path: Path) -> None:
    folder = make_record(tmp_path / "runs", "a", pictures=0)
    content = json.loads((folder / "record.json").read_text())
    content["given"] = ["method=clip", "data_root=/my data", "method.prompts.normal=['healthy {}']"]
    (folder / "record.json").write_text(json.dumps(content))
    page = read_page(build_site(tmp_path / "runs", tmp_path / "site").parent / "cells" / "a.html")
    said = re.search(r"Original command: (.*)", page.text)
    assert said is not None
    assert shlex.split(said[1]) == ["adbench", "run", *content["given"]]


@pytest.mark.parametrize(("label", "counts"), [(0, "0 abnormal and 12 normal"), (1, "12 abnormal and 0 normal")])
def test_predictions_of_one_class_are_a_damaged_record(make_record, build_site, tmp_path: Path, label, counts) -> None:
    file = make_record(tmp_path / "runs", "a") / "predictions.parquet"
    pd.read_parquet(file).assign(label=label).to_parquet(file, index=False)
    with pytest.raises(RecordError, match=rf"runs/a: predictions\.parquet holds {counts} images.*run its cell again"):
        build_site(tmp_path / "runs", tmp_path / "site")


def test_a_support_is_written_as_source_and_number_of_shots(make_record, build_site, read_page, tmp_path: Path) -> None:
    make_record(tmp_path / "runs", "a", shots=1, pictures=0)
    make_record(tmp_path / "runs", "b", shots=4, draw=2, pictures=0)
    built = build_site(tmp_path / "runs", tmp_path / "site").parent
    assert "Draw 0, 1 shot. Manifest hash: a" in read_page(built / "cells" / "a.html").text
    assert "Draw 2, 4 shots. Manifest hash: b" in read_page(built / "cells" / "b.html").text


def test_the_interval_over_patients_stands_apart_from_the_computation_error(
    make_record, read_page, tmp_path: Path
) -> None:
    make_record(tmp_path / "runs", "a", pictures=0)
    records = leaderboard.collect([tmp_path / "runs"]).records
    alone = pd.DataFrame({
        "key": "a", "metric": ["image_auroc", "pixel_auroc"], "low": [71.25, float("nan")],
        "high": [88.5, float("nan")], "note": ["", "its patients are few."],
    })  # fmt: skip
    index = write(records, leaderboard.table(records), tmp_path / "site", leaderboard.FIGURES, alone)
    text = read_page(index.parent / "cells" / "a.html").text
    assert "95 % interval" in text
    assert re.search(r"image AUROC\s*\d\d\.\d\d\s*71\.25 to 88\.50\s*none", text)
    assert "No interval of pixel AUROC: its patients are few." in text
    assert "It says nothing about other draws of the support." in text
    without = write(records, leaderboard.table(records), tmp_path / "plain", leaderboard.FIGURES)
    assert "95 % interval" not in read_page(without.parent / "cells" / "a.html").text


def test_the_operating_point_is_read_off_the_held_out_normals(make_record, build_site, read_page, tmp_path) -> None:
    folder = make_record(tmp_path / "runs", "a", pictures=0)
    table = pd.read_parquet(folder / "predictions.parquet")
    normal = table.loc[table["label"] == 0, "score"].to_numpy()
    cut = float(np.float32(np.sort(normal)[-2]))  # two of the normal test images reach it
    scores = np.float32([cut] + [cut - 1] * 19)
    pd.DataFrame({
        "image": [f"valid/{number}" for number in range(20)], "label": np.int8(0), "score": scores, "map_max": scores,
        "patient": pd.array([f"h{number}" for number in range(20)], dtype="string"),
    }).to_parquet(folder / "held_out.parquet", index=False)  # fmt: skip
    content = json.loads((folder / "record.json").read_text())
    content["held_out"] = {
        "source": "valid", "split": "the valid split of brainmri", "images": 20, "patients": 20, "normal": 20,
        "abnormal": 0, "of": 20, "in_test": 0, "shift": None, "why": None,
    }  # fmt: skip
    (folder / "record.json").write_text(json.dumps(content))
    make_record(tmp_path / "runs", "b", pictures=0)
    site = build_site(tmp_path / "runs", tmp_path / "site").parent
    text = read_page(site / "cells" / "a.html").text
    found = int((table.loc[table["label"] == 1, "score"] >= np.nextafter(cut - 1, cut)).sum())
    assert "on 20 normal images of the valid split of brainmri" in text
    assert f"{found} of {(table['label'] == 1).sum()} abnormal images called abnormal" in text
    assert re.search(r"sensitivity\s*\d+\.\d\d %", text)
    assert "No image threshold: its record holds no held-out images" in read_page(site / "cells" / "b.html").text
