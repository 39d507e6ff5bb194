"""`adbench list`: what is registered, and what of it is broken."""

from __future__ import annotations

from collections.abc import Iterator

from adbench.config import groups, layers
from adbench.errors import AdbenchError, did_you_mean
from adbench.plugins import registry
from adbench.system.text import said


def listing(plural: str) -> Iterator[str]:
    """Yield a line for each registered method, dataset, backbone, group or executor."""
    kinds: dict[str, registry.Kind] = {"methods": "method", "datasets": "dataset", "backbones": "backbone"}
    kinds |= {"groups": "group", "executors": "executor"}
    if plural not in kinds:
        raise AdbenchError(f"cannot list {plural!r}: {did_you_mean(plural, kinds)}")
    kind = kinds[plural]
    if kind in ("group", "backbone"):
        for name, files in registry.shipped(kind).items():
            yield _shipped_line(kind, name, ", ".join(files))
    else:
        for name, entry in registry.entries(kind).items():
            yield f"{name:<16}{_title(kind, entry)}  [{entry.package}]"


def _shipped_line(kind: registry.Kind, name: str, packages: str) -> str:
    """Return the line of a group or backbone, which is a YAML file and no code."""
    try:
        file = registry.shipped_file(kind, name)
        assert file is not None
        members = [member for names in groups.group(name).values() for member in names] if kind == "group" else []
        title = str(layers.load_yaml(file).get("title", ""))
    except AdbenchError as error:
        return f"{name:<16}broken: {error}  [{packages}]"
    return f"{name:<16}{title}" + (f"  [{', '.join(members)}]" if members else "")


def _title(kind: registry.Kind, entry: registry.Entry) -> str:
    """Return the title in an entry's YAML, or why somebody else's package is broken."""
    if entry.clash:
        return f"broken: {entry.clash}"
    try:
        file = registry.config_file(kind, entry.name)
        title = str(layers.load_yaml(file).get("title", "")) if file else ""
        if entry.foreign:  # the built-in ones are tested; importing them would import torch
            entry.load()
    except AdbenchError as error:
        cause = error.__cause__
        return f"broken: {said(cause) if cause else error}"
    return title
