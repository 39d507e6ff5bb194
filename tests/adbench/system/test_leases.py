"""Leases: what a writer elsewhere is at work on stays, and what a killed one left is cleaned up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from adbench.errors import AdbenchError
from adbench.system import leases
from adbench.system.files import replacing, scratch, write_atomically
from adbench.system.leases import ABANDONED, EXPIRY, HEARTBEAT, HOST, temporary_name, tidy
from adbench.system.pids import started

NOBODY = 2**22 + 1  # beyond the largest process id


def left(folder: Path, owner: dict[str, object] | str | None, age: float = 0.0, name: str = "cell") -> Path:
    """Make a temporary folder, and with an `owner` its lease, touched `age` seconds ago."""
    path = folder / f".{name}.node7.{NOBODY}.ab12.tmp"
    path.mkdir(parents=True)
    (path / "half").write_text("written")
    if owner is not None:
        lease = path.with_suffix(".lease")
        lease.write_text(owner if isinstance(owner, str) else json.dumps({"name": name, **owner}))
        now = lease.stat().st_mtime
        os.utime(lease, (now - age, now - age))
    return path


HERE = {"machine": leases._machine(), "pid": os.getpid(), "started": started(os.getpid())}
ELSEWHERE = {"machine": "another boot pid:[1]", "pid": os.getpid(), "started": "5"}
needs_proc = pytest.mark.skipif(leases._machine() is None, reason="needs Linux's /proc")


@pytest.mark.parametrize(
    ("owner", "age", "stays"),
    [
        (ELSEWHERE, 0.0, True),
        (ELSEWHERE, EXPIRY - 30, True),
        (ELSEWHERE, -(EXPIRY - 30), True),
        (ELSEWHERE, EXPIRY + 30, False),
        ({}, 0.0, True),
        ({}, EXPIRY + 30, False),
        ("not JSON", 0.0, True),
        ("[]", EXPIRY + 30, False),
        (None, 0.0, True),  # of an adbench before leases, on another host
        pytest.param(HERE, EXPIRY + 30, True, marks=needs_proc),
        pytest.param(HERE | {"pid": NOBODY}, 0.0, False, marks=needs_proc),
        pytest.param(HERE | {"started": "1"}, 0.0, False, marks=needs_proc),  # its number was given to another process
    ],
)
def test_a_lease_says_whether_a_folder_is_being_written(tmp_path: Path, owner, age: float, stays: bool) -> None:
    path = left(tmp_path, owner, age)
    tidy(tmp_path)
    assert path.exists() == stays
    assert path.with_suffix(".lease").exists() == (stays and owner is not None)
    assert not list(tmp_path.glob(".clock*"))


def test_the_age_of_a_lease_is_counted_by_the_clock_of_its_file_system(tmp_path: Path, monkeypatch) -> None:
    path = left(tmp_path, ELSEWHERE)
    hour = path.with_suffix(".lease").stat().st_mtime + 3600
    monkeypatch.setattr(leases.Clock, "now", property(lambda clock: hour))  # the server has gone on for an hour
    tidy(tmp_path)
    assert not path.exists()


def test_a_folder_set_aside_by_a_killed_writer_comes_back_under_its_whole_name(tmp_path: Path) -> None:
    name = "b" * 240  # the temporary folder's name holds only the beginning
    path = left(tmp_path, ELSEWHERE | {"name": name}, EXPIRY + 30, name="b" * 100)
    path.rename(path.with_suffix(".old"))
    tidy(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / "half").read_text() == "written"


def test_a_writer_has_a_lease_while_it_writes_and_none_afterwards(tmp_path: Path) -> None:
    with replacing(tmp_path / "site", "folder") as new:
        (lease,) = tmp_path.glob(".*.lease")
        assert lease == new.with_suffix(".lease")
        assert json.loads(lease.read_text())["pid"] == os.getpid()
        tidy(tmp_path)
        assert new.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def lost(new: Path) -> None:
    """Let another host take the writer of a temporary folder for one that has ended."""
    lease = new.with_suffix(".lease")
    lease.write_text(json.dumps(ELSEWHERE))
    os.utime(lease, (1e9, 1e9))
    tidy(new.parent)
    assert not new.exists()


def test_a_writer_that_lost_its_lease_says_so_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    says = rf"process was suspended, and its lease on {tmp_path / 'cell'} ended after 300 .* Run the command again\.$"
    with pytest.raises(AdbenchError, match=says), replacing(tmp_path / "cell", "folder") as new:
        lost(new)
        (new / "predictions.parquet").write_bytes(b"x")
    with pytest.raises(AdbenchError, match=says), replacing(tmp_path / "cell", "folder") as new:
        lost(new)
        (new / "gallery").mkdir(parents=True)  # half of a cell
    with pytest.raises(AdbenchError, match=says), scratch(tmp_path / "cell", "folder") as new:
        lost(new)
        new.rename(tmp_path / "cell")
    assert list(tmp_path.iterdir()) == []


def test_other_errors_of_a_writer_stay_what_they_are(tmp_path: Path) -> None:
    for error in (ValueError("x"), AdbenchError("the loss is not finite")):
        with pytest.raises(type(error), match=str(error)), replacing(tmp_path / "cell", "folder") as new:
            lost(new)
            raise error


def test_a_lease_is_touched_again_and_again(tmp_path: Path, monkeypatch, until: Callable[..., None]) -> None:
    monkeypatch.setattr(leases, "HEARTBEAT", 0.05)
    with scratch(tmp_path / "x", "folder") as new:
        lease = new.with_suffix(".lease")
        for _ in range(2):
            os.utime(lease, (1, 1))
            until(lambda: lease.stat().st_mtime > 1)
    assert HEARTBEAT * 5 < EXPIRY, "some touches may be late"


WRITER = """
import sys, time
from pathlib import Path
from adbench.system.files import replacing
with replacing(Path(sys.argv[1]), "folder") as new:
    print(new, flush=True)
    time.sleep(600)
"""


@needs_proc
@pytest.mark.parametrize("container", [False, True])
def test_what_another_process_or_container_writes_stays_until_it_is_killed(
    tmp_path: Path, until, monkeypatch, container: bool
) -> None:
    inside = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"] if container else []
    if container and subprocess.run([*inside, "true"], capture_output=True).returncode:
        pytest.skip("process namespaces need root")
    command = [*inside, sys.executable, "-c", WRITER, str(tmp_path / "cell")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        new = Path(child.stdout.readline().strip())
        assert HOST in new.name
        try:
            tidy(tmp_path)
            assert new.is_dir()
        finally:
            child.kill()
    if container:  # nothing here knows that it ended
        tidy(tmp_path)
        assert new.is_dir()
        monkeypatch.setattr(leases, "EXPIRY", 0.0)
    tidy(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_lease_stays_until_nothing_in_it_changed_for_a_day(tmp_path: Path, monkeypatch) -> None:
    path = left(tmp_path, None)
    half = path / "half"
    now = half.stat().st_mtime
    os.utime(path, (now - 3 * ABANDONED, now - 3 * ABANDONED))
    tidy(tmp_path)
    assert half.exists(), "a file in it is young"
    monkeypatch.setattr(leases.Clock, "now", property(lambda clock: now + ABANDONED + 1))
    tidy(tmp_path)
    assert not path.exists()


def test_a_lease_stays_as_long_as_its_folder_can_not_be_removed(tmp_path: Path, monkeypatch) -> None:
    path = left(tmp_path, ELSEWHERE, EXPIRY + 30)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda folder, ignore_errors: None)
        tidy(tmp_path)
    assert path.with_suffix(".lease").exists(), "else nobody would know that the folder may be removed"
    tidy(tmp_path)
    assert list(tmp_path.iterdir()) == []


FILE_WRITER = """
import sys, time
from pathlib import Path
from adbench.system.files import atomic
with atomic(Path(sys.argv[1])) as new:
    print(new, flush=True)
    time.sleep(600)
"""


@needs_proc
def test_the_temporary_file_of_a_killed_writer_is_removed_by_who_writes_there_next(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FILE_WRITER, str(tmp_path / "board.csv")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        new = Path(child.stdout.readline().strip())
        try:
            tidy(tmp_path)
            assert new.exists(), "it lives"
        finally:
            child.kill()
    assert os.listdir(tmp_path) == [new.name]
    write_atomically(tmp_path / "another.csv", b"x")
    assert os.listdir(tmp_path) == ["another.csv"]


def test_the_temporary_file_of_another_machine_is_removed_when_it_is_a_day_old(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(leases, "_machine", lambda: "another boot pid:[1]")  # of one hostname
    monkeypatch.setattr("os.getpid", lambda: NOBODY)
    theirs = temporary_name(tmp_path / "board.csv")
    monkeypatch.undo()
    theirs.write_text("half")
    tidy(tmp_path)
    assert theirs.exists()
    now = theirs.stat().st_mtime
    os.utime(theirs, (now - ABANDONED - 30, now - ABANDONED - 30))
    tidy(tmp_path)
    assert not theirs.exists()


def test_every_temporary_name_can_be_read(tmp_path: Path) -> None:
    for name in ("cell", "board.csv", "probe", "\u00e9" * 127):
        found = leases.LEFT.fullmatch(temporary_name(tmp_path / name).name)
        assert found is not None
        assert name.startswith(found["name"])
        assert (found["host"], int(found["pid"]), found["kind"]) == (HOST, os.getpid(), "tmp")
