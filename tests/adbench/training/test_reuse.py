"""Shared trainings: with `force` those of the running command alone, by whatever clock their files are dated."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from adbench.system.leases import Clock
from adbench.training.reuse import _read, _sum


@pytest.mark.parametrize("ahead", [-600.0, 0.0, 7200.0])
def test_a_training_is_of_the_running_command_by_the_clock_of_the_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    now, state, text = time.time(), {"weight": torch.ones(2)}, "{}"
    monkeypatch.setattr(Clock, "now", property(lambda clock: now + ahead))
    file = tmp_path / "training.safetensors"
    file.write_bytes(save(state, metadata={"training": json.dumps({"chosen": text, "sha256": _sum(state, text)})}))
    began = now - 60
    for made, reused in ((began - 30, False), (began + 30, True)):
        os.utime(file, (made + ahead, made + ahead))
        assert (_read(file, began) is not None) == reused
    assert _read(file, -float("inf")) is not None
    assert _read(file, float("inf")) is None
