"""Locks: who waits says for what, and a file system without locks is named once."""

from __future__ import annotations

import errno
import os
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from adbench.errors import AdbenchError
from adbench.system import locks
from adbench.system.files import LOCKS, alone


def test_who_waits_says_once_for_what_and_goes_on_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], until: Callable[..., None]
) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.05)
    made, said, order = tmp_path / "liverct", [""], list[str]()

    def second() -> None:
        with alone(made):
            order.append("second")

    def has_said() -> bool:
        said[0] += capsys.readouterr().err
        return bool(said[0])

    thread = threading.Thread(target=second)
    with alone(made):
        thread.start()
        until(has_said)
        order.append("first")
    thread.join(20)
    assert order == ["first", "second"]
    (lock,) = (tmp_path / LOCKS).iterdir()
    assert (
        said[0] + capsys.readouterr().err == f"adbench: waiting for another process that makes {made} (lock {lock}).\n"
    )


def test_who_need_not_wait_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        with alone(tmp_path / "a"):
            pass
    assert capsys.readouterr() == ("", "")


def test_where_there_are_no_locks_files_stand_for_them_which_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fcntl = pytest.importorskip("fcntl")

    def refused(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refused)
    monkeypatch.setattr(locks, "_kinds", {})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("a", "b", "a"):
            with alone(tmp_path / name):
                (lock,) = (tmp_path / LOCKS).iterdir()
    assert not lock.exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"adbench: warning: the file system of {tmp_path / LOCKS} has no locks (flock)")


def test_a_place_without_room_for_a_lock_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AdbenchError, match=r"cannot write .*thing: .* or choose another folder with --out DIR\."):
        alone(tmp_path / "file" / "thing", "folder with --out DIR")
