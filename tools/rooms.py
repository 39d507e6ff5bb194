"""Draw the rooms of adbench and the imports between them as docs/images/rooms.svg.

Usage: python tools/rooms.py [--check]    (--check: exit 1 where the picture is out of date)

A room is a folder of adbench/, or a module at its top. Every arrow points down: a room imports only rooms below it.
"""

from __future__ import annotations

import argparse
import ast
import graphlib
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "images" / "rooms.svg"
TREES = {"adbench": "adbench", "adbench.methods": "methods", "adbench.datasets": "datasets"}
LEFT_OUT = ("adbench", "_version", "__main__")  # the package's face, its version, `python -m adbench`
WIDTH, HEIGHT, GAP, FLOOR = 118, 34, 22, 80  # pixels of a room, and from one floor to the next


def modules() -> dict[str, Path]:
    """Return every module by its dotted name, as installed."""
    return {
        ".".join([package, *path.relative_to(ROOT / folder).with_suffix("").parts]).removesuffix(".__init__"): path
        for package, folder in TREES.items()
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


def statements(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield all imports, inside functions too, but for those under `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        yield from statements(child)


def imports(name: str, path: Path, known: Mapping[str, Path]) -> set[str]:
    """Return the modules of adbench that a module imports."""
    names: set[str] = set()
    for statement in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(statement, ast.Import):
            names |= {alias.name for alias in statement.names}
            continue
        base = statement.module or ""
        if statement.level:
            package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
            base = ".".join([*package[: len(package) + 1 - statement.level], *filter(None, [statement.module])])
        # `from adbench.data import items` imports the module, `from adbench.data.items import Item` the one it is in.
        names |= {whole if (whole := f"{base}.{alias.name}") in known else base for alias in statement.names}
    return (names & known.keys()) - {name}


def room_of(module: str) -> str:
    """Return the room of a module: adbench.data.items is in `data`."""
    return module.split(".")[1] if "." in module else module


def rooms() -> dict[str, set[str]]:
    """Return for each room the rooms that it imports."""
    known = modules()
    arrows: dict[str, set[str]] = defaultdict(set)
    for name, path in known.items():
        room = room_of(name)
        if room not in LEFT_OUT:
            arrows[room] |= {room_of(other) for other in imports(name, path, known)} - {room, *LEFT_OUT}
    return dict(arrows)


def floors(arrows: Mapping[str, set[str]]) -> dict[str, int]:
    """Return the floor of each room: one above the highest room that it imports.

    Raises graphlib.CycleError where rooms import one another in a circle.
    """
    heights: dict[str, int] = {}
    for room in graphlib.TopologicalSorter(arrows).static_order():
        heights[room] = max((heights[other] + 1 for other in arrows.get(room, ())), default=0)
    return heights


def direct(arrows: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return the arrows that no longer way replaces: a -> c is left out where a -> b -> c."""

    def below(room: str) -> set[str]:
        return set().union(*({other} | below(other) for other in arrows.get(room, ())), set())

    return {
        room: {other for other in others if not any(other in below(via) for via in others - {other})}
        for room, others in arrows.items()
    }


def draw() -> str:
    """Return the picture as SVG."""
    arrows = rooms()
    height = floors(arrows)
    rows: dict[int, list[str]] = defaultdict(list)
    for room in sorted(arrows, key=lambda room: (height[room], room)):
        rows[height[room]].append(room)
    widest = max(map(len, rows.values()))
    whole = widest * (WIDTH + GAP) + GAP
    top = max(rows)
    places: dict[str, tuple[float, float]] = {}
    for floor, members in rows.items():
        start = (whole - len(members) * (WIDTH + GAP) + GAP) / 2
        for number, room in enumerate(members):
            places[room] = start + number * (WIDTH + GAP), GAP + (top - floor) * FLOOR
    parts = []
    for room, others in sorted(direct(arrows).items()):
        for other in sorted(others):
            (x1, y1), (x2, y2) = places[room], places[other]
            x1, x2, y1 = x1 + WIDTH / 2, x2 + WIDTH / 2, y1 + HEIGHT
            middle = (y1 + y2) / 2
            curve = f"M{x1:.0f},{y1:.0f} C{x1:.0f},{middle:.0f} {x2:.0f},{middle:.0f} {x2:.0f},{y2 - 5:.0f}"
            parts.append(f'<path d="{curve}" fill="none" stroke="#8a8f98" stroke-width="1.2" marker-end="url(#tip)"/>')
    for room, (x, y) in sorted(places.items()):
        fill = "#eef3fb" if room not in ("methods", "datasets") else "#fdf3e3"
        middle = x + WIDTH / 2
        parts += [
            f'<rect x="{x:.0f}" y="{y:.0f}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{fill}" stroke="#4a5568"/>',
            f'<text x="{middle:.0f}" y="{y + 22:.0f}" text-anchor="middle">{escape(room)}</text>',
        ]
    size = f'width="{whole:.0f}" height="{GAP + (top + 1) * FLOOR - (FLOOR - HEIGHT) + GAP:.0f}"'
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">',
        "<title>The rooms of adbench and the imports between them</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#8a8f98"/></marker></defs>',
        '<rect width="100%" height="100%" fill="white"/>',
        *parts,
        "</svg>\n",
    ])  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="draw nothing; exit code 1 where the picture is stale")
    if parser.parse_args().check:
        sys.exit(PICTURE.read_text(encoding="utf-8") != draw())
    PICTURE.write_text(draw(), encoding="utf-8")
    print(f"drawn: {PICTURE.relative_to(ROOT)}")
