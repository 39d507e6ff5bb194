"""`adbench data describe` and `adbench support show`: contact sheets of datasets and supports, with their facts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image
from rich.table import Table
from rich.text import Text

from adbench.cells.cell import TrainingSet
from adbench.cells.protocols import training_set, training_sets
from adbench.commands import contact
from adbench.commands.console import plain_console, table_console
from adbench.commands.data_check import allow, files_of, open_config
from adbench.commands.keys import SUPPORT_KEYS
from adbench.config.schema import RunConfig
from adbench.config.words import parse
from adbench.data import support as supports
from adbench.data.indexed import as_published, find_root, index_items, is_phantom, open_dataset
from adbench.data.items import CLASSES, SPLITS, DatasetConfig, Item
from adbench.data.support_lists import is_named
from adbench.errors import AdbenchError
from adbench.system.files import check_png, write_output
from adbench.system.session import Session
from adbench.system.text import counted

EACH = 8  # images of a split and class on the sheet of a dataset
MOST = 64  # images of a class on the sheet of a support


def describe(name: str, words: Sequence[str], out: Path | None) -> None:
    """Print the facts of a dataset and draw a contact sheet of it: some images of each split and class."""
    check_png(out)
    config, dataset = open_config(name, words)
    root = find_root(name, dataset, config.data_root, config.cache_dir)
    items, notes = index_items(name, dataset, root, config.words("dataset"), config.cache_dir)
    dataset, _, unlike = as_published(name, dataset, items, is_phantom(name, dataset, root))
    console = table_console()
    lines = {
        "title": dataset.title,
        "shows": ", ".join(text for text in (dataset.modality, dataset.organ) if text),
        "in prompts": dataset.object_name,
        "source": dataset.source,
        "licence": dataset.licence,
        "citation": dataset.citation,
        "patients": _patients(dataset, root, items),
        "supports": _supports(dataset),
        "folder": str(root),
    }
    for title, text in lines.items():
        if text:
            console.print(Text(f"{title:<12}{text}"))
    table = Table(header_style="bold")
    for column in ("split", "normal", "abnormal", "patients", "with mask", "published"):
        table.add_column(column, justify="left" if column == "split" else "right")
    bands = []
    for split in SPLITS:
        some = [item for item in items if item.split == split]
        if not some:
            continue
        classes = [[item for item in some if item.label == label] for label in (0, 1)]
        patients = {item.patient for item in some} - {None}
        want = dataset.expected.get(split)
        table.add_row(
            split, *(str(len(images)) for images in classes), str(len(patients) or "unknown"),
            str(sum(bool(item.mask_files) for item in some)), f"{want[0]} + {want[1]}" if want else "",
        )  # fmt: skip
        for label, images in enumerate(classes):
            # The order of draw 0: one patient after the other.
            shown = supports.draw_order(images, 0)[:EACH]
            heading = f"{split}, {CLASSES[label]}: {len(shown)} of {len(images)}"
            bands.append(contact.Band(heading, [(contact.tile(i, dataset), _caption(i)) for i in shown]))
    console.print(table)
    for note in (*notes, *unlike):
        console.print(Text(f"note: {note}"))
    out = out or Path(f"{name}.png")
    save(contact.sheet(dataset.title, bands), out, files_of(root, items, dataset))
    console.print(f"drawn: {out}")


def _supports(dataset: DatasetConfig) -> str:
    """Say which splits the supports of a dataset are from."""
    text = f"from the {dataset.support_split} split"
    if dataset.support_fill:
        text += f", filled up from {', then '.join(dataset.support_fill)}"
    return text + ("; abnormal images from the test split" if dataset.abnormal_support else "")


def _patients(dataset: DatasetConfig, root: Path, items: Sequence[Item]) -> str:
    """Say where the patients of the images are known from."""
    if dataset.patient_pattern:
        return f"from file names, by the pattern {dataset.patient_pattern}"
    if all(item.patient is None for item in items):
        return "unknown"
    table = dataset.table or "images.csv"
    return f"from {table}" if (root / table).is_file() else "from the dataset's own files"


def show_support(words: Sequence[str], out: Path | None) -> None:
    """Print and draw the support images of one draw or list, without running anything."""
    check_png(out)
    allow(words, SUPPORT_KEYS, ("dataset.", "method.", "backbone."))
    cells = parse(words)
    if len(cells) > 1:
        raise AdbenchError(f"one support is shown at a time; {' '.join(words)} names {len(cells)}.")
    config = cells[0]
    if config.shots == 0:
        raise AdbenchError("shots=0 has no support to show; give shots=1 or more, or shots=full.")
    keys = [word.partition("=")[0] for word in words]
    listed = is_named(config.support)
    if config.support and (unused := [key for key in ("shots", "draw")[listed:] if key in keys]):
        raise AdbenchError(f"support={config.support} names its images: leave out {' and '.join(unused)}.")
    if config.shots == "full" and config.draw and not config.support:
        raise AdbenchError(f"shots=full takes every image, which is draw 0: leave out draw={config.draw}.")
    named = "method" in keys
    for key in keys:
        if not named and (key in ("protocol", "train_on") or key.startswith(("method.", "backbone"))):
            raise AdbenchError(f"{key}= is about what a method learns from: name it with method=NAME.")
    taken = _of_method(config) if named else [_of_dataset(config)]
    console = table_console()
    who = f"for {config.method_name}" if named else "normal and abnormal"
    shots = taken[0].manifest.shots
    number = "full" if shots == "full" else counted(int(shots), "shot")
    title = f"{config.dataset}, {taken[0].manifest.source.replace(':', ' ')}, {number}, {who}"
    console.print(Text(title, style="bold"))
    bands = []
    for part in taken:
        console.print(Text(part.where))
        for label in (0, 1):
            images = [item for item in part.support if item.label == label]
            for place, item in enumerate(images, 1):
                patient = f"  patient {item.patient}" if item.patient is not None else ""
                console.print(Text(f"{place:>5}  {item.id}{patient}"))
            patients = len({item.patient for item in images} - {None})
            heading = f"{CLASSES[label]}: {counted(len(images), 'image')}"
            heading += f" of {counted(patients, 'patient')}" if patients else ""
            heading += f", the first {MOST} shown" if len(images) > MOST else ""
            tiles = [
                (contact.tile(item, part.dataset.config), f"{place}  {_caption(item)}")
                for place, item in enumerate(images[:MOST], 1)
            ]
            bands.append(contact.Band(f"{part.where}, {heading}", tiles))
        console.print(f"manifest {part.manifest.hash}")
    source = f"list-{Path(config.support).stem}" if config.support else f"draw{config.draw}"
    out = out or Path(f"support-{config.dataset}-{shots}-{source}.png")
    read = [file for part in taken for file in files_of(part.dataset.root, part.dataset.items, part.dataset.config)]
    file = [Path(config.support)] if config.support and not listed else []
    save(contact.sheet(title, bands), out, [*read, *file])
    console.print(f"drawn: {out}")


def _of_dataset(config: RunConfig) -> TrainingSet:
    """Draw normal and abnormal images as every method does that learns from both."""
    session = Session()
    dataset = open_dataset(config.dataset, config, session)
    return training_set(dataset, dataset.config.support_split, config, (0, 1), session)


def _of_method(config: RunConfig) -> Sequence[TrainingSet]:
    """Take what a run of the method would, from every dataset that its protocol names."""
    from adbench.cells.resolve import check_config

    session = Session()
    checked = check_config(config, session)
    capability, config = checked.method.capability, checked.config
    if capability.support == "none":
        raise AdbenchError(f"{config.method_name} learns from no image, so it has no support.")
    for note in checked.notes:
        plain_console().print(f"note: {note}")
    target = open_dataset(config.dataset, config, session)
    return training_sets(config, capability, checked.protocol, target, session)


def _caption(item: Item) -> str:
    if item.patient is None:
        return item.image.name
    return f"{item.image.name}\n{item.patient if len(item.patient) > 14 else f'patient {item.patient}'}"


def save(picture: Image.Image, path: Path, inputs: Iterable[Path]) -> None:
    """Write a picture as PNG; AdbenchError where the path is one of the files that were read."""
    buffer = BytesIO()
    picture.save(buffer, format="PNG")
    write_output(path, buffer.getvalue(), "file with --out FILE", inputs)
