"""A record's scores, computed once more: from its saved parameters, or with its training, from nothing."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adbench.method import naming_the_method
from adbench.records import provenance
from adbench.records.record import Record
from adbench.running import devices
from adbench.running.apply import Fitted, LoadKeys, load
from adbench.running.cell import STAGES, parameters_of
from adbench.running.recheck import Reopened
from adbench.running.remap import MapsAgain
from adbench.scoring.score import columns_of, score_images, show_test_images
from adbench.system.progress import counting, track
from adbench.system.text import printable

# By how much scores may differ on another kind of machine, as a share of the spread of a record's scores.
TOLERANCE = {"32-true": 1e-3, "bf16-mixed": 2e-2, "16-mixed": 2e-2}
AFTER_TRAINING = 0.02  # by which the figures of a training may differ on another kind of machine, as fractions of 1
SAME_BITS = "the same bits, on the same kind of machine"
OTHER_KIND = "as the record names another kind of machine"
COLUMNS = ("score", "map_max", "map_mean")


@dataclass(frozen=True)
class Scored:
    """How a rescoring went: the number of images; what was compared, bits or with which tolerance, and what not."""

    images: int
    how: str
    unchecked: tuple[str, ...] = ()


def chosen(key: str, ids: Sequence[str], count: int | None) -> list[int]:
    """Return the rows of the images that are scored again: the first by a hash of cell and image, or all.

    Nobody who makes a record chooses them, and everybody who verifies it takes the same ones.

    >>> chosen("a", ["x", "y", "z"], 2) == chosen("a", ["x", "y", "z"], 3)[:2]
    True
    """
    order = sorted(range(len(ids)), key=lambda row: hashlib.sha256(f"{key}\t{ids[row]}".encode()).digest())
    return order[:count]


def same_kind(record: Record, device: str) -> bool:
    """Whether a record was made on this kind of machine, with these packages: its scores then have the same bits."""
    content, here, packages = record.content, provenance.device(device), provenance.packages()
    same_device = all(content["device"].get(name) == here[name] for name in ("type", "model"))
    return same_device and all(content["packages"].get(name) == packages[name] for name in ("python", "torch", "numpy"))


def unit_of(table: pd.DataFrame, name: str) -> float:
    """Return the unit of a tolerance: the spread of the scores, or of `map_max` and `map_mean` the range of maps.

    The highest scores of maps may all be 1 but for rounding: their own spread says nothing of how they round.

    >>> table = pd.DataFrame({"score": [1, 3], "map_max": [0.999999, 1], "map_mean": [0.25, 0.5]})
    >>> [unit_of(table, name) for name in ("score", "map_max", "map_mean")]
    [2.0, 0.75, 0.75]
    """
    if name == "score":
        return float(np.ptp(table["score"].to_numpy(np.float64))) or 1.0
    return max(float(table["map_max"].max()) - float(table["map_mean"].min()), 1e-12)


def check_scores(
    again: Reopened, keys: LoadKeys, count: int | None, title: str = "scoring"
) -> tuple[list[str], Scored]:
    """Score images of a record with its saved parameters and compare the scores with its tables.

    count: how many images at least, all where None; title: of the progress bar. They are scored in the batches of the
    run, and all images of these batches are compared, with map_max, map_mean and their histograms. Where these are all
    test images, AUPIMO, lesions and pixel figures are computed again, too.

    Raises AdbenchError where the method can't be rebuilt.
    """
    record, table = again.record, again.predictions
    fitted = load(record, **keys)
    device = fitted.method.backbone.device.type
    exact = same_kind(record, device)
    precision = fitted.config.precision
    slack = 0.0 if exact else TOLERANCE[precision]
    size = fitted.config.batch_size
    rows = chosen(record.key, table["image"].tolist(), count)
    batches = sorted({row // size * size for row in rows})
    found: dict[str, dict[int, float]] = {name: {} for name in COLUMNS}
    maps = MapsAgain(again, slack, precision, whole=len(batches) * size >= len(table))
    with naming_the_method(fitted.config.method_name):
        for start, columns, own in track(_scored(again, fitted, batches), title, len(batches)):
            for name, values in columns.items():
                found[name] |= {start + place: float(value) for place, value in enumerate(values)}
            if own is not None:
                maps.update(start, own)
    sentences = []
    for name, again_scored in found.items():
        unit = unit_of(table, name)
        mine = table[name].to_numpy(np.float64)
        odd = {row: value for row, value in again_scored.items() if not abs(mine[row] - value) <= slack * unit}
        if odd:
            row, value = next(iter(odd.items()))
            sentences.append(
                f"{name} of {_image(again, row)} is {mine[row]:.9g}, and the saved parameters give {value:.9g} "
                f"({len(odd)} of {len(again_scored)} images differ)"
            )
    sentences += maps.sentences()
    sentences += _parameters_differ(record, fitted)
    within = "" if exact else f" within {slack:g} of their spread"
    of_maps = [f"map_max and map_mean{'' if exact else f' within {slack:g} of the range of maps'}"]
    compared = "; ".join([f"score{within}", *(of_maps if found["map_max"] else []), *maps.compared()])
    how = f"{SAME_BITS}: {compared}" if exact else f"{compared}; {OTHER_KIND}"
    return sentences, Scored(len(found["score"]), how, tuple(maps.unchecked()))


def _image(again: Reopened, row: int) -> str:
    return printable(str(again.predictions["image"].iloc[row]))


def _scored(
    again: Reopened, fitted: Fitted, batches: Sequence[int]
) -> Iterator[tuple[int, dict[str, NDArray[np.float32]], NDArray[np.float32] | None]]:
    """Yield for each batch, by its first row, the columns of the predictions and the maps, or none."""
    test, config, method = again.test, fitted.config, fitted.method
    how = test.dataset, test.object_name, config.batch_size, config.precision
    if fitted.capability.transductive:
        show_test_images(method, test.images, *how)
    for start in batches:
        rows = slice(start, min(start + config.batch_size, len(test)))
        for _, scores in score_images(method, test.images[rows], *how):
            names, size = test.ids[rows], again.cell.eval_size
            yield start, *columns_of(scores, names, config.method_name, size, config.precision)


def _parameters_differ(record: Record, fitted: Fitted) -> Iterator[str]:
    stated = record.content["parameters"]
    for name, found in parameters_of(fitted.method).items():
        if stated.get(name, found) != found:
            yield f"parameters.{name} is {stated[name]:,}, and the method has {found:,}"


def check_training(again: Reopened, title: str = "training") -> tuple[list[str], Scored]:
    """Run the cell of a record from nothing, training included, and compare scores and figures with the record's.

    Nothing of the record is used but its configuration, and no training of the cache.
    """
    record, cell = again.record, again.cell
    with tempfile.TemporaryDirectory(prefix="adbench-") as folder:
        config = replace(cell.config, runs=folder, force=True)  # force: no training that the cache holds is taken
        with counting(title, len(STAGES)) as done:
            new = devices.run(replace(cell, config=config), (), lambda stage: done(STAGES.index(stage)))
        exact = same_kind(record, str(new.content["device"]["type"]))
        mine, here = again.predictions, new.predictions()
        sentences = []
        if new.key != record.key:
            sentences.append(f"the cell of this configuration has the key {new.key} here, and the record {record.key}")
        if exact:
            for name in (name for name in COLUMNS if name in mine and len(mine) == len(here)):
                odd = ~np.isclose(mine[name], here[name], rtol=0, atol=0, equal_nan=True)
                if odd.any():
                    row = int(np.flatnonzero(odd)[0])
                    sentences.append(
                        f"{name} of {_image(again, row)} is {mine[name].iloc[row]:.9g}, and the cell gives "
                        f"{here[name].iloc[row]:.9g} from nothing ({int(odd.sum())} of {len(mine)} images differ)"
                    )
        sentences += _figures_differ(record, new, 0.0 if exact else AFTER_TRAINING)
    within = f"figures within {100 * AFTER_TRAINING:g} points, as this is another kind of machine"
    return sentences, Scored(len(here), SAME_BITS if exact else within)


def _figures_differ(record: Record, new: Record, slack: float) -> Iterator[str]:
    sections: list[tuple[str, dict[str, Any], dict[str, Any]]] = [("metrics", record.metrics, new.metrics)]
    last, again = (one.content["selection"].get("last") or {} for one in (record, new))
    sections += [("selection.last", last, again)] if last or again else []
    for section, mine, here in sections:
        for name in dict.fromkeys([*mine, *here]):
            a, b = mine.get(name), here.get(name)
            if a is not b and (a is None or b is None or abs(a - b) > max(slack, 1e-9)):
                yield f"{section}.{name} is {a}, and the cell gives {b} from nothing"
    for name in ("trainable", "total"):
        a, b = (one.content["parameters"].get(name) for one in (record, new))
        if a != b:
            yield f"parameters.{name} is {a}, and the cell has {b}"
