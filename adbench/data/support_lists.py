"""Support lists that authors publish, by name: `support=madclip` is the list of MadCLIP's authors."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TypeGuard

from adbench.config.layers import load_yaml, merge
from adbench.data.items import CLASSES
from adbench.data.support import LIST_KEYS, Named
from adbench.errors import AdbenchError
from adbench.plugins import registry


@dataclass(frozen=True)
class SupportLists:
    """The content of `support/NAME.yaml`: a list of file names for each dataset, number of shots and class."""

    title: str
    source: str = ""
    licence: str = ""
    lists: dict[str, dict[int, dict[str, str]]] = field(default_factory=dict)


def is_named(support: str | None) -> TypeGuard[str]:
    """Whether a value of `support=` is the name of published lists; a path with a folder or an ending never is."""
    return support is not None and support in registry.config_files("support")


def named_list(name: str, dataset: str, shots: int | str) -> dict[str, Named]:
    """Return the list of one dataset and number of shots: by key (`n-0`, `a-0`) where it stands, and the file names.

    Raises AdbenchError, naming what there is, where the authors publish no such list.
    """
    known = _lists(name).lists
    if dataset not in known:
        raise AdbenchError(
            f"support={name} has no list for {dataset}; it has lists for {', '.join(known)}. Use a draw, as in draw=0, "
            "or a list of your own, as in support=FILE."
        )
    if shots not in known[dataset]:
        numbers = ", ".join(map(str, known[dataset]))
        raise AdbenchError(f"support={name} has no list of {shots} shots for {dataset}: shots={numbers} are possible.")
    where = f"support={name}, {shots} shots of {dataset},"
    classes = known[dataset][int(shots)]
    return {
        key: Named(where, classes[kind].split())
        for key, kind in zip(LIST_KEYS, CLASSES, strict=True)
        if kind in classes
    }


@functools.cache
def _lists(name: str) -> SupportLists:
    file = registry.config_files("support")[name]
    return merge(SupportLists, load_yaml(file), {}, str(file))
