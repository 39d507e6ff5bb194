"""Backbones that stand in for a pretrained one, and what every board says of their figures on real images."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

from adbench.config.layers import load_yaml
from adbench.errors import AdbenchError
from adbench.plugins import registry
from adbench.records.record import Record


def stand_ins(among: Iterable[str] | None = None) -> set[str]:
    """Return the backbones, of all or of some, whose YAML says `stand_in: true`: they have only ever seen drawings."""
    names, files = set(), registry.config_files("backbone")
    for name in files if among is None else files.keys() & set(among):
        with contextlib.suppress(AdbenchError):  # the YAML of somebody else's package, which no record here uses
            if load_yaml(files[name]).get("stand_in", False):
                names.add(name)
    return names


def marked(records: Sequence[Record]) -> list[bool]:
    """Return for each record whether its backbone is a stand-in, as it says; an older one that doesn't, as YAML here.

    Newer records do not depend on what is installed where a table is drawn.
    """
    said = [(record.content.get("backbone") or {}).get("stand_in") for record in records]
    here = stand_ins({record.backbone for record, one in zip(records, said, strict=True) if one is None})
    return [record.backbone in here if one is None else bool(one) for record, one in zip(records, said, strict=True)]


def warning_of(stand_ins_there: Iterable[str]) -> str:
    """Return what a reader of figures on real images must know of these backbones of theirs; empty for none.

    >>> warning_of(["phantom-clip"]).partition(":")[0]
    'phantom-clip has only ever seen drawings'
    >>> warning_of([])
    ''
    """
    names = sorted(set(stand_ins_there))
    if not names:
        return ""
    have, its = ("has", "its") if len(names) == 1 else ("have", "their")
    return (
        f"{', '.join(names)} {have} only ever seen drawings: on real images {its} figures say nothing of a method with "
        "a pretrained backbone"
    )
