"""Backbones that stand in for a pretrained one, and what every board says of their figures on real images."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from adbench.config.layers import load_yaml
from adbench.errors import AdbenchError
from adbench.plugins import registry


def stand_ins(among: Iterable[str] | None = None) -> set[str]:
    """Return the backbones, of all or of some, whose YAML says `stand_in: true`: they have only ever seen drawings."""
    names, files = set(), registry.config_files("backbone")
    for name in files if among is None else files.keys() & set(among):
        with contextlib.suppress(AdbenchError):  # the YAML of somebody else's package, which no record here uses
            if load_yaml(files[name]).get("stand_in", False):
                names.add(name)
    return names


def warning_of(backbones: Iterable[str], data: str) -> str:
    """Return what a reader of figures on `data` ("real", "phantom", "published") must know; empty for nothing.

    >>> warning_of(["phantom-clip"], "real").partition(":")[0]
    'phantom-clip has only ever seen drawings'
    >>> warning_of(["phantom-clip"], "phantom"), warning_of(["ViT-B-16"], "real")
    ('', '')
    """
    names = sorted(stand_ins(backbones)) if data == "real" else []
    if not names:
        return ""
    have, its = ("has", "its") if len(names) == 1 else ("have", "their")
    return (
        f"{', '.join(names)} {have} only ever seen drawings: on real images {its} figures say nothing of a method with "
        "a pretrained backbone"
    )
