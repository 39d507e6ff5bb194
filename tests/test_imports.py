"""How the packages import one another: in no circle, and methods and datasets only the harness."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TREES = {
    "adbench": "adbench",
    "adbench.methods": "methods",
    "adbench.datasets": "datasets",
    "adbench.configs": "configs",
}


def modules() -> dict[str, Path]:
    """Every module by its dotted name, as installed."""
    return {
        ".".join([package, *path.relative_to(ROOT / folder).with_suffix("").parts]).removesuffix(".__init__"): path
        for package, folder in TREES.items()
        for path in (ROOT / folder).rglob("*.py")
    }


MODULES = modules()


def statements(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """All imports, inside functions too, but for those under `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        yield from statements(child)


def imported(name: str, path: Path) -> set[str]:
    """The modules of adbench that a module imports."""
    found = set()
    for one in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(one, ast.Import):
            found |= {alias.name for alias in one.names}
            continue
        package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
        base = (
            ".".join([*package[: len(package) + 1 - one.level], *filter(None, [one.module])])
            if one.level
            else one.module
        )
        # `from adbench.data import items` means the module; `from adbench.data.items import Item` the one it is in.
        found |= {whole if (whole := f"{base}.{alias.name}") in MODULES else str(base) for alias in one.names}
    return (found & MODULES.keys()) - {name}


GRAPH = {name: imported(name, path) for name, path in MODULES.items()}


def test_no_imports_form_a_circle() -> None:
    try:
        tuple(graphlib.TopologicalSorter(GRAPH).static_order())
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


def test_the_graph_sees_imports_in_functions_and_relative_ones() -> None:
    assert "adbench.cells.resolve" in GRAPH["adbench.running.devices"]
    assert "adbench.methods.clip.method" in GRAPH["adbench.methods.clip"]
    assert len(MODULES) > 200
    assert sum(map(len, GRAPH.values())) > 700


@pytest.mark.parametrize("kind", ["methods", "datasets"])
def test_the_harness_imports_no_method_and_no_dataset(kind: str) -> None:
    harness = {name for name in MODULES if not name.startswith(tuple(TREES)[1:])}
    assert not [(name, one) for name in harness for one in GRAPH[name] if one.startswith(f"adbench.{kind}")]


def test_no_method_imports_another() -> None:
    for name in MODULES:
        if name.startswith("adbench.methods."):
            own = ".".join(name.split(".")[:3])
            others = {one for one in GRAPH[name] if one.startswith("adbench.methods.") and not one.startswith(own)}
            assert not others, f"{name} imports {others}"
