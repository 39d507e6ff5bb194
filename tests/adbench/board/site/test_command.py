"""The command that makes a record again."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from adbench.board.site.command import again, words
from adbench.config import layers
from adbench.config import words as config
from adbench.errors import AdbenchError
from adbench.plugins import registry
from adbench.system.session import Session


@pytest.mark.parametrize(
    "typed",
    [
        "method=clip",
        "method=patchcore shots=2 draw=3 seed=5 dataset=oct17 data_root=/a/b,c d",
        "method=madclip preset=paper method.epochs=3 precision=32-true",
        "method=clip|method.prompts.normal=['healthy {}', \"it's\"]|backbone.weights=w.safetensors",
        "support=list.txt eval_size=method selection=fixed:2",
    ],
)
def test_a_command_asks_for_the_same(typed: str) -> None:
    (asked,) = config.parse(typed.split("|") if "|" in typed else re.split(r" (?=\w+[.\w]*=)", typed))
    resolved = json.loads(json.dumps(vars(asked)))
    (got,) = config.parse(words(resolved))
    left_out = {"preset", "runs", "cache"}
    assert {k: v for k, v in vars(got).items() if k not in left_out} == {
        k: v for k, v in resolved.items() if k not in left_out
    }


def test_a_command_names_no_place_of_one_machine() -> None:
    told = " ".join(words(config.defaults() | {"runs": "/mine", "cache": "/mine", "workers": 7, "device": "cuda"}))
    assert "mine" not in told
    assert "workers" not in told
    assert "device" not in told


def made_by_patchcore(typed: dict[str, Any] | None = None, **changed: Any) -> dict[str, Any]:
    """What a record of today's patchcore says of its cell; `changed` are its parameters."""
    params = {"activation": "native", "blocks": [], "coreset": 0.1, "neighbourhood": 3, "neighbours": 9}
    params |= {"normalisation": "native", "sigma": 4.0, "stages": [], "padding": "none", "dims": 0}
    params |= {"level_norm": True, "align_corners": True}
    overrides = {"method": typed} if typed else {}
    return {
        "resolved": config.defaults() | {"method": "patchcore", "overrides": overrides},
        "facts": {"method": "patchcore", "method_version": "1", "params": params | changed},
        "code": {"version": "0.1.0", "commit": "c0ffee" * 6, "dirty": False},
    }


@pytest.mark.parametrize(
    ("typed", "changed", "told"),
    [
        ({}, {}, []),
        ({"coreset": 0.2}, {"coreset": 0.2}, ["method.coreset=0.2"]),
        ({}, {"coreset": 1e-05, "blocks": [3, 4]}, ["method.blocks=[3, 4]", "method.coreset=1e-05"]),
        ({"sigma": 2.0}, {"sigma": 2.0, "activation": "gelu"}, ["method.sigma=2.0", "method.activation=gelu"]),
    ],
)
def test_parameters_decide_whatever_the_defaults_are_today(typed, changed, told: list[str]) -> None:
    command, caveat = again(made_by_patchcore(typed, **changed), Session())
    assert caveat == ""
    assert sorted(word for word in shlex.split(command) if word.startswith("method.")) == sorted(told)
    (got,) = config.parse(shlex.split(command)[2:])
    method = registry.find("method", "patchcore").load()
    assert layers.method_params(method.Params, got.method, got.schedule, got.words("method")) == method.Params(
        **changed
    )


def test_nested_parameters_are_written_alone() -> None:
    content = made_by_patchcore()
    method = registry.find("method", "clip").load()
    params = json.loads(json.dumps(asdict(method.Params())))
    params["prompts"]["normal"] = ["healthy {}", "it's"]
    content["resolved"]["method"] = "clip"
    content["facts"] |= {"params": params, "method_version": method.version}
    command, caveat = again(content, Session())
    assert caveat == ""
    assert shlex.split(command)[-1] == """method.prompts.normal=["healthy {}", "it's"]"""


@pytest.mark.parametrize(
    ("resolved", "facts", "changed", "told"),
    [
        ({}, {}, {"whitening": True}, "its patchcore differs in whitening"),
        ({}, {}, {"neighbours": "all", "whitening": True}, "differs in neighbours, whitening"),
        ({"method": "gone"}, {}, {}, "it has no method gone"),
        ({}, {"method_version": "0"}, {}, "its patchcore has version 1, the record's has 0"),
        ({}, {"source": "package:theirs"}, {}, "its patchcore has version 1, the record's has 1 of package:theirs"),
        ({"overrides": {"method": {"whitening": True}}}, {}, {}, "unknown key 'whitening' for method 'patchcore'"),
    ],
)
def test_a_page_says_where_this_adbench_makes_another_cell(resolved, facts, changed, told: str) -> None:
    content = made_by_patchcore(**changed)
    content["resolved"] |= resolved
    content["facts"] |= facts
    caveat = again(content, Session()).caveat
    assert caveat.startswith("Made by commit c0ffeec0ffee; this version of adbench would make a different record: ")
    assert told in caveat
    assert "commit" not in again(made_by_patchcore(), Session()).caveat


def test_a_parameter_that_is_no_more_is_asked_for_all_the_same() -> None:
    """The command then fails here, and works at the record's commit."""
    typed = shlex.split(again(made_by_patchcore(whitening=True), Session()).command)[2:]
    assert "method.whitening=true" in typed
    (got,) = config.parse(typed)
    with pytest.raises(AdbenchError, match="unknown key 'whitening'"):
        layers.method_params(
            registry.find("method", "patchcore").load().Params, got.method, got.schedule, got.words("method")
        )


def test_no_file_that_a_record_names_is_imported(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text("raise SystemExit('imported')")
    content = made_by_patchcore()
    content["resolved"]["method"] = f"{tmp_path / 'theirs.py'}:Theirs"
    assert again(content, Session()) == (
        f"adbench run method={tmp_path}/theirs.py:Theirs dataset=brainmri shots=16 draw=0 seed=0",
        "",
    )


def test_the_command_of_a_page_makes_the_same_cell(read_page, adbench, tiny: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    given = ["method=patchcore,clip", "shots=2,3", "draw=1", f"data_root={tiny}", "gallery=1", f"runs={runs}"]
    assert adbench("run", *given).code == 0
    assert adbench("run", "method=patchcore", "method.coreset=0.5", *given[1:]).code == 0
    for file in runs.glob("*/record.json"):  # as if those had been the defaults then
        content = json.loads(file.read_text())
        file.write_text(json.dumps(content | {"resolved": content["resolved"] | {"overrides": {}}}))
    answer = adbench("leaderboard", runs, "--html", tmp_path / "site", "--csv", tmp_path / "board.csv")
    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[-1] == f"written: {tmp_path / 'site' / 'index.html'}"
    commands = set()
    for path in (tmp_path / "site" / "cells").iterdir():
        page = read_page(path)
        assert "a different record" not in page.text
        said = re.search(r"adbench run [^\n]*data_root[^\n]*", page.text)
        assert said is not None
        typed = shlex.split(said[0].removesuffix("copy"))[2:]
        commands.add(tuple(typed))
        assert "recorded already" in adbench("run", *typed, f"runs={runs}").out
    assert len(commands) == len(list(runs.glob("*/record.json"))) == 5
    refused = adbench("leaderboard", runs, "--html", runs)
    assert refused.code == 2
    assert "is not a site of adbench" in refused.err
