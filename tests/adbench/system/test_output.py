"""Redirected output: of Python, of what lies below it, and of streams that somebody holds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, subprocess, sys
from pathlib import Path
from adbench.system.output import redirected_output

held = sys.stdout
print("before")
with redirected_output(Path(sys.argv[1]), append=sys.argv[2] == "append", python_only=sys.argv[3] == "python"):
    print("python")
    print("error", file=sys.stderr)
    held.write("held\\n")
    held.flush()
    os.write(1, b"below\\n")
    subprocess.run(["echo", "child"])
print("after")
"""


def run(file: Path, *words: str) -> tuple[str, str]:
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(file), *words], capture_output=True, text=True, check=True)
    return done.stdout, done.stderr


def test_everything_goes_to_the_file_and_the_streams_come_back(tmp_path: Path) -> None:
    file = tmp_path / "new" / "log"
    out, err = run(file, "empty", "all")
    assert (out, err) == ("before\nafter\n", "")
    assert sorted(file.read_text().split()) == ["below", "child", "error", "held", "python"]
    out, err = run(file, "append", "all")
    assert len(file.read_text().split()) == 10
    run(file, "empty", "all")
    assert len(file.read_text().split()) == 5


def test_only_what_python_prints_from_now_on(tmp_path: Path) -> None:
    file = tmp_path / "log"
    out, err = run(file, "empty", "python")
    assert file.read_text() == "python\n"
    assert err == "error\n"
    assert sorted(out.split()) == ["after", "before", "below", "child", "held"]


def test_streams_that_are_no_descriptors_are_redirected_too(tmp_path: Path, capsys) -> None:
    from adbench.system.output import redirected_output

    file = tmp_path / "log"
    with pytest.raises(KeyError), redirected_output(file):
        print("captured by pytest otherwise")
        print("and so is this", file=sys.stderr)
        os.write(1, b"below\n")
        raise KeyError
    assert len(file.read_text().splitlines()) == 3
    with redirected_output(file, append=True):
        print("more")
    assert len(file.read_text().splitlines()) == 4
    print("again")
    assert capsys.readouterr() == ("again\n", "")
