"""The files of a record against the hashes that it keeps, and its pictures."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path

from adbench.errors import RecordError
from adbench.records import tables
from adbench.records.files import PARAMETERS, RECORD
from adbench.records.hashes import content_hash, hash_of, names_in
from adbench.records.record import Record, needed
from adbench.system.text import brief, printable

TABLES = (".parquet", ".safetensors")
KINDS = ("miss", "false_alarm", "hit")
MOST = 2**40  # bytes of a file that is hashed
MOST_HEADER = 2**24  # bytes of the header of a safetensors file
NO_HASHES = (
    "its files: the record keeps no hashes of them, as those of an older adbench; only their content was compared"
)


def check_files(record: Record) -> Iterator[str]:
    """Yield a sentence for each file whose content is not what the record was written with.

    A record of an older adbench keeps no hashes (`check_keys` says whether this one is so old): its tables alone are
    looked at, for one that it doesn't name.
    """
    kept, wanted = record.content.get("files"), needed(record.content)
    if kept is None:
        unnamed = [name for name in names_in(record.path) if name not in wanted and name.endswith(TABLES)]
        yield from (f"{printable(name)} is there, and the record doesn't name it" for name in unnamed)
        return
    if kept.get(RECORD) != content_hash(record.content):
        stated = "no hash" if RECORD not in kept else "another hash"
        yield f"record.json is not as it was written: the record keeps {stated} of its content"
    yield from (f"{name} is there, and the record keeps no hash of it" for name in wanted if name not in kept)
    for name, stated in kept.items():
        if name != RECORD and (why := _differs(record.path, name, stated)):
            yield f"{printable(name)} {why}"
    for name in names_in(record.path):
        if name not in kept and name not in wanted and _is_read(name):
            yield f"{printable(name)} is there, and the record doesn't name it"


def _is_read(name: str) -> bool:
    """Whether some command would read a file of a record that the record itself does not name."""
    return name.startswith("gallery/") or name.endswith(TABLES)


def _differs(folder: Path, name: str, stated: str) -> str | None:
    file = folder / name
    if any((folder / parent).is_symlink() for parent in Path(name).parents if parent != Path()):
        return "lies in a link, and a record holds its files itself"
    if why := tables.regular(file, MOST):
        return "is missing" if why == tables.MISSING else f"is not read: {why}"
    try:
        found = hash_of(file)
    except OSError as error:
        return f"can't be read: {tables.reason(error)}"
    return (
        None if found == stated else f"was changed: its SHA-256 is {found[:12]}…, and the record keeps {stated[:12]}…"
    )


def check_pictures(record: Record) -> Iterator[str]:
    """Yield a sentence where the gallery is not the one that `gallery=` and the predictions make."""
    content = record.content
    if not (content.get("bundled") or {}).get("pictures", True):
        return
    each = int(content["resolved"]["gallery"])
    try:
        labels = record.predictions()["label"]
    except RecordError:
        return  # the tables' own check says so
    abnormal = int(labels.sum())
    counts = {"miss": abnormal, "false_alarm": len(labels) - abnormal, "hit": abnormal}
    wanted = {f"{kind}_{n + 1:02d}.png" for kind in KINDS for n in range(min(each, counts[kind]))}
    wanted |= {"overview.png"} if wanted else set()
    folder = record.path / "gallery"
    found = set(names_in(folder)) if folder.is_dir() and not folder.is_symlink() else set()
    if missing := sorted(wanted - found):
        yield f"gallery/ lacks {_some(missing)}, and gallery={each} makes {len(wanted)} pictures"
    if more := sorted(found - wanted):
        yield f"gallery/ holds {_some(more)}, which gallery={each} doesn't make"
    for name in sorted(wanted & found):
        try:
            tables.picture_width(folder / name)
        except RecordError as error:
            yield f"gallery/{name} is no picture: {str(error).partition(' is left out: ')[2].rstrip('.')}"


def check_parameters(record: Record) -> Iterator[str]:
    """Yield a sentence where the saved parameters are those of another cell or method, or fewer than stated."""
    file = record.path / PARAMETERS
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            if length > MOST_HEADER:
                raise ValueError(f"its header has {length:,} bytes")
            header = json.loads(opened.read(length))
        about = header.pop("__metadata__", {}) or {}
        numbers = sum(math.prod(map(int, tensor["shape"])) for tensor in header.values())
    except (OSError, ValueError, TypeError, KeyError, AttributeError, struct.error) as error:
        yield f"method.safetensors can't be read ({tables.reason(error)})"
        return
    for name, stated in (("cell", record.key), ("method", record.content["facts"]["method"])):
        if about.get(name, stated if name == "method" else None) != stated:  # the key is of the method, too
            yield f"method.safetensors is of the {name} {brief(about.get(name))}, and the record of {brief(stated)}"
    trainable = record.content["parameters"]["trainable"]
    if trainable > numbers:
        yield f"parameters.trainable is {trainable:,}, and method.safetensors holds {numbers:,} numbers"


def _some(names: list[str]) -> str:
    return printable(", ".join(names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
