"""Cost estimates from earlier records."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from adbench.config import words as config
from adbench.sweeps.costs import cost_of, costs


def test_a_cell_costs_what_the_records_most_like_it_did(stub_record, tmp_path: Path) -> None:
    (base,) = config.parse(["method=clip", "dataset=his", "shots=4", f"runs={tmp_path}"])
    differences = [{}, {"shots": 8}, {"dataset": "resc"}, {"schedule": "paper"}, {"backbone": "x"}, {"method": "mvfa"}]
    matched = ["shots", "dataset", "schedule", "backbone", "method", ""]
    for n in reversed(range(6)):
        stub_record(dataclasses.replace(base, **differences[n]), f"key{n}", 10.0**n)
        cost = cost_of(base, costs(tmp_path))
        assert cost is not None
        assert cost.matched == matched[n]
    assert (cost.seconds, cost.n) == (1.0, 1)
    assert cost_of(base, {}) is None
