"""Slurm for the tests: the daemon that `make test-slurm` starts, otherwise submitit's local processes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def daemon() -> bool:
    """Whether a Slurm daemon answers."""
    return shutil.which("sinfo") is not None and subprocess.run(["sinfo"], capture_output=True).returncode == 0


@pytest.fixture
def needs_submitit() -> None:
    if find_spec("submitit") is None:
        pytest.skip("the extra `slurm` is not installed")


@pytest.fixture
def needs_slurm(daemon: bool) -> None:
    if not daemon:
        pytest.skip("no Slurm daemon answers here: `make test-slurm` installs and starts one")


@pytest.fixture
def words(words: list[str], daemon: bool) -> list[str]:
    return [*words, "executor=slurm", "slurm.poll=1", *([] if daemon else ["slurm.cluster=local"])]


@pytest.fixture
def left() -> Callable[[Path], list[str]]:
    """What the executor left in a folder of records: nothing but its lock is allowed."""
    return lambda runs: [str(p) for p in (runs / ".slurm").rglob("*") if p.is_file() and p.parent.name != ".locks"]


@pytest.fixture
def slurm_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put commands of Slurm on the PATH that print some text, or fail where it is None."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=":")

    def install(**answers: str | None) -> None:
        for name, text in answers.items():
            (folder / f"{name}.txt").write_text(text or "")
            script = folder / name
            script.write_text(f"#!/bin/sh\n{'exit 1' if text is None else f'cat {folder / name}.txt'}\n")
            script.chmod(0o755)

    return install
