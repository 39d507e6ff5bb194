"""`adbench data check`: the findings of the data doctor, as a table or as JSON."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from adbench.commands.console import table_console
from adbench.commands.keys import DATA_KEYS
from adbench.config.schema import Overrides, RunConfig
from adbench.config.words import parse
from adbench.data.doctor import examine as doctor
from adbench.data.doctor.finding import LEVELS, Finding, ScannedDataset
from adbench.data.doctor.measure import measure_images, measure_masks
from adbench.data.indexed import dataset_config, find_root, index_items, is_phantom, items_of, new_dataset
from adbench.data.items import DatasetConfig, Item
from adbench.errors import AdbenchError, DataError, did_you_mean
from adbench.plugins import registry
from adbench.system.files import write_output
from adbench.system.text import counted

STYLES = {"error": "bold red", "warning": "yellow", "ok": "green"}


def check(name: str, words: Sequence[str], as_json: bool, out: Path | None) -> bool:
    """Examine a dataset, show or write what was found, and return whether nothing makes a result wrong."""
    config, dataset = open_config(name, words)
    root = find_root(name, dataset, config.data_root, config.cache_dir)
    findings, items, dataset = _index_anyway(name, dataset, root, config.words("dataset"), config.cache_dir)
    masks = sorted({file for item in items for file in item.mask_images}, key=str)
    slices = f" {dataset.slice_axis} {dataset.volume_window}" if any(item.frame for item in items) else ""
    data = ScannedDataset(
        root,
        items,
        dataset,
        measure_images([item.image for item in items], config.cache_dir, name + slices, dataset.intensity_range),
        measure_masks(masks, dataset, config.cache_dir, name + slices),
        is_phantom(name, dataset, root),
    )
    findings += doctor.examine(data)
    levels = Counter(finding.level for finding in findings)
    content = {
        "dataset": name,
        "data": "phantom" if data.phantom else "real",
        "root": str(root),
        "images": len(items),
        "levels": {level: levels[level] for level in LEVELS},
        "findings": [dataclasses.asdict(finding) for finding in findings],
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    if out is not None:
        write_output(out, text.encode(), "file with --out FILE", files_of(root, items, dataset))
    if as_json:
        print(text, end="")
    else:
        images = counted(len(items), "image")
        _show(findings, f"{name} ({'phantom' if data.phantom else 'real'} data, {images}) at {root}")
        summary = ", ".join(
            f"{levels[level]} ok" if level == "ok" else counted(levels[level], level) for level in levels
        )
        console = table_console()
        console.print(f"{summary}. What each line means: docs/data-check.md")
        if out is not None:
            console.print(f"written: {out}")
    return levels["error"] == 0


def files_of(root: Path, items: Sequence[Item], dataset: DatasetConfig) -> Iterator[Path]:
    """Yield the files that a dataset is read from, which no output may overwrite."""
    yield root / (dataset.table or "images.csv")
    for item in items:
        yield from (item.path, *item.mask_files)


def open_config(name: str, words: Sequence[str]) -> tuple[RunConfig, DatasetConfig]:
    """Return the configurations that `data_root=`, `cache=` and `dataset.X=` words make; other keys are refused."""
    registry.find("dataset", name)
    allow(words, DATA_KEYS, ("dataset.",))
    configs = parse([f"dataset={name}", *words])
    config, dataset = configs[0], dataset_config(name, configs[0].words("dataset"))
    if len(configs) > 1:
        raise AdbenchError(
            f"one dataset is looked at at a time; {' '.join(words)} names {len(configs)} parts of {name}. Give one "
            "value of dataset.category, dataset.split_seed and dataset.fold."
        )
    return config, dataset


def allow(words: Sequence[str], keys: Sequence[str], prefixes: Sequence[str]) -> None:
    """Refuse words with other keys."""
    for word in words:
        key = word.partition("=")[0]
        if "=" in word and key not in keys and not key.startswith(tuple(prefixes)):
            raise AdbenchError(f"unknown key {key!r} here: {did_you_mean(key, [*keys, *(s + '…' for s in prefixes)])}")


def _index_anyway(
    name: str, dataset: DatasetConfig, root: Path, words: Overrides, cache: Path
) -> tuple[list[Finding], list[Item], DatasetConfig]:
    """Index a dataset; where a run would refuse it, say so and look at the rest without masks."""
    try:
        items, notes = index_items(name, dataset, root, words, cache)
        return [Finding("note", "warning", note, 1) for note in notes], items, dataset
    except DataError as error:
        refused = Finding("refused", "error", "a run refuses this dataset", 1, (), str(error))
        for masks in (dataset.masks, False):
            lenient = dataclasses.replace(dataset, allow_patient_overlap=True, masks=masks)
            with contextlib.suppress(DataError):
                return [refused], items_of(name, new_dataset(name, lenient), root), lenient
        raise


def _show(findings: Sequence[Finding], title: str) -> None:
    console = table_console()
    console.print(Text(title, style="bold"), soft_wrap=True)
    table = Table(header_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("level", no_wrap=True)
    table.add_column("what", min_width=16, ratio=4, overflow="fold")
    table.add_column("count", justify="right", no_wrap=True)
    table.add_column("where", min_width=20, ratio=6, overflow="fold")
    table.add_column("why it matters", min_width=16, ratio=5, overflow="fold")
    for finding in findings:
        more = finding.count - len(finding.where)
        where = "\n".join(finding.where)
        if finding.level != "ok" and finding.where and more > 0:
            where += f"\nand {more} more"
        table.add_row(
            Text(finding.level, style=STYLES[finding.level]), Text(finding.what), str(finding.count or ""), Text(where),
            Text(finding.why), end_section=finding.level != "ok",
        )  # fmt: skip
    console.print(table)
