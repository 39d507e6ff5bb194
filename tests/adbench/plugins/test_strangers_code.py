"""Datasets and executors of strangers whose code fails or returns another thing: one sentence that names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.adbench.plugins.packages import DATASET, install

SCANS = """
import sys
from pathlib import Path
from adbench.data.items import Item

GOOD = [
    Item(f"{split}/{'abnormal' if label else 'normal'}/{n}.png", split, label, Path(f"/no/{split}{label}{n}.png"))
    for split in ("valid", "test") for label in (0, 1) for n in range(2)
]


class Scans:
    def __init__(self, name, config):
        self.config = config

    def index(self, root):
        RETURN

    def is_phantom(self, root):
        return False
"""
EXECUTOR = """
import sys


class Mine:
    remote = False

    def __init__(self, workers, config):
        INIT

    def warm_up(self):
        pass

    def run(self, jobs):
        RUN

    def close(self):
        pass
"""


def one_sentence(answer: Any) -> str:
    lines = answer.err.strip().splitlines()
    assert answer.code not in (0, 130), answer
    assert len(lines) == 1, answer
    assert "Traceback" not in answer.out + answer.err
    return str(lines[0])


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("raise ValueError('one\\ntwo')", "the dataset scans failed in index(): ValueError: one two (scans.py:"),
        ("sys.exit(0)", "the dataset scans failed in index(): SystemExit: 0 (scans.py:"),
        ("raise KeyboardInterrupt", "the dataset scans failed in index(): KeyboardInterrupt"),
        ("open('/no/such')", "the dataset scans failed in index(): FileNotFoundError"),
        ("return None", "index() of the dataset scans returned None, where a list of Items is needed"),
        ("return {}", "returned a dict, where a list of Items is needed"),
        ("return ['a.png']", "returned a str as item 0, where an Item is needed"),
        ("return [Item('a', 'train', True, Path('a'))]", "with label=True, where 0 or 1 is needed"),
        ("return [Item('a', 'train', 0, 'a.png')]", "with path='a.png', where a Path is needed"),
        ("return [Item('a', 'dev', 0, Path('a'))]", "with split='dev', where train, valid or test is needed"),
        ("return [Item('a', 'test', 0, Path('a'), Path('m'))]", "where a tuple of Paths or None is needed"),
        ("return [Item('a', 'test', 0, Path('a'), None, 7)]", "with patient=7, where a text or None is needed"),
        ("return [*GOOD, GOOD[0].__class__(GOOD[0].id, 'test', 0, Path('/no/x'))]", "have the same id"),
        ("return GOOD", "/no/valid00.png"),
    ],
)
def test_a_strangers_dataset(adbench, site: Path, tmp_path: Path, body: str, says: str) -> None:
    facts = DATASET + "masks: false\n"
    files = {"scans.py": SCANS.replace("RETURN", body), "adbench_configs/dataset/scans.yaml": facts}
    install(site, "scanner", {"datasets": ["scans = scans:Scans"]}, files)
    answer = adbench("run", "method=clip", "dataset=scans", f"data_root={tmp_path}", f"runs={tmp_path / 'runs'}")
    assert says in one_sentence(answer)


@pytest.mark.parametrize(
    ("init", "run", "says"),
    [
        ("raise ValueError('no queue')", "pass", "the executor mine failed in __init__(): ValueError: no queue"),
        ("sys.exit(0)", "pass", "the executor mine failed in __init__(): SystemExit: 0"),
        ("pass", "sys.exit(0)", "the executor mine failed in run(): SystemExit: 0"),
        ("pass", "raise RuntimeError('a\\nb')", "the executor mine failed in run(): RuntimeError: a b"),
        ("pass", "pass", "the executor mine ended with 2 cells left that it never ran"),
        ("self.run = None", "pass", "the executor mine has no function run()"),
    ],
)
def test_a_strangers_executor(adbench, site: Path, tiny: Path, tmp_path: Path, init: str, run: str, says: str) -> None:
    files = {"mine.py": EXECUTOR.replace("INIT", init).replace("RUN", run)}
    install(site, "cluster", {"executors": ["mine = mine:Mine"]}, files)
    words = ["method=clip", "method.temperature=0.5", "precision=32-true,bf16-mixed", "executor=mine"]
    answer = adbench("run", *words, f"data_root={tiny}", f"runs={tmp_path / 'runs'}")
    assert says in one_sentence(answer)


def test_a_strangers_dataset_costs_its_own_cells(adbench, site: Path, tiny: Path, tmp_path: Path) -> None:
    files = {"scans.py": SCANS.replace("RETURN", "sys.exit(0)"), "adbench_configs/dataset/scans.yaml": DATASET}
    install(site, "scanner", {"datasets": ["scans = scans:Scans"]}, files)
    runs = tmp_path / "runs"
    answer = adbench("run", "method=clip", "dataset=scans,brainmri", f"data_root={tiny}", f"runs={runs}", "gallery=0")
    assert answer.code == 1
    assert "failed, 1 of 2 cells" in answer.out
    assert len(list(runs.glob("*/record.json"))) == 1
