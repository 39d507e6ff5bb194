"""A dataset of a package: the one that docs/your-own-method.md prints, and those that draw phantoms or don't."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.adbench.plugins.packages import DATASET, files_printed, install, only, pip_install
from tests.adbench.plugins.test_strangers_code import SCANS, one_sentence

PAGE = Path(__file__).parents[3] / "docs" / "your-own-method.md"
NO_PHANTOMS = "draws no phantoms: name the folder of its images with data_root=DIR."
INHERITING = """
from adbench.data.items import Dataset


class Scans(Dataset):
    def index(self, root):
        return []
"""


def draw_ward(root: Path) -> Path:
    """Write the images of the page's ward: six of a split and class, of as many patients."""
    pixels = np.random.default_rng(0)
    for split in ("valid", "test"):
        for folder in ("healthy", "lesion"):
            (root / split / folder).mkdir(parents=True)
            for number in range(6):
                image = Image.fromarray(pixels.integers(0, 255, (48, 48), dtype=np.uint8))
                image.save(root / split / folder / f"{split}{folder}{number}_0.png")
    return root


def test_the_dataset_of_the_page_is_installed_and_read_as_printed(adbench, site: Path, tmp_path: Path) -> None:
    section = PAGE.read_text().partition("\n## A dataset of your own\n")[2].partition("\n## ")[0]
    assert len(files_printed(section)) == 3
    pip_install(section, tmp_path / "typed", site)
    root = draw_ward(tmp_path / "images")
    where = [f"data_root={root}", f"cache={tmp_path / 'cache'}"]

    answer = adbench("data", "check", "ward", *where)
    assert (answer.code, answer.err) == (0, "")
    assert "ward (real data, 24 images)" in answer.out
    assert "patients: 12 in valid, 12 in test" in answer.out
    answer = adbench("data", "describe", "ward", *where, "--out", tmp_path / "ward.png")
    assert answer.code == 0, answer.err
    assert "Our ward" in answer.out
    runs = tmp_path / "runs"
    answer = adbench("run", "method=winclip", "dataset=ward", "shots=2", *where, f"runs={runs}", "gallery=0")
    assert answer.code == 0, answer.err
    assert only(runs)[1]["facts"]["dataset"] == "ward"
    assert "data: real" in answer.out

    said = re.search(r"\*(ward draws no phantoms.*?)\*", section, re.S)
    assert said, "the page quotes the sentence"
    assert " ".join(said[1].split()) == f"ward {NO_PHANTOMS}"
    assert one_sentence(adbench("run", "method=winclip", "dataset=ward")) == f"adbench: ward {NO_PHANTOMS}"


def bring(site: Path, code: str) -> None:
    files = {"scans.py": code, "adbench_configs/dataset/scans.yaml": DATASET + "masks: false\n"}
    install(site, "scanner", {"datasets": ["scans = scans:Scans"]}, files)


@pytest.mark.parametrize("code", [SCANS.partition("    def is_phantom")[0], INHERITING])
@pytest.mark.parametrize(
    "command",
    ["run method=clip dataset=scans", "data check scans", "data describe scans", "data synthesise scans",
     "support show dataset=scans shots=1", "data phantom --dataset scans --root PHANTOMS"],
)  # fmt: skip
def test_a_dataset_that_draws_no_phantoms_says_so(
    adbench, site: Path, tmp_path: Path, monkeypatch, code: str, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    bring(site, code.replace("RETURN", "return GOOD"))
    assert one_sentence(adbench(*command.split())) == f"adbench: scans {NO_PHANTOMS}"
    assert not Path("PHANTOMS").exists()


def test_a_plan_says_so_too(adbench, site: Path) -> None:
    bring(site, SCANS.partition("    def is_phantom")[0].replace("RETURN", "return GOOD"))
    answer = adbench("plan", "method=clip", "dataset=scans")
    assert NO_PHANTOMS in answer.out
    assert "1 that can't run" in answer.out


def test_all_phantoms_are_drawn_without_those_of_a_dataset_that_has_none(site: Path, capsys) -> None:
    from adbench.commands.phantom import usable

    bring(site, INHERITING)
    assert "scans" not in usable()
    assert f"note: scans is left out: scans {NO_PHANTOMS}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("functions", "says"),
    [
        (
            "def draw_phantom(self, root): ...",
            "has draw_phantom(), which also needs phantom_version() and is_phantom()",
        ),
        (
            "def draw_phantom(self, root): ...\n    def is_phantom(self, root): ...\n"
            "    def phantom_version(self): return 3",
            "phantom_version() of the dataset scans returned 3, where a text is needed.",
        ),
        (
            "def draw_phantom(self, root): ...\n    def is_phantom(self, root): ...\n"
            "    def phantom_version(self): return self.year",
            "the dataset scans failed in phantom_version(): AttributeError: 'Scans' object has no attribute 'year'",
        ),
    ],
)
def test_what_is_wrong_with_its_phantoms_is_one_sentence(adbench, site: Path, functions: str, says: str) -> None:
    bring(
        site,
        f"class Scans:\n    def __init__(self, name, config): ...\n    def index(self, root): ...\n    {functions}",
    )
    for command in ("run method=clip dataset=scans", "data check scans"):
        assert says in one_sentence(adbench(*command.split()))


@pytest.mark.parametrize("command", ["check", "describe"])
def test_is_phantom_that_fails_is_one_sentence(adbench, site: Path, tmp_path: Path, command: str) -> None:
    root = draw_ward(tmp_path / "images")
    index = "return [Item(p.name, 'test', 0, p) for p in root.rglob('*.png')]"
    bring(site, SCANS.replace("RETURN", index).replace("return False", "return self.mark.is_file()"))
    answer = adbench("data", command, "scans", f"data_root={root}")
    assert "the dataset scans failed in is_phantom(): AttributeError" in one_sentence(answer)
