"""How modules import one another: in no circle, and methods and datasets only the harness."""

from __future__ import annotations

import graphlib

import pytest

from tools.rooms import PICTURE, direct, draw, floors, imports, modules, rooms

MODULES = modules()
GRAPH = {name: imports(name, path, MODULES) for name, path in MODULES.items()}


def test_no_imports_form_a_circle() -> None:
    try:
        tuple(graphlib.TopologicalSorter(GRAPH).static_order())
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


def test_rooms_form_no_circle_either() -> None:
    arrows = rooms()
    assert len(arrows) > 20
    assert floors(arrows)["errors"] == 0
    assert floors(arrows)["commands"] == max(floors(arrows).values())


def test_imports_inside_functions_and_relative_ones_count_and_those_for_types_dont() -> None:
    assert "adbench.cells.resolve" in GRAPH["adbench.running.devices"]
    assert "adbench.methods.clip.method" in GRAPH["adbench.methods.clip"]
    assert "adbench.method" not in GRAPH["adbench.cells.cell"]
    assert len(MODULES) > 200
    assert sum(map(len, GRAPH.values())) > 700


@pytest.mark.parametrize("kind", ["methods", "datasets"])
def test_the_harness_imports_no_method_and_no_dataset(kind: str) -> None:
    for name, others in GRAPH.items():
        if not name.startswith(("adbench.methods", "adbench.datasets")):
            assert not [other for other in others if other.startswith(f"adbench.{kind}")], name


def test_no_method_imports_another() -> None:
    for name, others in GRAPH.items():
        if name.startswith("adbench.methods."):
            folder = ".".join(name.split(".")[:3])
            assert {other for other in others if other.startswith("adbench.methods.")} <= {
                other for other in MODULES if other.startswith(folder)
            }, name


def test_the_picture_of_the_rooms_is_up_to_date() -> None:
    assert PICTURE.read_text(encoding="utf-8") == draw(), "run: python tools/rooms.py"


def test_an_arrow_that_a_longer_way_replaces_is_not_drawn() -> None:
    assert direct({"a": {"b", "c"}, "b": {"c"}}) == {"a": {"b"}, "b": {"c"}}
