"""A record against the data on disk: content, support, test images, masks and overlap, found once more."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adbench.cells.cell import Cell
from adbench.cells.datamodule import DataModule
from adbench.cells.overlap import overlap
from adbench.cells.resolve import resolve
from adbench.config.schema import Overrides, RunConfig, validate
from adbench.config.words import defaults
from adbench.data.counts import counts_of
from adbench.data.image_set import ImageSet
from adbench.data.indexed import open_dataset
from adbench.data.mask_facts import summary
from adbench.errors import RecordError
from adbench.records.record import Record
from adbench.running.apply import PLACES, LoadKeys, check_named
from adbench.running.cell import seen_of
from adbench.system.session import Session
from adbench.system.text import brief, printable

# Facts that the data decide; the others are decided by the code and the weights of this machine.
OF_THE_DATA = ("data", "dataset_facets", "support", "sources", "train_on", "held", "abnormal_support")


class Reopened:
    """The cell of a record, resolved once more with the data of this machine.

    data_root: the folder of the images, or "phantom". keys: what depends on the machine, see `LoadKeys`.
    Raises AdbenchError where the cell can't be resolved here: data missing, another method, unknown keys.
    """

    def __init__(self, record: Record, data_root: str, keys: LoadKeys, session: Session) -> None:
        self.record, self.anonymised = record, bool((record.content.get("bundled") or {}).get("anonymised"))
        self.cell = _cell(record, data_root, keys, session, self.anonymised)

    @cached_property
    def images(self) -> DataModule:
        """Its images, decoded."""
        data = DataModule.of_cell(self.cell)
        data.setup()
        return data

    @property
    def test(self) -> ImageSet:
        """The test images, decoded."""
        return self.images.test

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """The predictions of the record."""
        return self.record.predictions()


def config_of_record(record: Record, data_root: str, keys: LoadKeys) -> RunConfig:
    """Return the configuration of a record for this machine; raises RecordError where it can't be used."""
    own = {"data_root": data_root, "device": keys.get("device", "auto"), "cache": keys.get("cache"), "gallery": 0}
    own |= {"gallery_levels": False, "executor": "local", "workers": 1, "loader_workers": 0, "logger": "none"}
    own |= {key: defaults()[key] for key in ("cache_gb", "feature_cache", "features_gb")}
    own |= {"method": keys.get("method") or record.content["resolved"]["method"], "runs": "runs", "force": False}
    try:
        config = RunConfig.of_record(record.content["resolved"], **own)
    except (TypeError, ValueError, AttributeError) as error:
        raise RecordError(f"{record.path} has a configuration that can't be used ({error}).") from error
    sections = {name: words for name, words in config.overrides.items() if name != "wandb"}
    if places := {name: keys.get(name) for name in PLACES if keys.get(name)}:
        sections["backbone"] = Overrides(sections.get("backbone", {}) | places)
    config = replace(config, overrides=sections)
    validate(config)
    return config


def _cell(record: Record, data_root: str, keys: LoadKeys, session: Session, anonymised: bool) -> Cell:
    config = config_of_record(record, data_root, keys)
    check_named(record, keys.get("method"))
    if config.support is None:
        return resolve(config, session)
    if anonymised:
        raise RecordError(
            f"{record.path} learned from a support list, whose names are keyed hashes here: it can't be drawn again."
        )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / Path(config.support).name
        file.write_text(_list_of(record, config, session), encoding="utf-8")
        return resolve(replace(config, support=str(file)), session)


def _list_of(record: Record, config: RunConfig, session: Session) -> str:
    """Write the support of a record as a list of the files on this machine."""
    target, lines = open_dataset(config.dataset, config, session), []
    where = {item.id: str(item.image) for item in target.items}
    for key, kind in (("n-0", "normal"), ("a-0", "abnormal")):
        ids = record.content["support"][kind]
        if lost := [name for name in ids if name not in where]:
            raise RecordError(f"support.{kind} names {printable(lost[0])}, which is not in {target.root}.")
        lines += [f"{key}: {' '.join(shlex.quote(where[name].lstrip('/')) for name in ids)}"] if ids else []
    return "\n".join(lines) + "\n"


def check_data(again: Reopened) -> Iterator[str]:
    """Yield a sentence for each thing that is not as the data on disk say."""
    content, cell = again.record.content, again.cell
    facts = content["facts"]
    for name in OF_THE_DATA:
        if facts.get(name) != cell.facts.get(name):
            mine, here = _short(facts.get(name)), _short(cell.facts.get(name))
            yield f"facts.{name} is {mine}, and the data in {cell.target.root} give {here}"
    if not again.anonymised:
        yield from _check_support(again)
    yield from _check_sets(again)
    yield from _check_test(again)
    yield from _check_masks(again)
    found = overlap(again.test, again.images.learned_images())
    if found != content["overlap"]:
        yield f"overlap is {content['overlap']}, and {found} images learned from are test images or of their patients"


def unlike_here(again: Reopened) -> str:
    """Say which facts that the code and the weights decide are others here; empty where none is."""
    mine, here = again.record.content["facts"], again.cell.facts
    odd = [name for name in {*mine, *here} - {*OF_THE_DATA} if mine.get(name) != here.get(name)]
    return ", ".join(sorted(odd))


def _check_support(again: Reopened) -> Iterator[str]:
    mine, here = again.record.content["support"], again.cell.manifest
    for kind, ids in (("normal", here.normal), ("abnormal", here.abnormal)):
        if list(ids) != mine[kind]:
            odd = next((a for a, b in zip(mine[kind], ids, strict=False) if a != b), "another number of images")
            yield f"support.{kind} names {printable(str(odd))}, and the draw of these data has other images"


def _check_sets(again: Reopened) -> Iterator[str]:
    content, cell = again.record.content, again.cell
    without_root = [{key: value for key, value in one.items() if key != "root"} for one in seen_of(cell)]
    if content.get("seen") is not None:
        mine = [{key: value for key, value in one.items() if key != "root"} for one in content["seen"]]
        if mine != without_root:
            yield f"seen is {_short(mine)}, and the data give {_short(without_root)}"
    data = "phantom" if cell.target.phantom else "real"
    if data != content["data"]:
        yield f"data is {content['data']}, and the images at {cell.target.root} are {data}"
    for key, found in (("counts", counts_of(cell.target.items)), ("published", cell.target.published)):
        if key in content["dataset"] and content["dataset"][key] != found:
            yield f"dataset.{key} is {_short(content['dataset'][key])}, and the data give {_short(found)}"


def _check_test(again: Reopened) -> Iterator[str]:
    table, items = again.predictions, again.cell.test_items
    if len(table) != len(items):
        yield f"predictions.parquet has {len(table)} images, and the test split {len(items)}"
        return
    columns: dict[str, list[Any]] = {"label": [item.label for item in items]}
    if not again.anonymised:
        columns |= {"image": [item.id for item in items], "patient": [item.patient for item in items]}
        columns |= {"subgroup": [item.subgroup for item in items]}
    for name, here in columns.items():
        if name not in table:
            continue
        mine = table[name].astype(object).where(table[name].notna(), None).tolist()
        odd = [row for row, (a, b) in enumerate(zip(mine, here, strict=True)) if a != b]
        if odd:
            row = odd[0]
            yield (
                f"predictions.parquet says {name} {brief(mine[row])} in row {row + 1}, and the data say "
                f"{brief(here[row])} ({len(odd)} rows differ)"
            )


def _check_masks(again: Reopened) -> Iterator[str]:
    content, test = again.record.content, again.test
    found = None if test.masks is None else summary(test.mask_facts, again.cell.eval_size)
    if "masks" in content and content["masks"] != found:
        yield f"masks is {_short(content['masks'])}, and the data give {_short(found)}"
    if test.masks is None or not content.get("image_histograms") or len(test) != content["test_images"]:
        return
    parts = again.record.contributions()
    if parts is not None:
        mine = np.bincount(parts.image, parts.positive, len(test)).astype(np.int64)
        here = test.masks.reshape(len(test), -1).sum(1, dtype=np.int64)
        odd = np.flatnonzero(mine != here)
        if odd.size:
            yield (
                f"image_histograms.parquet counts {mine[odd[0]]:,} abnormal pixels in image {odd[0] + 1}, and its mask "
                f"has {here[odd[0]]:,} ({odd.size} images differ)"
            )


def _short(value: Any) -> str:
    return brief(value, 100)
