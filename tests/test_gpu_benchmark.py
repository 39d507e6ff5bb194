"""benchmarks/gpu.py: the script itself, on a CPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, imported."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import gpu

    return gpu


def test_without_a_gpu_it_says_so_in_one_sentence(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    with pytest.raises(SystemExit, match=r"needs a GPU: torch sees no CUDA device here\. --tiny tries it on a CPU\.$"):
        script.main()


@pytest.mark.parametrize(
    ("name", "precision", "tera"),
    [
        ("NVIDIA H200", "bf16-mixed", 989), ("NVIDIA H100 80GB HBM3", "16-mixed", 989),
        ("NVIDIA H100 PCIe", "bf16-mixed", 756), ("NVIDIA A100-SXM4-80GB", "32-true", 19.5),
        ("NVIDIA L40S", "bf16-mixed", 362), ("NVIDIA GeForce RTX 4090", "32-true", 82.6),
    ],
)  # fmt: skip
def test_the_peak_is_that_of_the_card(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, name: str, precision: str, tera: float
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: name)
    assert script.peak(torch.device("cuda"), precision, 1)[0] == pytest.approx(tera * 1e12)


def test_of_an_unknown_device_the_peak_is_measured(script: ModuleType) -> None:
    found, source = script.peak(torch.device("cpu"), "32-true", 64)
    assert 1e6 < found < 1e15
    assert source.endswith("measured in a product of matrices")


def test_flops_and_time_of_a_product_are_counted(script: ModuleType) -> None:
    a = torch.ones(8, 8)
    found = script.measured(lambda: a @ a, torch.device("cpu"), 4)
    assert found.flops == 2 * 8**3
    assert found.seconds > 0
    assert found.images == 4


@pytest.mark.slow
def test_it_runs_to_its_end_on_a_cpu() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--tiny"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith(("| clip", "| madclip"))]
    assert [row[0] for row in rows] == ["| clip", "| madclip"]
    for row in rows:
        assert len(row) == 10
        assert float(row[3]) > 0
        assert 0 < float(row[4].removesuffix(" %")) < 100
    assert rows[0][5] == "-", "clip doesn't train"
    assert float(rows[1][5]) > 0
