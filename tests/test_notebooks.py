"""The notebooks run from top to bottom, without Jupyter, and are stored without outputs."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

import adbench

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def cells(notebook: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def run(source: str, names: dict[str, Any]) -> Any:
    """Execute a cell as Jupyter does, and return the value of its last expression, if it ends with one."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), names)
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), names) if last else None


def test_there_is_a_notebook_and_none_holds_outputs() -> None:
    assert [notebook.name for notebook in NOTEBOOKS] == ["first_hour.ipynb"]
    for notebook in NOTEBOOKS:
        for cell in cells(notebook):
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            assert not any(line.startswith(("%", "!")) for line in cell["source"]), "plain Python alone can be tested"


@pytest.mark.slow
def test_the_first_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    shown = [run("".join(cell["source"]), names) for cell in cells(NOTEBOOKS[0])]
    kinds = [kind for value in shown if value is not None for kind in (adbench.Record, pd.DataFrame, Image.Image)
             if isinstance(value, kind)]  # fmt: skip
    assert kinds == [adbench.Record, pd.DataFrame, pd.DataFrame, Image.Image, Image.Image, pd.DataFrame]
    assert [*names["wide"].index] == ["clip", "patchcore"]
    assert {*names["final"].index} == {"MeanPatch", "clip", "patchcore"}
    printed = capsys.readouterr().out
    assert printed.count("image AUROC") == 3, "the two draws of clip are one cell"
    assert "all checks passed" in printed
