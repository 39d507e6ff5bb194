"""Display names of methods and datasets, as papers print them."""

from __future__ import annotations

import contextlib
import re
from functools import cache

from adbench.board.leaderboard import MEAN
from adbench.config.layers import load_yaml
from adbench.errors import AdbenchError
from adbench.plugins import registry
from adbench.system.text import printable


def display_name(kind: registry.Kind, name: str) -> str:
    """Return how a method or dataset is printed: `display_name` of its YAML, or of its group, else the name itself.

    A category, a hash, a number of folds and "mean of" stay around it.

    >>> display_name("method", "madclip"), display_name("dataset", "brainmri@0f3a9c")
    ('MadCLIP', 'Brain MRI@0f3a9c')
    >>> display_name("dataset", "mean of bmad"), display_name("dataset", "mvtec/bottle"), display_name("method", "mine")
    ('mean of BMAD', 'MVTec AD/bottle', 'mine')
    """
    if kind == "dataset" and name.startswith(MEAN):
        return MEAN + display_name("dataset", name.removeprefix(MEAN))
    start = re.split(r"[/@ ]", name, maxsplit=1)[0] if kind == "dataset" else name
    return _known(kind, start) + name[len(start) :]


@cache
def _known(kind: registry.Kind, name: str) -> str:
    for where in (kind, "group"):
        with contextlib.suppress(AdbenchError):  # of a package that is not installed here, or is broken
            file = registry.shipped_file("group", name) if where == "group" else registry.config_file(where, name)
            if file is not None and (shown := load_yaml(file).get("display_name")):
                return printable(str(shown))
    return name
