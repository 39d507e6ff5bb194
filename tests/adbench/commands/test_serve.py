"""What `adbench serve` says before its server starts."""

from __future__ import annotations

import json
import socket
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from adbench.commands import serve
from adbench.errors import RecordError
from adbench.records.check import key_of
from tests.adbench.conftest import stub_content


@pytest.fixture
def stub(stub_record: Callable[..., None], tmp_path: Path) -> Path:
    """The folder of a record whose figures are null."""
    from adbench.config.words import parse

    (config,) = parse(["method=patchcore", f"runs={tmp_path / 'runs'}"])
    key = key_of(stub_content(config, "", 1.0, None)["facts"])
    stub_record(config, key)
    return tmp_path / "runs" / key


def test_the_missing_extra_is_named(adbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "starlette", None)
    answer = adbench("serve", "runs")
    assert answer.code == 2
    assert "pip install 'adbench-medical[serve]'" in answer.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "nowhere does not exist. Name a folder of records"),
        (["nowhere", "shots=4"], "unknown key 'shots'"),
        (["nowhere", "--port", "70000"], "--port 70000 is not possible"),
        ([], "RUNS is missing"),
    ],
)
def test_words_that_can_not_be_used(adbench, words: list[str], said: str) -> None:
    answer = adbench("serve", *words)
    assert answer.code != 0
    assert said in answer.err
    assert "Traceback" not in answer.err


def test_folders_that_can_not_be_used(adbench, stub: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for images, said in ((tmp_path / "none", "is no folder"), (tmp_path / "empty", "holds no image")):
        answer = adbench("serve", stub, "--images", images)
        assert answer.code == 3
        assert said in answer.err
    (tmp_path / "images.csv").write_text("path,label\na.png,normal\n")
    answer = adbench("serve", stub, "--out", tmp_path)
    assert "--out DIR" in answer.err
    answer = adbench("serve", stub, "--out", tmp_path / "images.csv")
    assert (answer.code, "is a file. Cases are saved into a folder" in answer.err) == (2, True)
    answer = adbench("serve", stub, f"data_root={tmp_path / 'none'}")
    assert (answer.code, "none is not a folder. Name the folder of the data" in answer.err) == (3, True)


def test_a_damaged_record_is_named_in_a_note(stub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (stub.parent / "damaged").mkdir()
    (stub.parent / "damaged" / "record.json").write_text("{")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [record.path for record in serve._records([stub.parent])] == [stub]
    assert "note: left out: " in capsys.readouterr().out


def test_a_method_that_compares_test_images_is_left_out_with_a_sentence(stub: Path) -> None:
    file = stub / "record.json"
    content = json.loads(file.read_text())
    content["capability"]["transductive"] = True
    file.write_text(json.dumps(content))
    with pytest.raises(RecordError, match="can't score one alone"):
        serve._records([stub])


def test_a_taken_port_is_a_sentence(adbench, stub: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        answer = adbench("serve", stub, "--port", other.getsockname()[1])
    assert answer.code == 2
    assert "can't be used" in answer.err
    assert "Leave it out" in answer.err


def test_only_loopback_is_bound() -> None:
    with serve.bound(0) as listening:
        assert listening.getsockname()[0] == "127.0.0.1"
