"""`adbench data synthesise`: synthetic anomalies on a contact sheet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.commands import contact


@pytest.fixture
def draw(adbench, tiny: Path, tmp_path: Path) -> Callable[..., object]:
    def call(*words: str, out: str = "sheet.png") -> object:
        return adbench(
            "data", "synthesise", "brainmri", f"data_root={tiny}", "input_size=56", *words, "--out", tmp_path / out
        )

    return call


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as sheet:
        return np.asarray(sheet.convert("RGB"))


def band(sheet: np.ndarray, number: int, tiles: int) -> np.ndarray:
    """The tiles of a band that has one row, side by side."""
    top = contact.GAP + contact.HEADING + number * (contact.HEADING + contact.TILE + 2 * contact.LINE + contact.GAP)
    top += contact.HEADING
    left = [contact.GAP + i * (contact.TILE + contact.GAP) for i in range(tiles)]
    return np.stack([sheet[top : top + contact.TILE, x : x + contact.TILE] for x in left])


def test_each_task_is_drawn_into_each_normal_image_with_its_mask(draw, tmp_path: Path) -> None:
    answer = draw("shots=3", "draw=1")
    assert answer.code == 0, answer.err
    assert f"drawn: {tmp_path / 'sheet.png'}" in answer.out
    assert [line.split()[0] for line in answer.out.splitlines()[:3]] == ["cutpaste", "gauss", "source"]
    sheet = pixels(tmp_path / "sheet.png")
    normal = band(sheet, 0, 3)
    for task in range(3):
        changed, masks = band(sheet, 1 + 2 * task, 3), band(sheet, 2 + 2 * task, 3)
        assert set(np.unique(masks)) == {0, 255}
        differs = (changed != normal).any(-1)
        assert differs.any()
        assert not (differs & (masks[..., 0] == 0)).any()


def test_the_words_of_the_method_count_and_the_seed_draws_others(draw, tmp_path: Path) -> None:
    sheets = []
    for number, words in enumerate(([], [], ["seed=1"], ["method.ranges.source_sides=[0.1,0.15]"])):
        assert draw("shots=2", "method.tasks=[source,identity]", *words, out=f"{number}.png").code == 0
        sheets.append(band(pixels(tmp_path / f"{number}.png"), 2, 2))
    plain, again, other, small = sheets
    assert np.array_equal(plain, again)
    assert not np.array_equal(plain, other)
    assert small.mean() < plain.mean()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["method.tasks=[identity]"], "name some of cutpaste, gauss, source"),
        (["method.anomalies=real"], "method.anomalies=real draws no anomaly"),
        (["shots=1,2"], "one support is drawn into at a time"),
        (["epochs=3"], "unknown key 'epochs' here"),
        (["method.ranges.gauss_strength=[1,0]"], "two numbers from 0 to 1 are needed, the smaller one first"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(draw, tmp_path: Path, words: list[str], says: str) -> None:
    answer = draw(*words)
    assert (answer.code, answer.err.count("\n"), says in answer.err) == (2, 1, True), answer.err
    assert not (tmp_path / "sheet.png").exists()


def test_a_file_of_the_dataset_is_not_overwritten(adbench, tiny: Path) -> None:
    file = sorted((tiny / "Brain/valid/good/img").iterdir())[0]
    before = file.read_bytes()
    answer = adbench("data", "synthesise", "brainmri", f"data_root={tiny}", "shots=2", "input_size=56", "--out", file)
    assert answer.code == 2
    assert file.read_bytes() == before
