"""Writing a bundle: the records of a paper as one archive, the same bytes whenever the records are the same."""

from __future__ import annotations

import hashlib
import io
import json
import secrets
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from adbench._version import __version__
from adbench.board.site.command import again
from adbench.bundles.needs import needs
from adbench.bundles.read import COMMANDS, INDEX, README, RECORDS, SUMS
from adbench.bundles.scrub import Pseudonyms, anonymised, without_paths
from adbench.errors import AdbenchError, RecordError
from adbench.records import tables
from adbench.records.files import RECORD
from adbench.records.hashes import content_hash, names_in
from adbench.records.record import Record, to_json
from adbench.system.files import unwritable, write_atomically
from adbench.system.session import Session
from adbench.system.text import printable

TIME = (1980, 1, 1, 0, 0, 0)  # of every member: the earliest that a zip can hold
KEY_BYTES = 32
INSTEAD = "file with --out FILE"
ABOUT = """The records of {count} cells, bundled by adbench {version}.

    adbench verify BUNDLE         checks them, without the data
    adbench leaderboard BUNDLE    shows their figures
    sha256sum -c SHA256SUMS       checks the files of the unpacked archive

bundle.json    each record with its command, and each data set with its licence
commands.sh    the commands, and the hashes of sources and files that they
               name; DATA stands for the folder of the images
records/       one folder for each cell, named by the cell's key

{said}
"""


def bundle(records: Sequence[Record], pictures: bool, names: Pseudonyms | None) -> bytes:
    """Return the archive of some records, of which no two are of one cell.

    pictures: add the gallery of each, which shows images of the data set; not with pseudonyms.
    names: replace the names of images and patients by keyed hashes.

    Members are stored, sorted, and without times; paths of this machine are taken out of each record.json, whose hashes
    are made again. Curves and event files of trackers are left out.
    """
    files: dict[str, bytes] = {}
    index: list[dict[str, Any]] = []
    commands: list[str] = []
    session = Session()
    for record in sorted(records, key=lambda one: one.key):
        content, parts = _record(record, pictures, names)
        files |= {f"{RECORDS}/{record.key}/{file}": data for file, data in parts.items()}
        command = again(content, session)
        index.append({"key": record.key, "command": command.command, "caveat": command.caveat})
        lines = [record.key, *needs(content), *([printable(command.caveat)] if command.caveat else [])]
        commands += [*(f"# {line}" for line in lines), command.command]
    about = {
        "adbench": __version__, "anonymised": names is not None, "pictures": pictures, "records": index,
        "datasets": _licences(records),
    }  # fmt: skip
    files[INDEX] = (json.dumps(about, indent=2, ensure_ascii=False, sort_keys=True) + "\n").encode()
    files[COMMANDS] = ("\n".join(["#!/bin/sh", "# DATA: the folder of the images", *commands]) + "\n").encode()
    said = _said(pictures, names is not None)
    files[README] = ABOUT.format(count=len(records), version=__version__, said=said).encode()
    sums = [f"{hashlib.sha256(data).hexdigest()}  {file}\n" for file, data in sorted(files.items())]
    return _zipped(files | {SUMS: "".join(sums).encode()})


def _said(pictures: bool, anonymous: bool) -> str:
    shown = "Its pictures show images of the data sets." if pictures else "No image of a data set is in it."
    return f"{shown} Names of images and patients are keyed hashes." if anonymous else shown


def _zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:  # compression differs between versions of zlib
        for name, data in sorted(files.items()):
            member = zipfile.ZipInfo(name, TIME)
            member.create_system, member.external_attr = 3, 0o100644 << 16
            archive.writestr(member, data)
    return buffer.getvalue()


def _record(record: Record, pictures: bool, names: Pseudonyms | None) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the content of a record.json as it is bundled, and the record's files by their names."""
    parts: dict[str, bytes] = {}
    try:
        for name in names_in(record.path):
            if _is_table(name) or (pictures and _is_picture(name)):
                if why := tables.regular(record.path / name):
                    raise tables.unreadable(record.path / name, why)
                parts[name] = (record.path / name).read_bytes()
        before = hashlib.sha256((record.path / RECORD).read_bytes()).hexdigest()
    except OSError as error:
        raise RecordError(f"{record.path} can't be read: {tables.reason(error)}.") from error
    content = without_paths(record.content)
    if names is not None:
        parts = {name: _renamed(data, names) if name.endswith(".parquet") else data for name, data in parts.items()}
        content = anonymised(content, names)
    earlier = record.content.get("bundled") or {}
    content["bundled"] = {
        "record": earlier.get("record", before),
        "pictures": pictures and earlier.get("pictures", True),
        "anonymised": names is not None or earlier.get("anonymised", False),
    }
    content.pop("files", None)
    content = json.loads(to_json(content))
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()}
    content["files"] = {RECORD: content_hash(content)} | sums
    return content, parts | {RECORD: to_json(content).encode()}


def _is_table(name: str) -> bool:
    return "/" not in name and name.endswith((".parquet", ".safetensors"))


def _is_picture(name: str) -> bool:
    return name.startswith("gallery/") and name.endswith(".png")


def _renamed(data: bytes, names: Pseudonyms) -> bytes:
    """Return a Parquet file whose images and patients are pseudonyms; texts elsewhere are searched for their names."""
    table = parquet.read_table(pa.BufferReader(data), use_threads=False)
    for place, field in enumerate(table.schema):
        if not (pa.types.is_string(field.type) or pa.types.is_large_string(field.type)):
            continue
        change = {"image": names.image, "patient": names.patient}.get(field.name, names.text)
        column = table[field.name].to_pylist()
        known = {value: change(value) for value in dict.fromkeys(column) if value is not None}
        values = [known.get(value) for value in column]
        table = table.set_column(place, field, pa.array(values, field.type))
    sink = io.BytesIO()
    parquet.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _licences(records: Sequence[Record]) -> dict[str, dict[str, Any]]:
    """Return title, source, licence and citation of each tested data set, and the names of those learned from."""
    found: dict[str, dict[str, Any]] = {}
    for record in sorted(records, key=lambda one: one.key):
        about = record.content["dataset"]
        one = found.setdefault(str(record.content["facts"]["dataset"]), {"learned_from": set()})
        one |= {key: about.get(key) or "unknown" for key in ("title", "source", "licence", "citation")}
        one |= {"data": record.content["data"]}
        one["learned_from"] |= {str(each.get("dataset")) for each in record.content.get("seen") or ()}
    return {name: one | {"learned_from": sorted(one["learned_from"])} for name, one in sorted(found.items())}


def pseudonyms(file: Path, keys: Iterable[str]) -> Pseudonyms:
    """Return the pseudonyms of a bundle of some cells, by the secret in a file, which is made where it is missing.

    Bundles of the same cells have the same pseudonyms, those of others different ones.
    """
    try:
        secret = file.read_bytes()
    except FileNotFoundError:
        write_atomically(file, secrets.token_bytes(KEY_BYTES), "file with --key FILE")
        file.chmod(0o600)
        secret = file.read_bytes()
    except OSError as error:
        raise unwritable(file, error, "file with --key FILE") from error
    if len(secret) < 16:
        raise AdbenchError(
            f"--key {file} holds {len(secret)} bytes; a secret has at least 16. Remove it for a new one."
        )
    return Pseudonyms(hashlib.sha256(secret + "\n".join(sorted(keys)).encode()).digest())
