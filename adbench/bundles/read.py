"""Reading a bundle: whatever a stranger put into the archive, nothing is written outside of a temporary folder."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from adbench.errors import AdbenchError, RecordError
from adbench.records.hashes import HASH, hash_of
from adbench.system.text import printable

RECORDS, SUMS, INDEX, COMMANDS, README = "records", "SHA256SUMS", "bundle.json", "commands.sh", "README.txt"
KEY, FILE = r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}", r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}"
MEMBER = re.compile(
    rf"{SUMS}|{INDEX}|{COMMANDS}|{README}|{RECORDS}/{KEY}/(record\.json|{FILE}\.(parquet|safetensors)|gallery/{FILE}\.png)",
    re.ASCII,
)
MOST_MEMBERS = 2**20
MOST_TEXT = 2**26  # bytes of a file that is read whole


class Opened(NamedTuple):
    """Folders of records, and a sentence for each file of a bundle whose checksum is another.

    unpacked: the temporary folder of each bundle, with the bundle.
    """

    folders: list[Path]
    problems: list[str]
    unpacked: list[tuple[Path, Path]]

    def named(self, text: str) -> str:
        """Return a text in which a temporary folder is called by the bundle that was unpacked into it."""
        for folder, bundle in self.unpacked:
            text = text.replace(str(folder), str(bundle))
        return text


@contextlib.contextmanager
def opened(places: Sequence[Path]) -> Iterator[Opened]:
    """Yield folders of records; a bundle among `places` is unpacked into a temporary folder for that long.

    Raises RecordError for an archive that no `adbench bundle` wrote: other files, paths that lead out of it, links,
    compressed or encrypted members, a name that is there twice, sizes that don't add up.
    """
    with contextlib.ExitStack() as after:
        found = Opened([], [], [])
        for place in places:
            if not os.path.lexists(place):
                raise RecordError(
                    f"{place} does not exist. Name a folder of records, such as runs, or a bundle, such as board.zip."
                )
            if not place.is_file():
                found.folders.append(place)
                continue
            folder = Path(after.enter_context(tempfile.TemporaryDirectory(prefix="adbench-"))) / place.name
            folder.mkdir()
            found.unpacked.append((folder, place))
            found.problems.extend(_unpack(place, folder))
            found.folders.append(folder / RECORDS)
        try:
            yield found
        except AdbenchError as error:
            error.args = tuple(found.named(part) if isinstance(part, str) else part for part in error.args)
            raise


def _unpack(file: Path, folder: Path) -> list[str]:
    """Unpack a bundle; return a sentence for each file that is not as its list of checksums says."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if why := _refused(members, os.stat(file).st_size):
                raise _odd(file, why)
            found = {}
            for member in members:
                target = folder / member.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, target.open("xb") as written:
                    shutil.copyfileobj(source, written, 2**20)
                found[member.filename] = hash_of(target)
    except RecordError:
        raise
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise _odd(file, f"it can't be read as a zip ({printable(str(error))[:200]})") from error
    (folder / RECORDS).mkdir(exist_ok=True)
    stated = _stated(folder / SUMS, file)
    found.pop(SUMS)
    problems = []
    for name in sorted({*stated, *found}):
        if stated.get(name) != found.get(name):
            why = f"has another checksum than {SUMS} says"
            why = "is missing" if name not in found else f"is not listed in {SUMS}" if name not in stated else why
            problems.append(f"{file}: {name} {why}")
    return problems


def _refused(members: Sequence[zipfile.ZipInfo], size: int) -> str | None:
    """Return why an archive is no bundle; None for one."""
    if len(members) > MOST_MEMBERS:
        return f"it has {len(members):,} members, more than {MOST_MEMBERS:,}"
    names: set[str] = set()
    for member in members:
        name = printable(member.orig_filename)[:100]
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            return f"its member {name} is a {'link' if kind == stat.S_IFLNK else 'special file'}"
        if member.filename != member.orig_filename or not MEMBER.fullmatch(member.filename):
            return f"its member {name} is none of the files of a bundle"
        if member.filename.lower() in names:
            return f"its member {name} is there twice"
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            return f"its member {name} is {'encrypted' if member.flag_bits & 1 else 'compressed'}"
        if member.file_size != member.compress_size:
            return f"its member {name} has two sizes"
        names.add(member.filename.lower())
    if sum(member.file_size for member in members) > size:
        return "its members are larger than the archive"
    if missing := [name for name in (SUMS, INDEX) if name.lower() not in names]:
        return f"it has no {missing[0]}"
    return None


def _stated(file: Path, bundle: Path) -> dict[str, str]:
    """Read the list of checksums: a line `hash  name` for each file."""
    stated = {}
    if file.stat().st_size > MOST_TEXT:
        raise _odd(bundle, f"{SUMS} is too large")
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        found, _, name = line.partition("  ")
        if not HASH.fullmatch(found) or not MEMBER.fullmatch(name) or name in stated:
            raise _odd(bundle, f"{SUMS} has the line {printable(line)[:100]!r}")
        stated[name] = found
    return stated


def _odd(file: Path, why: str) -> RecordError:
    return RecordError(
        f"{file} is no bundle of `adbench bundle`: {why}. Unpack it yourself where you trust it, and name the folder."
    )
