from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from adbench.board.latex import to_latex
from adbench.board.leaderboard import collect
from adbench.board.published import added, figures
from adbench.board.render import parts, to_csv, to_json, to_markdown
from adbench.board.site.indexpage import sections
from adbench.board.site.tables import caption
from adbench.board.stand_ins import marked
from adbench.config.layers import load_yaml
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


@pytest.mark.parametrize("about", [{"name": "their-clip", "stand_in": True}, {"name": "phantom-clip"}])
def test_the_record_says_it_and_an_older_one_is_read_as_the_yaml_here(tmp_path: Path, about: dict[str, object]) -> None:
    name = str(about["name"])
    _write_record(tmp_path, "a", 0.9, backbone=name)
    path = tmp_path / "a" / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"backbone": about}))
    says, long = f"{name} has only ever seen drawings", _board(tmp_path)
    assert long["stand_in"].all()
    for text in (to_markdown(long), to_latex(long).replace("\n", " "), to_csv(long), to_json(long)):
        assert says in text
    assert any(says in caption(section) for section in sections(long, ["image_auroc"]))


def test_a_record_that_says_no_has_no_warning_though_its_name_is_unknown_here(tmp_path: Path) -> None:
    _write_record(tmp_path, "a", 0.9, backbone="their-clip")
    path = tmp_path / "a" / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"backbone": {"name": "their-clip", "stand_in": False}}))
    assert "drawings" not in to_markdown(_board(tmp_path))


def test_a_stand_in_that_is_not_installed_here_has_no_published_difference(tmp_path: Path) -> None:
    known = figures()
    row = known[(known["method"] == "madclip") & (known["metric"] == "image_auroc") & (known["shots"] == "16")].iloc[0]
    for key, stand_in in (("a", False), ("b", True)):
        _write_record(tmp_path, key, 0.9, dataset=row["dataset"], seed=int(stand_in))
        path = tmp_path / key / "record.json"
        about = {"name": "ViT-L-14-336", "stand_in": stand_in}
        path.write_text(json.dumps(json.loads(path.read_text()) | {"backbone": about}))
        found = added(_board(tmp_path))
        ours = found[(found["data"] == "real") & (found["metric"] == "image_auroc")]
        assert ours["published"].notna().all() == (not stand_in)


def test_averages_and_missing_cells_of_a_stand_in_are_marked_too(tmp_path: Path) -> None:
    for key, name, dataset in zip(
        "abc", ("phantom-clip", "phantom-clip", "B"), ("brainmri", "resc", "brainmri"), strict=True
    ):
        _write_record(tmp_path, key, 0.9, backbone=name, dataset=dataset)
    rows = json.loads(to_json(_board(tmp_path)))
    assert {row["dataset"] for row in rows} == {"brainmri", "resc", "mean of 2"}
    assert all((SAYS in row["warning"]) == (row["backbone"] == "phantom-clip") for row in rows)
    shutil.rmtree(tmp_path / "b")
    _write_record(tmp_path, "d", 0.9, backbone="B", dataset="resc")
    rows = json.loads(to_json(_board(tmp_path)))
    missing = [row for row in rows if row["mean"] is None and row["metric"] == "image_auroc"]
    assert {(row["backbone"], SAYS in row["warning"]) for row in missing} == {("phantom-clip", True)}


def test_the_yaml_of_older_records_is_read_once_for_all(tmp_path: Path, count_calls) -> None:
    _write_record(tmp_path, "a", 0.9, backbone="phantom-clip")
    records = collect([tmp_path]).records * 50
    with count_calls(load_yaml) as counts:
        assert marked(records) == [True] * 50
    assert counts == [1]


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
