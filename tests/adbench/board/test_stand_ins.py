from __future__ import annotations

import json
from pathlib import Path

from adbench.board.latex import to_latex
from adbench.board.render import parts, to_csv, to_json, to_markdown
from adbench.board.site.indexpage import sections
from adbench.board.site.tables import caption
from tests.adbench.board.conftest import _board, _write_record

SAYS = "phantom-clip has only ever seen drawings"


def test_every_board_says_that_a_backbone_saw_drawings_alone(tmp_path: Path) -> None:
    _write_record(tmp_path, "a", 0.9, backbone="phantom-clip")
    _write_record(tmp_path, "b", 0.8)
    long = _board(tmp_path)
    (terminal,) = (part for part in parts(long) if part.heading.startswith("image AUROC"))
    assert sum(SAYS in note for note in terminal.notes) == 1
    assert to_markdown(long).count(SAYS) == 1
    assert to_latex(long).replace("\n", " ").count(SAYS) >= 1
    assert r"\caption{" in to_latex(long)
    assert SAYS in next(line for line in to_latex(long).splitlines() if line.startswith(r"\caption"))
    header, *rows = to_csv(long).splitlines()
    assert header.split(",").count("warning") == 1
    assert all((SAYS in row) == ("phantom-clip" in row.partition(SAYS)[0]) for row in rows)
    assert {row["backbone"]: SAYS in row["warning"] for row in json.loads(to_json(long))} == {
        "phantom-clip": True, "ViT-L-14-336": False,
    }  # fmt: skip
    assert any(SAYS in caption(section) for section in sections(long, ["image_auroc"]))


def test_nothing_is_said_of_phantoms_or_pretrained_backbones(tmp_path: Path) -> None:
    _write_record(tmp_path, "a", 0.9, backbone="phantom-clip", data="phantom")
    _write_record(tmp_path, "b", 0.8)
    long = _board(tmp_path)
    assert "drawings" not in to_markdown(long) + to_latex(long) + to_csv(long) + to_json(long)


def test_one_method_over_backbones_is_a_row_each(tmp_path: Path) -> None:
    for number, backbone in enumerate(("dinov2-s", "dinov3-s", "phantom-clip")):
        _write_record(tmp_path, backbone, 0.7 + number / 10, backbone=backbone, method="patchcore")
    rows = [row for part in parts(_board(tmp_path)) if part.heading.startswith("image AUROC") for row in part.rows]
    assert sorted(row[1] for row in rows) == ["dinov2-s", "dinov3-s", "phantom-clip"]
