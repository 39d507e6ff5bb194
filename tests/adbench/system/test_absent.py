from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import pytest

from adbench.system.absent import stand_in, without


def test_a_package_is_hidden_within_the_block_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pandas", raising=False)
    before = version("pandas")
    with without("pandas"):
        assert version("pandas") == "0"
        assert version("torch") != "0"
        with pytest.raises(ImportError):
            import pandas  # noqa: F401
    assert version("pandas") == before
    with pytest.raises(PackageNotFoundError):
        version("no-such-package")


def test_what_is_imported_already_stays() -> None:
    with without("json"):
        import json

        assert json.loads("1") == 1
    assert sys.modules["json"] is json


def test_a_module_stands_in_for_one_that_is_not_imported_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    with stand_in("wave", answer=42), stand_in("json", answer=42):
        import json
        import wave

        assert wave.answer == 42
        assert json.loads("1") == 1
    assert sys.modules["json"] is json
    import wave

    assert wave.open


def test_a_run_imports_nothing_that_it_does_not_need() -> None:
    """Texts of Hugging Face's, other models' towers and distributions of statistics take seconds."""
    code = (
        "import sys, adbench.metrics.modules, adbench.running.cell, adbench.training.fit, adbench.backbone.clip\n"
        "import adbench.backbone.openclip, adbench.backbone.vit, adbench.methods.tgumiad\n"
        "assert 'torchmetrics' in sys.modules and 'open_clip' in sys.modules\n"
        "found = {'transformers', 'timm', 'scipy.signal', 'scipy.stats'} & set(sys.modules)\n"
        "assert not found, found\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr == ""
