"""Keys that the commands other than `run` and `plan` take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adbench.errors import AdbenchError, DataError, did_you_mean

DATA_KEYS = ("data_root", "cache")
SUPPORT_KEYS = ("dataset", "method", "shots", "draw", "support", "protocol", "train_on", "backbone", *DATA_KEYS)
SYNTHESIS_KEYS = ("shots", "draw", "seed", "support", "input_size", "backbone", *DATA_KEYS)
# Of the machine that rebuilds a method.
LOAD_KEYS = ("device", "cache", "precision", "backbone.weights", "backbone.text", "method")
SCORE_KEYS = ("out", "threshold", "map_threshold", "specificity", "maps", "force", *LOAD_KEYS)
PLOT_KEYS = ("data_root", *LOAD_KEYS)
VERIFY_KEYS = PLOT_KEYS


def places_and_keys(
    words: Sequence[str], known: Sequence[str], parameters: Sequence[str] = ()
) -> tuple[list[str], dict[str, str]]:
    """Tell files and folders from KEY=VALUE words; a file whose name holds = is a file.

    parameters: examples of keys method.X, which are taken too where there is one.
    Raises AdbenchError for a key that is none of the known ones, or is given twice.
    """
    places: list[str] = []
    keys: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or Path(word).exists():
            places.append(word)
        elif key in keys:
            raise AdbenchError(f"{key} is given twice, as {keys[key]!r} and {value!r}. Keep one.")
        elif key in known or (parameters and key.startswith("method.")):
            keys[key] = value
        else:
            raise AdbenchError(f"unknown key {key!r}: {did_you_mean(key, [*known, *parameters])}")
    return places, keys


def check_root(root: str) -> None:
    """Raise DataError where `data_root=` of a command that reads records is neither `phantom` nor a folder."""
    if root != "phantom" and not Path(root).expanduser().is_dir():
        raise DataError(f"data_root={root} is not a folder. Name the folder of the data that the records tested on.")
