"""Variants: what a row is called, besides its method."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("typed", "facts", "variant"),
    [
        ({"method": {"learning_rate": 0.1}}, {}, "learning_rate=0.1"),
        ({"method": {"learn_prompts": "none", "adapter_norm": False}}, {}, "adapter_norm=false learn_prompts=none"),
        ({"method": {"levels": [3, 6], "prompts": {"normal": ["{}"]}}}, {}, 'levels=[3,6] prompts.normal=["{}"]'),
        ({"method": {"frame": "a scan of"}}, {}, 'frame="a scan of"'),
        ({"method": {"batch_size": 4}}, {}, "method.batch_size=4"),
        ({"backbone": {"weights": "here/w.safetensors", "activation": "gelu"}}, {"weights": "cafe"},
         "backbone.activation=gelu weights=cafe"),
        ({}, {"weights": "random-00ff"}, "weights=random-27e69a"),
        ({"trainer": {"log_every_n_steps": 3}, "dataset": {"object_name": "x"}}, {}, ""),
        ({"dataset": {"support_split": "train", "support_fill": ["valid"]}}, {},
         'dataset.support_fill=["valid"] dataset.support_split=train'),
        ({"dataset": {"support_split": "valid"}}, {}, ""),
    ],
)  # fmt: skip
def test_a_row_is_called_after_what_was_typed_whatever_stands_beside_it(
    write_record, board, image_auroc, tmp_path: Path, typed: dict[str, Any], facts: dict[str, Any], variant: str
) -> None:
    params = {"epochs": 60, "learning_rate": 0.001} | typed.get("method", {})
    write_record(tmp_path, "a", 0.9, params=params, overrides=typed, **facts)
    assert set(board(tmp_path)["variant"]) == {variant}
    for key, rate in (("b", 0.5), ("c", 0.2)):
        changed = {"overrides": {"method": {"learning_rate": rate}}, "params": params | {"learning_rate": rate}}
        write_record(tmp_path, key, 0.8, **changed)
    found = image_auroc(board(tmp_path)).set_index("variant")["mean"].to_dict()
    assert found == pytest.approx({variant: 90.0, "learning_rate=0.5": 80.0, "learning_rate=0.2": 80.0})


def test_keys_of_a_run_that_are_no_column_are_in_the_name(write_record, board, tmp_path: Path) -> None:
    write_record(tmp_path, "a", 0.9)
    file = tmp_path / "a" / "record.json"
    content = json.loads(file.read_text())
    content["resolved"] |= {"precision": "16-mixed", "input_size": 56, "eval_size": "240", "threads": 2}
    content["resolved"] |= {"data_root": "/mine", "cache": "/mine", "workers": 3, "preset": "paper"}
    content["facts"]["trainer"] = {"devices": 2}
    file.write_text(json.dumps(content))
    assert set(board(tmp_path)["variant"]) == {"input_size=56 precision=16-mixed threads=2 trainer.devices=2"}


def test_a_default_written_out_makes_no_row_of_its_own(write_record, board, tmp_path: Path) -> None:
    write_record(tmp_path, "a", 0.9, params={"epochs": 60}, source="draw:0")
    write_record(tmp_path, "b", 0.8, params={"epochs": 60}, source="draw:1", overrides={"method": {"epochs": 60}})
    (row,) = board(tmp_path).to_dict("records")
    assert (row["variant"], row["n"]) == ("", 2)


def test_draws_from_two_splits_are_not_averaged(write_record, board, image_auroc, tmp_path: Path) -> None:
    write_record(tmp_path, "a", 0.9, source="draw:0")
    write_record(tmp_path, "b", 0.8, source="draw:0", overrides={"dataset": {"support_split": "train"}})
    found = image_auroc(board(tmp_path)).set_index("variant")["mean"].to_dict()
    assert found == pytest.approx({"": 90.0, "dataset.support_split=train": 80.0})


def test_records_of_two_versions_say_what_one_does_not_have(write_record, board, image_auroc, tmp_path: Path) -> None:
    write_record(tmp_path, "a", 0.9, params={"learn_prompts": True})
    for key, shots in (("b", 16), ("c", 2)):
        write_record(tmp_path, key, 0.8, params={"learn_prompts": "none", "contrast": True}, shots=shots)
    found = image_auroc(board(tmp_path))
    assert list(zip(found["variant"], found["shots"], strict=True)) == [
        ("contrast=- learn_prompts=true", "16"),
        ("contrast=true learn_prompts=none", "16"),
        ("contrast=true learn_prompts=none", "2"),
    ]


def test_a_support_list_is_not_averaged_with_draws_nor_with_another_list(write_record, board, tmp_path: Path) -> None:
    write_record(tmp_path, "a", 0.9, source="draw:0")
    write_record(tmp_path, "b", 0.8, source="draw:1")
    write_record(tmp_path, "c", 0.7, source="list:16-shot.txt")
    found = board(tmp_path).set_index("variant")["n"].to_dict()
    assert found == {"": 2, "support=16-shot.txt": 1}
    assert board(tmp_path)["draws"].tolist() == ["0/0 1/0", "-/0"]
    write_record(tmp_path, "d", 0.6, source="list:16-shot.txt", dataset="resc", dataset_content="r")
    assert set(board(tmp_path)["variant"]) == set(found), "one name may be another list on another dataset"
    write_record(tmp_path, "e", 0.6, source="list:16-shot.txt", manifest="fedcba987")
    assert set(board(tmp_path)["variant"]) == {*found, "support=16-shot.txt@c", "support=16-shot.txt@fedcba"}
