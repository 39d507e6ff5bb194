"""A broken package stops no command that does not need it."""

from __future__ import annotations

from pathlib import Path

import pytest

from adbench.config import layers
from adbench.config import words as config
from adbench.plugins import registry
from adbench.sweeps import sweep


def test_a_broken_package_stops_no_command_that_does_not_need_it(adbench, wreck: Path, tiny: Path, tmp_path) -> None:
    config.defaults.cache_clear()
    layers.executor_sections.cache_clear()
    data, out = f"data_root={tiny}", ["--out", tmp_path / "x.png"]
    runs = f"runs={tmp_path / 'runs'}"
    few = ["--train", 0, "--valid", 2, "--test", 2]
    commands = [
        ["--help"], ["--version"], ["version"], ["run", "--keys"], ["--complete", "adbench run method="],
        ["plan", "method=clip,patchcore", "shots=2", data, runs], ["run", "method=clip", data, runs, "gallery=1"],
        ["leaderboard", tmp_path / "runs", "--html", tmp_path / "pages"], ["new-method", "nearest", "--into", tmp_path],
        ["data", "check", "brainmri", data], ["data", "describe", "brainmri", data, *out],
        ["support", "show", "shots=2", data, *out], ["support", "show", "method=patchcore", "shots=2", data, *out],
        ["data", "phantom", "--root", tmp_path / "drawn", "--dataset", "busi", *few],
    ]  # fmt: skip
    said = {}
    for words in commands:
        answer = adbench(*words)
        assert answer.code == 0, (words, answer.err)
        assert "Traceback" not in answer.err
        said[" ".join(map(str, words[:2]))] = answer
    assert "method=clip\n" in said["--complete adbench run method="].out
    (record,) = (path for path in (tmp_path / "runs").iterdir() if (path / "record.json").is_file())
    assert adbench("score", record, next(tiny.rglob("*.png")), f"out={tmp_path / 'scores'}").code == 0
    for kind, mine in (("methods", "clip"), ("datasets", "brainmri"), ("backbones", "phantom-clip"), ("groups", "bmad"),
                       ("executors", "local")):  # fmt: skip
        answer = adbench("list", kind)
        assert answer.code == 0, answer.err
        lines = {line.strip("│ ").split()[0]: line for line in answer.out.splitlines()}
        assert "broken: " in lines["wreck"], kind
        assert "broken: " not in lines[mine], kind
        if kind in ("methods", "datasets", "executors"):
            assert "broken: two packages register" in lines["twice"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("run method=wreck", "wreckage"),
        ("run method=twice", "two packages register the method 'twice'"),
        ("run method=strange", "wreckage"),
        ("run method=nameless", "an unnamed package"),
        ("run dataset=wreck", "wreck"),
        ("run dataset=twice", "two packages register the dataset 'twice'"),
        ("run executor=wreck", "wreckage"),
        ("run executor=twice", "two packages register the executor 'twice'"),
        ("run backbone=wreck", "not readable YAML"),
        ("check-method wreck", "wreckage"),
        ("data check wreck", "wreck"),
    ],
)
def test_who_names_a_broken_package_gets_one_sentence(adbench, wreck: Path, words: str, says: str) -> None:
    answer = adbench(*words.split())
    assert answer.code == 2
    assert answer.err.startswith("adbench: ")
    assert answer.err.count("\n") == 1
    assert says in answer.err


@pytest.mark.parametrize(
    ("words", "broken", "says"),
    [
        ("method=clip,twice", "twice", "two packages register the method 'twice'"),
        ("method=cli?,wreck,twi*", "twice", "two packages register the method 'twice'"),
        ("method=clip,wreck", "wreck", "the method 'wreck' cannot be used: wreckage brings it"),
        ("method=clip dataset=brainmri,twice", "twice", "two packages register the dataset 'twice'"),
        ("method=clip backbone=phantom-clip,wreck", "wreck", "wreck.yaml is not readable YAML"),
        ("method=clip,twice preset=paper backbone=phantom-clip", "twice", "two packages register the method 'twice'"),
    ],
)
def test_a_broken_package_costs_its_own_cells_of_a_sweep(
    wreck: Path, tiny: Path, tmp_path, words, broken, says
) -> None:
    layers.executor_sections.cache_clear()
    asked = config.parse([*words.split(), f"data_root={tiny}", "shots=2", f"runs={tmp_path / 'runs'}"])
    tasks = sweep.plan(asked, offline=True)
    assert tasks[0].state == "to run", tasks[0].error
    (task,) = (task for task in tasks if broken in (task.config.method, task.config.dataset, task.config.backbone))
    assert task.state == "impossible"
    assert says in str(task.error)


def test_all_methods_are_run_but_the_broken_ones(wreck: Path, tiny: Path, tmp_path: Path) -> None:
    layers.executor_sections.cache_clear()
    tasks = sweep.plan(config.parse(["method=*", f"data_root={tiny}", "shots=2", f"runs={tmp_path}"]), offline=True)
    states = {task.config.method: task.state for task in tasks}
    assert {name for name, state in states.items() if state == "impossible"} == {
        "wreck",
        "twice",
        "strange",
        "nameless",
    }
    assert states["clip"] == states["patchcore"] == "to run"


def test_all_phantoms_are_those_of_packages_that_are_not_broken(wreck: Path, capsys) -> None:
    from adbench.commands.phantom import usable

    assert set(usable()) == {name for name, entry in registry.entries("dataset").items() if not entry.foreign}
    notes = capsys.readouterr().err
    assert "note: wreck is left out: " in notes
    assert "note: twice is left out: two packages register the dataset 'twice'" in notes


def test_a_broken_package_does_not_stop_the_documentation(wreck: Path) -> None:
    import importlib.util

    spec = importlib.util.spec_from_file_location("docs_build", Path(__file__).parents[3] / "docs" / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    page = build.reference()
    assert "### patchcore" in page
    assert "### wreck" not in page
