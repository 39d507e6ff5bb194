"""The paper's backbone at its full size, with random weights: everything but the download."""

from __future__ import annotations

from pathlib import Path

import pytest

from adbench.records.record import read


@pytest.mark.slow
def test_the_papers_backbone_runs_on_this_machine(adbench, tiny: Path, tmp_path: Path) -> None:
    answer = adbench(
        "run", "method=madclip", "preset=paper", "backbone.weights=random", "precision=32-true", "shots=1",
        "method.epochs=1", "method.views=11", f"data_root={tiny}", f"runs={tmp_path / 'runs'}",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    (folder,) = (tmp_path / "runs").iterdir()
    content = read(folder).content
    assert content["backbone"]["built_input_size"] == 240
    assert content["backbone"]["built_activation"] == "gelu"
    assert content["parameters"]["trainable"] == 20_971_520 + 258_048
    assert content["parameters"]["total"] > 400e6
    # 183 GFLOP in the trunk and 12 in the adapters (reference cost model); the text side is encoded once.
    assert content["gflops_per_image"] == pytest.approx(195, rel=0.03)
