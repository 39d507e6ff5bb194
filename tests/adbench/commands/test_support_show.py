"""`adbench support show`: the support that a run takes."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from adbench.cells.resolve import resolve
from adbench.commands import contact
from adbench.config import words as config


def ids(text: str) -> list[str]:
    return [line.split()[1] for line in text.splitlines() if line[:5].strip().isdigit()]


@pytest.fixture
def show(adbench, tiny: Path, tmp_path: Path) -> Callable[..., object]:
    def call(*words: str) -> object:
        return adbench("support", "show", f"data_root={tiny}", *words, "--out", tmp_path / "support.png")

    return call


def test_what_is_shown_is_what_a_run_takes(show, tiny: Path, tmp_path: Path) -> None:
    for words in (["shots=2"], ["shots=3", "draw=4"], ["shots=full"]):
        (cell,) = config.parse(["method=madclip", f"data_root={tiny}", *words])
        manifest = resolve(cell).manifest
        answer = show(*words)
        assert answer.code == 0, answer.err
        assert ids(answer.out) == [*manifest.normal, *manifest.abnormal]
        assert f"manifest {manifest.hash}" in answer.out
        assert "patient 0000" in answer.out
        with Image.open(tmp_path / "support.png") as sheet:
            assert sheet.width > 4 * contact.TILE


def test_a_method_says_which_classes(show) -> None:
    both = ids(show("shots=3", "draw=1").out)
    assert ids(show("shots=3", "draw=1", "method=madclip").out) == both
    assert ids(show("shots=3", "draw=1", "method=patchcore").out) == [i for i in both if "/normal/" in i]
    answer = show("shots=3", "method=clip")
    assert (answer.code, "clip learns from no image" in answer.err) == (2, True)


def test_a_list_is_shown_as_it_stands(show, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("n-0: 00001_64.png 00000_60.png\na-0: 00010_61.png\n")
    answer = show(f"support={tmp_path / 'list.txt'}")
    assert [i.rpartition("/")[2] for i in ids(answer.out)] == ["00001_64.png", "00000_60.png", "00010_61.png"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["shots=0"], "shots=0 has no support"),
        (["shots=2,4"], "one support is shown at a time"),
        (["shots=7"], "6 normal and 6 abnormal"),
        (["seed=1"], "unknown key 'seed' here"),
        (["protocol=full_normal"], "name it with method="),
        (["dataset.support_split=test"], "a support comes from train or valid"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(show, words: list[str], says: str) -> None:
    answer = show(*words)
    assert (answer.code, answer.err.count("\n"), says in answer.err) == (2, 1, True), answer.err


def test_a_draw_depends_neither_on_file_order_nor_on_the_method(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(method: str) -> tuple[tuple[str, ...], tuple[str, ...], str]:
        (cell,) = config.parse([f"method={method}", "shots=4", f"data_root={tiny}"])
        manifest = resolve(cell).manifest
        return manifest.normal, manifest.abnormal, manifest.hash

    before = drawn("madclip")
    normals, _, _ = drawn("patchcore")
    assert normals == before[0]
    orders = []

    def shuffled(path: object = ".", listdir: Callable[..., list[str]] = os.listdir) -> list[str]:
        names = sorted(listdir(path))
        random.Random(len(orders)).shuffle(names)
        orders.append(names)
        return names

    monkeypatch.setattr(os, "listdir", shuffled)
    assert [drawn("madclip") for _ in range(3)] == [before] * 3
    assert any(names != sorted(names) for names in orders), "the order of files was another one"


def test_a_draw_does_not_depend_on_the_hash_seed(tiny: Path, tmp_path: Path) -> None:
    words = ["support", "show", f"data_root={tiny}", "shots=4", "draw=2", "--out", str(tmp_path / "s.png")]
    outs = [
        subprocess.run(
            [sys.executable, "-m", "adbench", *words], env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert outs[0] == outs[1]
    assert len(ids(outs[0])) == 8
