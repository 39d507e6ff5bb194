"""Rebuilding a method from a record: nothing that the record names is run, and little that it names is read."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

import adbench as ad
from adbench.errors import RecordError
from adbench.records.check import key_of
from adbench.records.record import read

STRANGER = """
from pathlib import Path
Path(__file__).with_name("ran").touch()
from dataclasses import dataclass
from adbench import Capability, Method, Scores

@dataclass
class Params:
    pass

class Stranger(Method):
    Params = Params

    @classmethod
    def capability(cls, params, architecture):
        return Capability("none", pooled=True, maps=False, stochastic=False)

    def adapted_features(self, batch):
        return batch.features.pooled * 2

    def score(self, batch):
        return Scores(batch.features.pooled.norm(dim=1))
"""
Forge = Callable[..., Path]


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    """Edit a record as somebody would who knows how its key is made, and return its folder."""

    def edit(folder: Path, **changes: dict[str, Any]) -> Path:
        content = json.loads((folder / "record.json").read_text())
        for part, values in changes.items():
            content[part] |= values
        old, content["key"] = content["key"], key_of(content["facts"])
        (folder / "record.json").write_text(json.dumps(content))
        if content["key"] != old:
            state = load_file(folder / "method.safetensors")
            save_file(state, folder / "method.safetensors", {"cell": content["key"]})
        return folder.rename(folder.with_name(content["key"])) if folder.name == old else folder

    return edit


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    record = ad.run(method="clip", gallery=0, runs=tmp_path_factory.mktemp("runs"))
    assert isinstance(record, ad.Record)
    return record.path


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / made.name))


@pytest.fixture
def stranger(adbench: Any, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A record that a stranger's method made, next to its file, which has not run again since."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.py").write_text(STRANGER)
    assert adbench("run", "method=./x.py:Stranger", f"data_root={tiny}", "gallery=0").code == 0
    (tmp_path / "x.py").write_text(STRANGER + "# as it is sent\n")
    (record,) = ad.read_all(Path("runs"))
    (tmp_path / "ran").unlink()
    return record.path


def test_no_command_runs_what_a_record_names(adbench: Any, stranger: Path, tiny: Path, tmp_path: Path) -> None:
    image = next(tiny.rglob("*.png"))
    for words in (("score", stranger, image), ("plot", "features", stranger)):
        answer = adbench(*words)
        assert answer.code == 4, words
        assert "what a record names is never run" in answer.err
        assert "method=FILE.py:Class" in answer.err
    assert adbench("plan", "method=clip", f"data_root={tiny}").code == 0
    for words in (("leaderboard", "runs", "--html", "site"), ("verify", "runs")):
        assert adbench(*words).code in (0, 1, 4)  # of a record that somebody edited
    with pytest.raises(RecordError, match="never run"):
        ad.load(stranger)
    assert not (tmp_path / "ran").exists()


def test_a_module_that_a_record_names_is_not_imported(
    adbench: Any, stranger: Path, forge: Forge, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    forge(stranger, resolved={"method": "x:Stranger"})
    assert adbench("score", stranger, next(tiny.rglob("*.png"))).code == 4
    assert not (tmp_path / "ran").exists()


def test_the_file_that_the_user_names_must_be_the_records(adbench: Any, stranger: Path, tiny: Path) -> None:
    image, named = next(tiny.rglob("*.png")), "method=./x.py:Stranger"
    for words in (("score", stranger, image, named), ("plot", "features", stranger, named)):
        answer = adbench(*words)
        assert answer.code == 4
        assert re.search(r"was made by Stranger \(file:\w{16}\); here .* Bring that source back", answer.err)
    Path("x.py").write_text(STRANGER)
    assert adbench("score", stranger, image, named, "out=scored").code == 0
    assert adbench("plot", "features", stranger, named).code == 0
    assert ad.load(stranger, method="./x.py:Stranger").score([image]).image.shape == (1,)
    with pytest.raises(RecordError, match="was made by Stranger"):
        ad.load(stranger, method="clip")


def test_paths_of_a_record_are_told(adbench: Any, stranger: Path, tiny: Path) -> None:
    Path("x.py").write_text(STRANGER)
    words = ("plot", "features", stranger, "method=./x.py:Stranger")
    answer = adbench(*words)
    assert f"note: reads the images of brainmri in {tiny}, as {stranger} says" in answer.out
    moved = tiny.rename(tiny.with_name("moved"))
    assert adbench(*words).code == 3
    answer = adbench(*words, f"data_root={moved}")
    assert answer.code == 0, answer.err
    assert "note" not in answer.out
    answer = adbench(*words, "data_rot=x")
    assert "unknown key 'data_rot' for plot features: did you mean 'data_root'?" in answer.err


def test_the_cache_of_a_record_is_not_written(adbench: Any, stranger: Path, forge: Forge, tmp_path: Path) -> None:
    Path("x.py").write_text(STRANGER)
    forge(stranger, resolved={"cache": str(tmp_path / "theirs"), "runs": str(tmp_path / "theirs")})
    assert adbench("plot", "features", stranger, "method=./x.py:Stranger").code == 0
    assert not (tmp_path / "theirs").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"backbone": {"model": "/etc/hosts.json"}}, "backbone.model is .*a file that is not phantom-clip.json"),
        ({"backbone": {"weights": "/nowhere/x.safetensors"}}, "/nowhere/x.safetensors is not a file"),
        ({"backbone": {"weights": "theirs.pt"}}, "theirs.pt is not a file"),
        ({"backbone": {"built_input_size": 10**6}}, "built_input_size is 1000000, not an integer from 1 to 4096"),
        ({"capability": {"resize": "../x"}}, "capability.resize"),
        ({"capability": {"gpu_share": "x"}}, "damaged"),
        ({"resolved": {"threads": 100_000}}, "resolved.threads is 100000"),
        ({"resolved": {"feature_cache": "disc"}}, 'resolved.feature_cache is "disc", not auto, disk, memory or off'),
        ({"resolved": {"precision": "x"}}, "precision=x is not possible"),
        ({"facts": {"params": {"temperature": "${oc.env:HOME}"}}}, "facts.params holds"),
        ({"facts": {"params": {"no_such": 1}}}, "unknown key 'no_such'"),
        ({"resolved": {"backbone": "x"}, "facts": {"backbone": "x"}}, "backbone 'x', which is not registered here"),
    ],
)
def test_edited_content_is_one_sentence(
    adbench: Any, copy: Path, forge: Forge, tiny: Path, changes: dict[str, Any], said: str
) -> None:
    copy = forge(copy, **changes)
    answer = adbench("score", copy, next(tiny.rglob("*.png")), "out=scored")
    assert answer.code in (2, 4)
    assert re.search(said, answer.err), answer.err
    assert len(answer.err.splitlines()) == 1
    assert not Path("scored").exists()


def test_parameters_of_another_record_are_refused(adbench: Any, copy: Path, tiny: Path, tmp_path: Path) -> None:
    file, image = copy / "method.safetensors", next(tiny.rglob("*.png"))
    state = load_file(file)
    save_file(state, file, {"cell": "0" * 20})
    assert "it belongs to another cell" in adbench("score", copy, image).err
    for content in (b"", b"\xff" * 8 + b"{}", (10**15).to_bytes(8, "little"), b"\x80\x04pickle"):
        file.write_bytes(content)
        answer = adbench("score", copy, image)
        assert answer.code == 4
        assert "method.safetensors can't be read" in answer.err
    assert read(copy).key == copy.name
