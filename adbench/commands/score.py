"""`adbench score`: a record's method on images that nobody labelled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adbench.commands.console import plain_console
from adbench.commands.keys import LOAD_KEYS, SCORE_KEYS
from adbench.config.layers import read_value
from adbench.config.words import parse
from adbench.errors import AdbenchError, did_you_mean
from adbench.system.text import counted

if TYPE_CHECKING:  # imports torch
    from adbench.running.apply import LoadKeys


def score_words(record: Path, words: Sequence[str]) -> None:
    """Score images with a record; `words` mixes files and key=value."""
    keys: dict[str, str] = {}
    files = []
    for word in words:
        key, equals, value = word.partition("=")
        if equals and not Path(word).exists():
            if key not in SCORE_KEYS and not key.startswith("method."):
                raise AdbenchError(f"unknown key {key!r}: {did_you_mean(key, [*SCORE_KEYS, 'method.prompts'])}")
            keys[key] = value
        else:
            files.append(word)
    threshold = None
    if "threshold" in keys:
        try:
            threshold = float(keys["threshold"])
        except ValueError:
            raise AdbenchError(f"threshold={keys['threshold']} is not a number.") from None
        if not math.isfinite(threshold):
            raise AdbenchError(f"threshold={threshold} is not possible: a finite number is needed.")
    from adbench.running.apply import load
    from adbench.running.score_files import default_folder, find_images, score_files

    paths, left = find_images(files)
    overrides = {
        key.removeprefix("method."): read_value(text) for key, text in keys.items() if key.startswith("method.")
    }
    fitted = load(record, overrides, **load_keys(keys))
    folder = Path(keys["out"]).expanduser() if "out" in keys else default_folder()
    console = plain_console()
    for note in fitted.notes:
        console.print(f"note: {note}")
    for sentence in left:
        console.print(sentence)
    table = score_files(fitted, paths, folder, threshold)
    if threshold is None:
        console.print("No threshold given: images were scored, not classified.")
    console.print(f"{counted(len(table), 'image')} scored by {record}: {folder}/scores.csv, and pictures next to it")


def load_keys(keys: Mapping[str, str]) -> LoadKeys:
    """Return those of a command's keys that `load` takes, each checked as `adbench run` does."""
    machine: LoadKeys = {}
    for key in LOAD_KEYS:
        if key == "backbone.weights":
            machine["weights"] = keys.get(key)
        elif key in keys:
            (checked,) = parse([f"{key}={keys[key]}"])
            machine[key] = getattr(checked, key)  # type: ignore[literal-required]  # of `LOAD_KEYS`
    return machine
