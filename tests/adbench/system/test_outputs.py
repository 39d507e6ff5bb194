"""Files that a user names as output: regular files, links, devices, pipes, open descriptors."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from adbench.errors import AdbenchError
from adbench.system.files import check_outputs, check_png, shrink, write_atomically, write_output

ASK = "file with --csv FILE"


def test_a_regular_file_is_replaced_and_folders_are_made(tmp_path: Path) -> None:
    file = tmp_path / "new" / "folder" / "board.csv"
    write_output(file, b"one", ASK)
    before = file.stat().st_ino
    write_output(file, b"two", ASK)
    assert file.read_bytes() == b"two"
    assert file.stat().st_ino != before, "whole or not at all"
    assert os.listdir(file.parent) == ["board.csv"]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_its_target_is_written(tmp_path: Path, there: bool) -> None:
    target, link = tmp_path / "target.csv", tmp_path / "link.csv"
    if there:
        target.write_text("old")
    link.symlink_to(target.name)
    write_output(link, b"new", ASK)
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert not target.is_symlink()


def test_two_options_do_not_name_one_file(tmp_path: Path) -> None:
    file = tmp_path / "board.csv"
    check_outputs(csv=file, json=tmp_path / "board.json", html=None)
    check_outputs(csv=Path("/dev/stdout"), json=Path("/dev/stdout"))
    for other in (file, tmp_path / "." / "x" / ".." / "board.csv"):
        with pytest.raises(AdbenchError, match=r"--csv and --json both name .*board\.csv\. Give each a file"):
            check_outputs(csv=file, html=None, json=other)


def test_a_picture_is_a_png(tmp_path: Path) -> None:
    for name in ("a.png", "a.PNG", "a"):
        check_png(tmp_path / name)
    check_png(None)
    with pytest.raises(AdbenchError, match=r"--out .*a\.jpg is not possible: .* a PNG. Write --out .*a\.png"):
        check_png(tmp_path / "a.jpg")


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write_output(pipe, b"through", ASK)
    reader.join(20)
    assert got == [b"through"]
    assert pipe.is_fifo()


def test_devices_are_written_to_and_stay() -> None:
    write_output(Path("/dev/null"), b"x", ASK)
    assert Path("/dev/null").is_char_device()
    if Path("/dev/full").exists():
        with pytest.raises(AdbenchError, match=rf"cannot write /dev/full: No space left.*Free some space.*{ASK}\.$"):
            write_output(Path("/dev/full"), b"x", ASK)
        assert Path("/dev/full").is_char_device()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("kind", ["file", "pipe"])
def test_standard_output_is_the_open_one(tmp_path: Path, name: str, kind: str) -> None:
    script = (
        "from pathlib import Path; from adbench.system.files import write_output; print('before');"
        f"write_output(Path('{name}'), b'between\\n', 'file'); print('after')"
    )
    file = tmp_path / "out"
    with file.open("wb") as stream:
        out = stream if kind == "file" else subprocess.PIPE
        done = subprocess.run([sys.executable, "-c", script], stdout=out, check=True)
    text = file.read_bytes() if kind == "file" else done.stdout
    assert text == b"before\nbetween\nafter\n"
    assert os.listdir(tmp_path) == ["out"]


def test_what_cannot_be_written_is_one_sentence_that_fits(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for path, says in [
        (tmp_path, "Is a directory. Remove that folder or choose another"),
        (tmp_path / "file" / "x.csv", "(Not a directory|File exists)"),
        (tmp_path / "loop", "ymlink|symbolic links"),
        (tmp_path / ("n" * 256), "File name too long. Shorten it or choose another"),
        (Path("/dev/fd/999"), "Bad file descriptor"),
    ]:
        with pytest.raises(AdbenchError, match=says) as caught:
            write_output(path, b"x", ASK)
        assert str(caught.value).startswith("cannot write ")
    assert sorted(os.listdir(tmp_path)) == ["file", "loop"]


def test_the_longest_name_that_the_file_system_takes_is_written(tmp_path: Path) -> None:
    for name in ("n" * 255, "é" * 127):
        write_output(tmp_path / name, b"x", ASK)
        assert (tmp_path / name).read_bytes() == b"x"


def test_an_input_is_never_overwritten(tmp_path: Path) -> None:
    read, other = tmp_path / "scan.png", tmp_path / "list.txt"
    for file in (read, other):
        file.write_text("input")
    (tmp_path / "hard").hardlink_to(read)
    (tmp_path / "soft").symlink_to(other)
    for name in ("scan.png", "list.txt", "hard", "soft", "../" + tmp_path.name + "/scan.png"):
        with pytest.raises(AdbenchError, match=r"is read by this command .* Choose another file with --csv FILE"):
            write_output(tmp_path / name, b"x", ASK, [other, tmp_path / "gone", read])
    assert read.read_text() == other.read_text() == "input"


def test_a_damaged_file_of_the_cache_is_replaced_but_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")
    write_atomically(tmp_path / "link", b"x")
    assert (tmp_path / "link").read_bytes() == b"x"
    (tmp_path / "folder").mkdir()
    with pytest.raises(AdbenchError, match=r"folder: Is a directory.*runs=DIR or cache=DIR"):
        write_atomically(tmp_path / "folder", b"x")


def test_temporary_files_are_spared_for_a_day_and_then_removed(tmp_path: Path) -> None:
    young, old = tmp_path / ".a.npy.77.ab.tmp", tmp_path / ".b.npy.77.ab.tmp"
    lease = tmp_path / ".c.json.77.ab.lease"
    for file in (young, old, lease):
        file.write_bytes(b"x" * 1000)
    os.utime(old, (1e9, 1e9))
    assert shrink([tmp_path], 0) == 0
    assert set(os.listdir(tmp_path)) == {young.name, lease.name}


@pytest.mark.parametrize("refused", ["unlink", "scandir"])
def test_what_may_not_be_read_or_removed_costs_one_warning_and_the_rest_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], refused: str
) -> None:
    for place, name in enumerate(("theirs/a.rows", "theirs/a.rows.index", "ours/b.npy", "ours/c.npy")):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"x" * 500)
        os.utime(file, (1e9 + place, 1e9 + place))
    real = getattr(os, refused)

    def refusing(path: str | os.PathLike[str]) -> object:
        if "theirs" in os.path.relpath(path, tmp_path):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, refused, refusing)
    limit = 1500e-9 if refused == "unlink" else 500e-9
    for _ in range(2):
        shrink([tmp_path], limit)
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["a.rows", "a.rows.index", "c.npy"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"adbench: warning: {tmp_path / 'theirs'}")
    assert "can't be read or removed (Operation not permitted): the cache may hold more than cache_gb=" in line
