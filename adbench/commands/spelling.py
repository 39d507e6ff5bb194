"""What to write where a key was typed as an option, or an option as a key."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def as_key(name: str, option: str, args: Sequence[str]) -> str:
    """Return how an unknown option of the command `name` is written where it is a key; "" where it is none.

    >>> as_key("run", "--method", ["--method", "madclip"]), as_key("run", "--cache-gb", ["--cache-gb=3"])
    ("'--method' is written as a key here: method=madclip.", "'--cache-gb' is written as a key here: cache_gb=3.")
    """
    from adbench.commands.complete import COMMAND_KEYS  # reads the configuration's keys: only where something is wrong

    key = option.removeprefix("--").replace("-", "_")
    if key.partition(".")[0] not in COMMAND_KEYS.get(name, ()):
        return ""
    place = next(place for place, word in enumerate(args) if word.partition("=")[0] == option)
    _, equals, value = args[place].partition("=")
    if not equals:
        value = next((word for word in args[place + 1 : place + 2] if word[:1] != "-" and "=" not in word), "VALUE")
    return f"{option!r} is written as a key here: {key}={shlex.quote(value)}."


def as_option(name: str, options: Mapping[str, Any], args: Sequence[str]) -> str:
    """Return how the first `key=value` of the command `name` is written that is an option and no key; "" for none.

    options: the parameters of the command by the words that begin with hyphens. A file of that name is a file.
    """
    for place, word in enumerate(args):
        key, equals, value = word.partition("=")
        option = f"--{key.replace('_', '-')}"
        before = options.get(args[place - 1]) if place else None
        is_value = before is not None and not before.is_flag
        if not equals or option not in options or is_value or Path(word).exists():
            continue
        from adbench.commands.complete import COMMAND_KEYS

        if key not in COMMAND_KEYS.get(name, ()):
            written = option if options[option].is_flag else f"{option} {shlex.quote(value)}"
            return f"{word}: `adbench {name}` takes it as an option. Write {written}."
    return ""
