"""Running one cell: decode, fit, score, write the record."""

from __future__ import annotations

import dataclasses
import gc
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import save

from adbench.cells.cell import Cell, by_split
from adbench.cells.datamodule import DataModule
from adbench.cells.overlap import overlap
from adbench.config import layers
from adbench.data.counts import counts_of
from adbench.data.image_set import ImageSet
from adbench.data.mask_facts import summary
from adbench.method import Method, naming_the_method
from adbench.metrics.per_image import to_columns
from adbench.plugins import registry
from adbench.records import files, pictures, provenance, record
from adbench.records.hashes import hashes_of
from adbench.scoring.evaluate import Outcome, evaluate
from adbench.scoring.held_out import HeldOutOutcome, score_held_out
from adbench.scoring.lesions import map_thresholds
from adbench.scoring.probe import level_maps_of, maps_of, throughput
from adbench.statistics.patients import group
from adbench.system.clock import timestamp
from adbench.system.files import shrink
from adbench.system.garbage import give_back, uncollected
from adbench.system.ranks import world_size
from adbench.training.fit import device_of_run, new_method
from adbench.training.held_out import score_support
from adbench.training.reuse import fit_once
from adbench.training.selection import state_of
from adbench.training.trackers import curves, tracking

STAGES = ("decode", "build", "fit", "held_out", "score", "write")  # of a cell, in the order of `run_cell`


class Stopwatch:
    """Wall seconds of each named stage; `notice` hears of a stage when it begins."""

    def __init__(self, notice: Callable[[str], None] | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self.notice = notice

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block under `name`."""
        if self.notice:
            self.notice(name)
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 3)


def run_cell(
    cell: Cell, words: Sequence[str], notice: Callable[[str], None] | None = None, began: float = math.inf
) -> record.Record:
    """Fit and score a cell in this process and write its record.

    `words` are kept as what was asked, `notice` is called with the name of each stage. With `force=true` a shared
    training is reused where it was made after `began`. On several devices this runs in process 0 (devices.py), and
    `take_part` in the others.
    """
    config, watch = cell.config, Stopwatch(notice)
    watch.seconds["resolve"] = round(cell.seconds, 3)
    provenance.reset_peak()
    device = device_of_run(config)
    provenance.packages()  # raises now, and not when all is computed
    provenance.code()
    with (
        record.writing(Path(config.runs), cell.key, config.force) as folder,
        tracking(cell, folder) as tracker,
        naming_the_method(config.method_name),
    ):
        with watch.stage("decode"):  # all of it: a file that can't be read costs no training
            data = DataModule.of_cell(cell)
            data.setup()
            leaked = overlap(data.test, data.learned_images(), data.test_contents)
        with watch.stage("build"), uncollected():  # it imports what it builds with
            method = new_method(cell, device)
        with watch.stage("fit"):
            selection, last, reused = fit_once(cell, method, data, device, curves(config, tracker), began)
            if method.declared.epochs:
                gc.collect()  # Lightning's Trainer is in cycles, and holds the training data
        give_back()
        with watch.stage("held_out"):  # before a test image is scored
            held_out = score_held_out_of(cell, method, data, device, selection.epoch)
        with watch.stage("score"):
            outcome = evaluate(cell, method, data.test, map_thresholds(held_out))
            speed, gflops = throughput(cell, method, data.test)
        give_back()
        with watch.stage("write"):
            _write(folder, cell, method, outcome, data.test)
            if held_out is not None:
                held_out.table.to_parquet(folder / files.HELD_OUT, index=False)
                if held_out.pixels is not None:
                    held_out.pixels.to_parquet(folder / files.HELD_OUT_PIXELS, index=False)
        content = _content(cell, method, outcome, words, watch.seconds)
        content["notes"] += [*data.mask_notes(), *method.encoding_notes()]
        facts = data.test.mask_facts
        content["masks"] = summary(facts, cell.eval_size) if data.test.masks is not None else None
        content["overlap"] = leaked
        content["held_out"] = _held_out(cell, data, held_out)
        content["selection"] = dataclasses.asdict(selection) | {"last": last or None, "training_reused": reused}
        content["images_per_second"], content["gflops_per_image"] = speed, gflops
        content["tracker"] = tracker.finish(content, folder / "gallery") if tracker else None
        content = json.loads(record.to_json(content))  # as it is read back
        content["files"] = hashes_of(folder, content)
        (folder / files.RECORD).write_text(record.to_json(content), encoding="utf-8")
    shrink([config.cache_dir / name for name in ("features", "decoded", "fits", "intervals")], config.cache_gb)
    return record.read(Path(config.runs) / cell.key)


def take_part(cell: Cell, began: float = math.inf) -> None:
    """Do the share of a process other than the first in a cell that several run; nothing is written."""
    device = device_of_run(cell.config)
    data = DataModule.of_cell(cell)
    data.setup()
    with naming_the_method(cell.config.method_name):
        method = new_method(cell, device)
        selection, _, _ = fit_once(cell, method, data, device, curves(cell.config, None), began)
        held_out = score_held_out_of(cell, method, data, device, selection.epoch)
        evaluate(cell, method, data.test, map_thresholds(held_out))


def score_held_out_of(
    cell: Cell, method: Method[Any], data: DataModule, device: torch.device, epoch: int
) -> HeldOutOutcome | None:
    """Score the held-out images of a cell as `operating=` says; None where it has none."""
    if cell.config.operating == "support_cv":
        return score_support(cell, data.support, device, epoch)
    return None if data.held_out is None else score_held_out(cell, method, data.held_out)


def _held_out(cell: Cell, data: DataModule, scored: HeldOutOutcome | None) -> dict[str, Any]:
    """Say where the held-out images are from, how many there are, or why there are none."""
    chosen = data.held_out_items
    assert chosen is not None
    labels = [] if scored is None else scored.table["label"].tolist()
    patients = 0 if scored is None else len(set(group(scored.table["patient"]).tolist()))
    why = chosen.why or (None if labels else "each held-out image is also in the test split or in the support")
    return {
        "source": cell.config.operating if labels else "none",
        "split": chosen.split or None,
        "images": len(labels),
        "patients": patients,
        "normal": labels.count(0),
        "abnormal": labels.count(1),
        "of": len(labels) if cell.config.operating == "support_cv" else chosen.of,
        "in_test": data.held_out_in_test,
        "shift": None if scored is None else scored.shift,
        "why": why or None,
    }


def _write(folder: Path, cell: Cell, method: Method[Any], outcome: Outcome, test: ImageSet) -> None:
    outcome.predictions.to_parquet(folder / files.PREDICTIONS, index=False)
    if outcome.histogram is not None:
        columns = outcome.histogram.to_arrays()
        table = pd.DataFrame({name: column for name, column in columns.items() if column.ndim == 1})
        table.to_parquet(folder / files.HISTOGRAM, index=False)
    if outcome.contributions is not None:
        table = pd.DataFrame(to_columns(outcome.contributions))
        table.to_parquet(folder / files.IMAGE_HISTOGRAMS, index=False, compression="zstd")
    if outcome.lesions is not None:
        pd.DataFrame(outcome.lesions.lesions._asdict()).to_parquet(folder / files.LESIONS, index=False)
        if outcome.lesions.false_positives.size:
            outcome.lesions.counts().to_parquet(folder / files.FALSE_POSITIVES, index=False)
    state = state_of(method)  # copies: safetensors refuses tensors that share memory, as tied weights do
    state = {name: value.contiguous() for name, value in state.items()}
    # Bytes first: a full disk is then an OSError like everywhere else. One entry: safetensors writes several in any
    # order, and the same run is to be the same bytes.
    (folder / files.PARAMETERS).write_bytes(save(state, metadata={"cell": cell.key}))
    if cell.config.gallery:
        rows = pictures.choose(outcome.predictions, cell.config.gallery)
        flat = [row for chosen in rows.values() for row in chosen]
        masks = None if test.masks is None else test.masks[flat] > 0
        maps = maps_of(cell, method, test, flat)
        levels = level_maps_of(cell, method, test, flat) if cell.config.gallery_levels else {}
        pictures.gallery(folder / "gallery", outcome.predictions, rows, test.images[flat], masks, maps, levels)


def seen_of(cell: Cell) -> list[dict[str, Any]]:
    """Name every set of labelled images that the method learnt from (`support`) or whose labels chose its epoch."""
    sets = [("support", one.dataset, split, n) for one in cell.training_sets for split, n in one.splits.items()]
    sets += [("selection", one.dataset, split, n) for one in cell.holdouts for split, n in by_split(one.items).items()]
    if cell.config.selection == "oracle":
        sets.append(("selection", cell.target, "test", len(cell.test_items)))
    return [
        {"role": role, "dataset": dataset.name, "split": split, "root": str(dataset.root), "images": images,
         "data": "phantom" if dataset.phantom else "real", "published": dataset.published}
        for role, dataset, split, images in sets
    ]  # fmt: skip


def parameters_of(method: Method[Any]) -> dict[str, int]:
    """Return how many parameters a method trains, and how many it has with those of its backbone."""
    trainable = sum(p.numel() for p in method.parameters() if p.requires_grad)
    return {"trainable": trainable, "total": trainable + method.backbone.parameters()}


def _content(
    cell: Cell, method: Method[Any], outcome: Outcome, words: Sequence[str], seconds: dict[str, float]
) -> dict[str, Any]:
    device = method.backbone.device.type
    entry = registry.find("method", cell.config.method)
    histogram = None
    if outcome.histogram is not None:
        columns = outcome.histogram.to_arrays()
        histogram = {name: int(columns[name]) for name in ("shift", "n_regions")}
    return {
        "schema": record.SCHEMA,
        "key": cell.key,
        "status": "complete",
        "data": "phantom" if cell.target.phantom else "real",
        "given": list(words),
        "resolved": cell.config.as_dict(),
        "facts": cell.facts,
        "dataset": dataclasses.asdict(cell.dataset)
        | {"root": str(cell.target.root), "fingerprint": cell.facts["data"], "split": cell.target.splitting(),
           "published": cell.target.published, "counts": counts_of(cell.target.items)},
        "support": dataclasses.asdict(cell.manifest),
        "seen": seen_of(cell),
        "protocol": cell.protocol,
        "backbone": dataclasses.asdict(cell.backbone) | {
            "name": cell.config.backbone,
            "weights_hash": cell.weights,
            "built_activation": method.backbone.activation,
            "built_normalisation": method.backbone.normalisation,
            "built_input_size": cell.input_size,
        },
        "capability": dataclasses.asdict(cell.capability),
        "notes": list(cell.notes),
        "metrics": outcome.metrics,
        "half_widths": outcome.half_widths,
        "histogram": histogram,
        "image_histograms": None if outcome.contributions is None else {"shift": outcome.contributions.shift},
        "lesions": None if outcome.lesions is None else outcome.lesions.head(),
        "test_images": len(outcome.predictions),
        "parameters": parameters_of(method),
        "seconds": seconds,
        "peak_memory": provenance.peak_memory(device),
        "code": provenance.code() | ({"method_source": cell.source_hash} if cell.source_hash else {}),
        "packages": provenance.packages()
        | layers.required(cell.config.method)
        | ({entry.package: entry.version} if entry.foreign and entry.version else {}),
        "device": provenance.device(device) | {"count": world_size()},
        "finished": timestamp(),
    }  # fmt: skip
