"""Archives that no `adbench bundle` wrote: one sentence each, and nothing outside of a temporary folder."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

KEY = "0123456789abcdef0123"
Add = Callable[[zipfile.ZipFile], object]


def member(name: str, data: bytes = b"x", **changes: Any) -> Add:
    def add(archive: zipfile.ZipFile) -> None:
        info = zipfile.ZipInfo(name)
        info.external_attr = changes.get("mode", 0o100644) << 16
        archive.writestr(info, data, compress_type=changes.get("compress", zipfile.ZIP_STORED))

    return add


def archive_of(*adds: Add) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for add in (member("SHA256SUMS", b""), member("bundle.json", b"{}"), *adds):
            add(archive)
    return buffer.getvalue()


def with_sizes(data: bytes) -> bytes:
    """The same archive, whose directory says that each member has a gigabyte."""
    changed, place = bytearray(data), data.find(b"PK\x01\x02")
    while place >= 0:
        changed[place + 20 : place + 28] = struct.pack("<II", 2**30, 2**30)
        place = data.find(b"PK\x01\x02", place + 4)
    return bytes(changed)


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "out of it": (lambda: archive_of(member("../evil.py")), "none of the files of a bundle"),
    "out of a record": (lambda: archive_of(member(f"records/{KEY}/../../evil")), "none of the files of a bundle"),
    "absolute": (lambda: archive_of(member("/etc/evil")), "none of the files of a bundle"),
    "backslashes": (lambda: archive_of(member("records\\..\\..\\evil")), "none of the files of a bundle"),
    "a drive": (lambda: archive_of(member("C:/evil")), "none of the files of a bundle"),
    "another file": (lambda: archive_of(member(f"records/{KEY}/evil.sh")), "none of the files of a bundle"),
    "hidden": (lambda: archive_of(member(f"records/{KEY}/.evil.parquet")), "none of the files of a bundle"),
    "terminal": (lambda: archive_of(member("records/\x1b[31m.png")), r"records/\x1b[31m.png"),
    "nested": (lambda: archive_of(member("records/inner.zip", archive_of())), "none of the files of a bundle"),
    "a folder": (lambda: archive_of(member(f"records/{KEY}/", b"")), "none of the files of a bundle"),
    "a link": (
        lambda: archive_of(member(f"records/{KEY}/record.json", b"/etc/passwd", mode=stat.S_IFLNK | 0o777)),
        "is a link",
    ),
    "a pipe": (lambda: archive_of(member(f"records/{KEY}/record.json", mode=stat.S_IFIFO)), "is a special file"),
    "twice": (lambda: archive_of(*[member(f"records/{KEY}/record.json")] * 2), "is there twice"),
    "twice but for case": (
        lambda: archive_of(member(f"records/{KEY}/a.parquet"), member(f"records/{KEY}/A.parquet")),
        "is there twice",
    ),
    "a bomb": (
        lambda: archive_of(member(f"records/{KEY}/method.safetensors", bytes(2**24), compress=zipfile.ZIP_DEFLATED)),
        "is compressed",
    ),
    "larger than itself": (
        lambda: with_sizes(archive_of(member(f"records/{KEY}/record.json"))),
        "larger than the arch",
    ),
    "no checksums": (lambda: zipfile_of("bundle.json"), "it has no SHA256SUMS"),
    "no index": (lambda: zipfile_of("SHA256SUMS"), "it has no bundle.json"),
    "half": (lambda: archive_of(member(f"records/{KEY}/record.json", bytes(999)))[:700], "it can't be read as a zip"),
    "no zip": (lambda: b"records", "it can't be read as a zip"),
    "empty": (lambda: b"", "it can't be read as a zip"),
    "checksums of nothing": (
        lambda: archive_of()[:0] + zipfile_of("bundle.json", SHA256SUMS=b"../../etc/passwd\n"),
        "SHA256SUMS has the line",
    ),
}


def zipfile_of(*names: str, **contents: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"{}")
        for name, data in contents.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_one_sentence(name: str, tmp_path: Path, adbench: Any) -> None:
    make, said = HOSTILE[name]
    place = tmp_path / "inner"
    place.mkdir()
    file = place / "board.zip"
    file.write_bytes(make())
    for command in ("verify", "leaderboard"):
        answer = adbench(command, file)
        assert answer.code == 4
        assert said in answer.err, answer.err
        assert answer.err.count("\n") == 1
        assert "\x1b" not in answer.err
    assert [path.name for path in tmp_path.rglob("*")] == ["inner", "board.zip"]


def test_a_crc_that_is_another_is_named(tmp_path: Path, adbench: Any) -> None:
    data = bytearray(archive_of(member(f"records/{KEY}/record.json", b"abcdefgh")))
    data[data.find(b"abcdefgh")] ^= 1
    (tmp_path / "board.zip").write_bytes(data)
    answer = adbench("verify", tmp_path / "board.zip")
    assert answer.code == 4
    assert "Bad CRC-32" in answer.err
