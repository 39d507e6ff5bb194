"""Two records on the tests' phantoms, and the application on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import adbench as package
from adbench.records.record import Record
from adbench.running.apply import LoadKeys
from adbench.serve.cases import Folder
from adbench.serve.cells import ServedCell
from adbench.serve.server import Server
from adbench.serve.sources import Listed
from adbench.system.session import Session

TOKEN = "a-token"
KEYS: LoadKeys = {"device": "cpu"}


@pytest.fixture(scope="session")
def served_records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    """One record with a memory of the support and one with prompts, by method."""
    runs = tmp_path_factory.mktemp("served")
    found = package.run(method=["patchcore", "clip"], dataset="brainmri", shots=2, gallery=0, runs=runs)
    assert isinstance(found, list)
    return {record.content["facts"]["method"]: record for record in found}


@pytest.fixture(scope="session")
def served_cells(served_records: dict[str, Record]) -> list[ServedCell]:
    session = Session()
    return [ServedCell(record, KEYS, None, session) for record in served_records.values()]


@pytest.fixture
def server(served_cells: list[ServedCell], tmp_path: Path) -> Iterator[Server]:
    made = Server(list(served_cells), Folder(tmp_path / "cases"))
    yield made
    made.dropped.folder.cleanup()


@pytest.fixture
def with_folder(server: Server) -> Callable[[Path, list[Path]], None]:
    def give(folder: Path, paths: list[Path]) -> None:
        server.listed = Listed(folder, paths)

    return give


@pytest.fixture
def client(server: Server) -> Any:
    from adbench.serve.app import make_app

    return TestClient(make_app(server, TOKEN), base_url="http://127.0.0.1:8000")
