"""`adbench list`: what is registered, and what of it is broken."""

from __future__ import annotations

from collections.abc import Iterator

from adbench.config import groups, layers
from adbench.errors import AdbenchError, did_you_mean
from adbench.plugins import registry


def listing(what: str) -> Iterator[str]:
    """Yield a line per registered method, dataset or backbone."""
    kinds: dict[str, registry.Kind] = {"methods": "method", "datasets": "dataset", "backbones": "backbone"}
    kinds |= {"groups": "group", "executors": "executor"}
    if what not in kinds:
        raise AdbenchError(f"cannot list {what!r}: {did_you_mean(what, kinds)}")
    kind = kinds[what]
    if kind in ("group", "backbone"):
        for name, (package, file) in registry.shipped(kind).items():
            try:
                members = [one for names in groups.group(name).values() for one in names] if kind == "group" else []
                title = str(layers.load_yaml(file).get("title", ""))
                yield f"{name:<16}{title}" + (f"  [{', '.join(members)}]" if members else "")
            except AdbenchError as error:
                yield f"{name:<16}broken: {error}  [{package}]"
    else:
        for name, entry in registry.entries(kind).items():
            yield f"{name:<16}{_title(kind, entry)}  [{entry.package}]"


def _title(kind: registry.Kind, entry: registry.Entry) -> str:
    """Return the title in an entry's YAML, or why a stranger's package is broken."""
    try:
        file = registry.config_file(kind, entry.name)
        title = str(layers.load_yaml(file).get("title", "")) if file else ""
        if entry.foreign:  # the built-in ones are tested; importing them would import torch
            entry.load()
    except AdbenchError as error:
        cause = error.__cause__
        return f"broken: {registry.reason(cause) if cause else error}"
    return title
