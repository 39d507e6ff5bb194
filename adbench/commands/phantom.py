"""`adbench data phantom`: synthetic stand-ins in the real datasets' layout."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from adbench.commands.console import plain_console
from adbench.config import groups, layers
from adbench.errors import AdbenchError
from adbench.plugins import registry
from adbench.system.cores import available, shared

if TYPE_CHECKING:
    from adbench.data.items import DatasetConfig


def _take(share: dict[str, str]) -> None:
    os.environ.update(share)


def _draw(name: str, facts: DatasetConfig, root: Path, counts: dict[str, int]) -> None:
    from adbench.data.indexed import naming_the_dataset, phantom_drawer

    drawer = phantom_drawer(name, facts)
    with naming_the_dataset(name, "draw_phantom"):
        drawer.draw_phantom(root, counts)


def _named(text: str) -> list[str]:
    expanded = dict.fromkeys(name for word in text.split(",") for name in groups.expand("dataset", word))
    return [registry.find("dataset", name).name for name in expanded]


def usable() -> list[str]:
    """Return every dataset that draws phantoms; each other one, as of a broken package, is noted on standard error."""
    from adbench.data.indexed import phantom_drawer
    from adbench.data.items import DatasetConfig

    names = []
    for name in registry.entries("dataset"):
        try:
            phantom_drawer(name, layers.section(DatasetConfig, "dataset", name))
        except AdbenchError as error:
            print(f"note: {name} is left out: {error}", file=sys.stderr)
        else:
            names.append(name)
    return names


def draw_phantoms(root: Path, dataset: str, counts: dict[str, int]) -> None:
    """Draw the phantoms of datasets below `root`: names, groups and wildcards with commas between, or `all`."""
    from adbench.data.indexed import phantom_drawer
    from adbench.data.items import DatasetConfig
    from adbench.system.files import unwritable
    from adbench.system.progress import track

    names = usable() if dataset == "all" else _named(dataset)
    facts = [layers.section(DatasetConfig, "dataset", name) for name in names]
    for name, config in zip(names, facts, strict=True):
        phantom_drawer(name, config)  # says which can't be drawn before any is
    try:
        root.mkdir(parents=True, exist_ok=True)
        processes = min(len(names), available())
        with ProcessPoolExecutor(processes, get_context("spawn"), _take, (shared(processes),)) as executor:
            drawn = executor.map(_draw, names, facts, [root] * len(names), [counts] * len(names))
            for _ in track(drawn, "drawing phantoms", len(names)):
                pass
    except OSError as error:
        raise unwritable(root, error, "folder with --root DIR") from error
    plain_console().print(f"drawn below {root}: {', '.join(names)}. Read them with data_root={root}")
