from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import pytest

from adbench.system.absent import without


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


def test_a_run_without_texts_of_hugging_faces_imports_no_transformers() -> None:
    code = (
        "import sys, adbench.metrics.modules, adbench.running.cell, adbench.training.fit, adbench.backbone.clip\n"
        "import adbench.backbone.openclip, adbench.backbone.vit, adbench.methods.tgumiad\n"
        "assert 'torchmetrics' in sys.modules and 'open_clip' in sys.modules\n"
        "assert 'transformers' not in sys.modules\n"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr == ""
