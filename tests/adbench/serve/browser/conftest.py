"""The page of two records, a folder and a folder of cases, in a real Chromium."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adbench.records.record import Record
from tests.adbench.serve.browser.page import typed, until
from tests.chromium import nothing_asked_but, plain, started


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    rng = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(rng.integers(0, 255, (120, 160), dtype=np.uint8)).save(folder / f"scan {number}.png")
    return folder


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served") / "cases"


@pytest.fixture(scope="module")
def address(
    served_records: dict[str, Record], scans: Path, cases: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The page of two records, a folder and a folder of cases, by the command of the docs page."""
    records = " ".join(str(served_records[name].path) for name in ("patchcore", "clip"))
    words = [word for word in typed("adbench serve", record=records, scans=scans) if word != "--open"]
    command = [sys.executable, "-m", "adbench", *words, "--out", str(cases)]
    temporary = tmp_path_factory.mktemp("temporary")
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "TMPDIR": str(temporary)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "http://" in line)
        yield line[line.index("http://") :].strip()
        process.terminate()
        process.wait(60)
    assert list(temporary.glob("adbench-serve-*")) == [], "what was dropped goes with the server"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    yield from started("MAP evil.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", window="1400,1000")


@pytest.fixture
def browser(chromium: Any, address: str) -> Iterator[Any]:
    """The page, ready; afterwards nothing may have been complained of, nor asked of another host."""
    plain(chromium)
    chromium.get(address)
    until(lambda: chromium.execute_script("return document.body.dataset.ready"))
    yield chromium
    nothing_asked_but(chromium, address, "blob:")
