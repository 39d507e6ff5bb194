"""Types that hold outside: a scaffolded package, checked strictly against an installed wheel."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tools.typed_scaffold import check, install, scaffold


@pytest.mark.slow
def test_a_scaffolded_package_is_typed_and_a_misspelt_parameter_is_found(tmp_path: Path) -> None:
    python = install(tmp_path / "environment")
    (wheel,) = (tmp_path / "environment").glob("*.whl")
    assert "adbench/py.typed" in zipfile.ZipFile(wheel).namelist()
    code = scaffold(python, tmp_path)
    done = check(python, code)
    assert done.returncode == 0, done.stdout
    method = code / "method.py"
    method.write_text(method.read_text().replace("self.params.neighbours", "self.params.neighbors"))
    done = check(python, code)
    assert done.returncode == 1
    assert '"Params" has no attribute "neighbors"; maybe "neighbours"?' in done.stdout
