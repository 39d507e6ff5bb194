"""What a running sweep shows: lines in a pipe, a live display on a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path

from adbench.records.record import read_all
from adbench.sweeps.watch import Watch


def test_a_pipe_gets_one_line_for_each_cell(adbench, words) -> None:
    answer = adbench("run", *words, "method=clip,patchcore", "shots=1", "draw=0,1")
    lines = [line for line in answer.out.splitlines() if line.startswith("[")]
    assert [line[:5] for line in lines] == ["[1/3]", "[2/3]", "[3/3]"]
    assert all("image AUROC" in line for line in lines)
    assert answer.err == ""
    assert "phantom-clip" in answer.out.splitlines()[0], "the first line names data, backbone and schedule"
    assert "phantom-clip" in answer.out.splitlines()[-1]


def test_a_line_names_what_its_cell_differs_in(adbench, words) -> None:
    answer = adbench("run", *words, "method=clip", "precision=32-true,bf16-mixed", "input_size=56,112")
    lines = [line for line in answer.out.splitlines() if line.startswith("[")]
    assert all("seed 0, input_size " in line and ", precision " in line for line in lines), lines
    assert len({line.partition("] ")[2].partition(":")[0] for line in lines}) == 4


def test_a_terminal_shows_a_line_for_each_running_cell(words, fake, start, until, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    first = start(*words, fake.word, "seed=9")
    assert first.wait(timeout=180) == 0, "a record to estimate from"
    fake.behave("hold")
    screen, terminal = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "adbench", "run", *words, fake.word, "seed=0,1,2", "workers=2"], stdout=terminal,
        stderr=terminal, stdin=subprocess.DEVNULL, env=os.environ | {"COLUMNS": "160", "LINES": "40", "TERM": "xterm"},
    )  # fmt: skip
    os.close(terminal)
    seen = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):  # the last one has closed the terminal
            while part := os.read(screen, 4096):
                seen.extend(part)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()

    def text() -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode(errors="replace"))

    try:
        until(lambda: re.search(r"Fake brainmri, .*seed 0 .*(fit|build)", text()) and "seed 1 " in text())
        assert re.search(r"all cells .*0/3.*about .* left", text())
        assert not re.search(r"seed 2 .* s +(starting|fit|build|score)", text()), "two at a time"
    finally:
        fake.release()
        child.wait(timeout=180)
    reader.join(timeout=30)
    os.close(screen)
    assert child.returncode == 0, text()
    assert "Traceback" not in text()
    assert len(read_all(runs)) == 4


def test_a_note_of_the_executor_is_one_line_on_standard_error(capsys) -> None:
    watch = Watch([], 1, None)
    with watch.shown():
        watch.note(f"Slurm does not start job [7_0]: {'so many words ' * 20}\x1b[31m.")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"adbench: Slurm does not start job [7_0]: {'so many words ' * 20}\\x1b[31m.\n"
