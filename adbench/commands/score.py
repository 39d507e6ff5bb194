"""`adbench score`: a record's method on images that nobody labelled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from adbench.commands.console import plain_console
from adbench.commands.keys import LOAD_KEYS, SCORE_KEYS, places_and_keys
from adbench.config.layers import read_value
from adbench.config.words import parse_one
from adbench.errors import AdbenchError
from adbench.system.text import counted

if TYPE_CHECKING:  # imports torch
    from rich.console import Console

    from adbench.exports.results import Cut
    from adbench.records.record import Record
    from adbench.running.apply import LoadKeys
    from adbench.statistics.calibration import Platt

OF_BACKBONE: dict[str, Literal["weights", "text"]] = {"backbone.weights": "weights", "backbone.text": "text"}
NUMBERS = ("threshold", "map_threshold", "specificity")


def score_words(record: Path, words: Sequence[str]) -> None:
    """Score images with a record; `words` mixes files and key=value."""
    files, keys = places_and_keys(words, SCORE_KEYS, ["method.prompts"])
    threshold, map_threshold, specificity = (_number(keys, name) for name in NUMBERS)
    if specificity is not None and (given := [name for name in NUMBERS[:2] if name in keys]):
        raise AdbenchError(
            f"specificity={keys['specificity']} takes both thresholds from the record: leave out {' and '.join(given)} "
            "or specificity."
        )
    from adbench.records.record import read
    from adbench.running.apply import load
    from adbench.running.find import find_images
    from adbench.running.score_files import Options, default_folder, score_files
    from adbench.running.score_folder import check_folder, resolved
    from adbench.running.score_pictures import MAPS

    if (force := keys.get("force", "false").lower()) not in ("true", "false"):
        raise AdbenchError(f"force={keys['force']} is not possible: true or false.")
    if (maps := keys.get("maps")) not in (None, *MAPS):
        raise AdbenchError(f"maps={maps} is not possible: {' or '.join(MAPS)}.")
    if keys.get("out") == "":
        raise AdbenchError("out= names no folder. Give one, as in out=scored, or leave it out.")
    folder = Path(keys["out"]).expanduser() if "out" in keys else default_folder()
    check_folder(resolved(folder), force == "true")
    paths, left = find_images(files)
    overrides = {
        key.removeprefix("method."): read_value(text) for key, text in keys.items() if key.startswith("method.")
    }
    whole, console = read(record.expanduser()), plain_console()
    if not whole.content["capability"]["maps"] and (useless := [n for n in ("map_threshold", "maps") if n in keys]):
        name = whole.content["facts"]["method"]
        raise AdbenchError(f"{useless[0]}= has no effect: {name} draws no maps. Leave it out.")
    image, pixel = _given("threshold", threshold), _given("map_threshold", map_threshold)
    if specificity is not None:
        image, pixel = _fixed(whole, specificity, list(overrides), console)
        if (asked := keys.get("precision")) not in (None, made := whole.content["resolved"]["precision"]):
            console.print(f"note: the thresholds are of precision={made}; scores of precision={asked} differ a little.")
    platt = _platt(whole, list(overrides), console)
    fitted = load(whole, overrides, **load_keys(keys))
    for note in fitted.notes:
        console.print(f"note: {note}")
    for sentence in left:
        console.print(sentence)
    options = Options(image, pixel, platt, maps, force == "true", tuple(left))
    written = score_files(fitted, paths, folder, options)
    for note in written.notes[len(fitted.notes) :]:
        console.print(f"note: {note}")
    if image.value is None:
        console.print("No threshold given: images were scored, not classified.")
    if pixel.value is None and fitted.capability.maps:
        why = "No map_threshold given" if specificity is None else f"No map_threshold, as {pixel.why}"
        console.print(f"{why}: no pixels are outlined.")
    console.print(
        f"{counted(len(written.rows), 'image')} scored by {record}: {folder}/index.html shows them; scores.csv, "
        "results.json and pictures are next to it"
    )


def _number(keys: Mapping[str, str], name: str) -> float | None:
    if name not in keys:
        return None
    try:
        number = float(keys[name])
    except ValueError:
        raise AdbenchError(f"{name}={keys[name]} is not a number.") from None
    if not math.isfinite(number):
        raise AdbenchError(f"{name}={number} is not possible: a finite number is needed.")
    return number


def _given(key: str, value: float | None) -> Cut:
    from adbench.exports.results import Cut

    return Cut(why=f"no {key} was given") if value is None else Cut(value, "given")


def _fixed(record: Record, specificity: float, changed: Sequence[str], console: Console) -> tuple[Cut, Cut]:
    """Return the thresholds of images and maps that held-out images fix, and print where they are from."""
    from adbench.exports.results import Cut
    from adbench.records.held_out import held_out, thresholds

    keys = "threshold=NUMBER and map_threshold=NUMBER" if record.content["capability"]["maps"] else "threshold=NUMBER"
    instead = f"Give {keys} in place of specificity=."
    if changed:
        raise AdbenchError(
            f"specificity={specificity:g} is not possible with method.{changed[0]}=: the record's held-out images were "
            f"scored with another value. {instead}"
        )
    found = held_out(record)
    fixed = thresholds(found, specificity)
    if fixed.image.value is None:
        raise AdbenchError(f"specificity={specificity:g} is not possible: {fixed.image.why}. {instead}")
    console.print(
        f"threshold={fixed.image.value:.9g}: a specificity of {fixed.image.reached:.4g} on "
        f"{counted(fixed.image.images, 'held-out normal image')} of {counted(fixed.image.patients, 'patient')}, "
        f"{found.split or found.source}"
    )
    if fixed.pixel.value is not None:
        console.print(
            f"map_threshold={fixed.pixel.value:.9g}: a specificity of {fixed.pixel.reached:.4g} on their pixels"
        )
    split = found.split or found.source
    return Cut.of(fixed.image, specificity, split), Cut.of(fixed.pixel, specificity, split)


def _platt(record: Record, changed: Sequence[str], console: Console) -> Platt | str:
    """Return the map to probabilities; without one, print and return why there is none."""
    from adbench.records.held_out import held_out, probabilities

    found = held_out(record)  # a damaged record is an error
    why = f"method.{changed[0]}= changes the scores that they were fitted to" if changed else ""
    try:
        if not why:
            return probabilities(found)
    except AdbenchError as error:
        why = str(error)
    console.print(f"No probabilities: {why}.")
    return why


def load_keys(keys: Mapping[str, str]) -> LoadKeys:
    """Return those of a command's keys that `load` takes, each checked as `adbench run` does."""
    machine: LoadKeys = {}
    for key in LOAD_KEYS:
        if key in OF_BACKBONE:
            machine[OF_BACKBONE[key]] = keys.get(key)
        elif key in keys:
            machine[key] = getattr(parse_one([f"{key}={keys[key]}"]), key)  # type: ignore[literal-required]  # of `LOAD_KEYS`
    return machine
