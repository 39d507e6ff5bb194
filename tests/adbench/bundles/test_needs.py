"""`commands.sh` of a bundle: two cells of one command are told apart by the hashes of what the command names."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

import adbench as ad
from adbench.bundles.needs import needs
from adbench.bundles.scrub import Pseudonyms
from adbench.bundles.write import bundle
from tests.adbench.bundles.test_bundles import members

METHOD = Path(__file__).parents[1] / "cells" / "reads_a_file.py"


@pytest.fixture
def edited(tiny: Path, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """Records of one command before and after its table was edited, and the hash of the table by the record's key."""
    own, table, hashes = tmp_path / "own.py", tmp_path / "w.txt", {}
    own.write_bytes(METHOD.read_bytes())
    for text in ("one", "three"):
        table.write_text(text)
        keys = {"shots": 2, "gallery": 0, "data_root": tiny, "runs": tmp_path / "runs"}
        record = ad.run(method=f"{own}:ReadsAFile", **keys, overrides={"method.table": table})
        assert isinstance(record, ad.Record)
        hashes[record.key] = hashlib.sha256(text.encode()).hexdigest()
    return tmp_path / "runs", hashes


@pytest.mark.parametrize("names", [None, Pseudonyms(b"secret")])
def test_a_file_that_was_edited_between_two_cells_tells_their_commands_apart(edited, names) -> None:
    runs, hashes = edited
    assert len(hashes) == 2
    script = members(bundle(ad.read_all(runs), pictures=False, names=names))["commands.sh"].decode()
    of_source = hashlib.sha256(METHOD.read_bytes()).hexdigest()[:16]
    commands = []
    for key, content in hashes.items():
        lines = script.partition(f"# {key}\n")[2].splitlines()
        assert lines[0] == f"# method=own.py:ReadsAFile: a file whose SHA-256 starts with {of_source}"
        assert lines[1] == f"# method.table=w.txt: the content with the SHA-256 {content}"
        commands.append(lines[2])
    assert commands[0] == commands[1]
    assert commands[0].startswith("adbench run method=own.py:ReadsAFile")


def content(**changes: Any) -> dict[str, Any]:
    """What `needs` reads of a record.json, of a built-in method without files."""
    facts = {"params": {"epochs": 3}, "method_version": "2", "support": "aa", "data": "bb"}
    facts |= {"weights": "cc", "model": "ee"}
    resolved = {"method": "clip", "support": None, "overrides": {}}
    return {
        "facts": facts | changes.get("facts", {}), "resolved": resolved | changes.get("resolved", {}),
        "code": changes.get("code", {}),
    }  # fmt: skip


def test_a_command_that_names_no_file_needs_nothing() -> None:
    assert needs(content()) == []


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"facts": {"source": "package:theirs"}}, "method=clip: version 2 of package theirs"),
        (
            {"facts": {"source": "package:theirs"}, "code": {"method_source": "0123"}},
            "method=clip: version 2 of package theirs, of a file whose SHA-256 starts with 0123",
        ),
        (
            {"facts": {"params": {"table": "sha256:dd"}}},
            "method.table, a file of the method's own: the content with the SHA-256 dd",
        ),
        ({"resolved": {"support": "list.txt"}}, "support=list.txt: a list of the images with the hash aa"),
        (
            {"resolved": {"overrides": {"dataset": {"table": "t.csv"}}}},
            "dataset.table=t.csv: a table of the images with the hash bb",
        ),
        (
            {"resolved": {"overrides": {"backbone": {"weights": "w.safetensors"}}}},
            "backbone.weights=w.safetensors: weights with the hash cc",
        ),
        (
            {"resolved": {"overrides": {"backbone": {"text": "bio-text"}}}},
            "backbone.text=bio-text: the text files of a model with the hash ee",
        ),
    ],
)
def test_each_thing_that_a_command_names_is_a_line_with_its_hash(changes: dict[str, Any], line: str) -> None:
    assert needs(content(**changes)) == [line]


def test_no_name_of_a_file_ends_the_comment() -> None:
    (line,) = needs(content(resolved={"support": "list\nrm -rf x"}))
    assert "\n" not in line
