"""The cells of each figure: all of them can be planned, and those of BMAD open on images that the lists name."""

from __future__ import annotations

import itertools
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.board.papers import all_figures, repetition
from adbench.cells.resolve import check_config
from adbench.config.words import parse
from adbench.data.support_lists import named_list
from adbench.reproduce.cells import Cells, cells, changes, planned
from adbench.reproduce.listing import command, lines, listed
from adbench.reproduce.request import chosen, request
from adbench.system.session import Session

FOLDERS = {
    "brainmri": "Brain", "liverct": "Liver", "resc": "Retina_RESC", "oct17": "Retina_OCT2017", "chestxray": "Chest",
    "his": "Histopathology",
}  # fmt: skip
MASKED = ("brainmri", "liverct", "resc")
REPEATED = [one for one in all_figures() if not repetition(one).reason]


@pytest.fixture(scope="module")
def bmad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images that the lists of both papers name, in the layout of their repositories, and a few others."""
    root = tmp_path_factory.mktemp("bmad")
    made = 0

    def draw(folder: Path, names: set[str] | tuple[str, ...], masked: bool = False) -> None:
        nonlocal made
        for part in ("img", "anomaly_mask")[: 1 + masked]:
            (folder / part).mkdir(parents=True)
            for name in names:
                made += 1
                pixels = np.full((16, 16), 255 if part == "anomaly_mask" else 40, np.uint8)
                pixels.reshape(-1)[: 24 + made % 200] = 0
                pixels[-1, :2] = divmod(made, 256) if part == "img" else 0
                Image.fromarray(pixels).save(folder / part / name, format="PNG")

    for dataset, folder in FOLDERS.items():
        listed = [named_list(paper, dataset, shots) for paper in ("madclip", "mvfa") for shots in (2, 4, 8, 16)]
        for key, kind in (("n-0", "good"), ("a-0", "Ungood")):
            masked = dataset in MASKED and kind == "Ungood"
            draw(root / folder / "valid" / kind, {name for one in listed for name in one[key].names}, masked)
            draw(root / folder / "test" / kind, (f"90001_{kind}.png", f"90002_{kind}.png"), masked)
        draw(root / folder / "train" / "good", ("80001_1.png", "80002_1.png"))
    return root


def test_every_command_is_one_that_plan_accepts() -> None:
    asked = request([], [])
    listing = lines(all_figures(), listed(all_figures(), asked.keys))
    assert len(listing) == 649
    typed = {line[line.index("adbench run ") :] for line in listing if "adbench run " in line}
    typed |= {command(repetition(one).cell) for one in REPEATED}
    assert len(typed) > 300
    session = Session()
    for text in sorted(typed):
        for config in parse(shlex.split(text)[2:]):
            assert config.backbone != "phantom-clip"
            assert config.schedule == "paper"
            check_config(config, session)


def test_the_cells_of_bmad_open_with_the_authors_lists(bmad: Path) -> None:
    asked = request([], ["dataset=bmad,mean_of_six,mean_of_three", f"data_root={bmad}", "backbone=phantom-clip"])
    some = [cells(one, asked) for one in chosen(asked) if not repetition(one).reason]
    assert len(some) > 230
    repeats = [repeat for one in some for repeat in (*one.published[:1], *one.clean[:1])]
    found = planned([words for words in repeats if "leave_one_out" not in " ".join(words)])
    states = {task.state: task for tasks in found.values() for task in tasks}
    assert set(states) == {"to run"}, states["impossible"].error if "impossible" in states else states
    listed = [task for words, tasks in found.items() for task in tasks if "support=madclip" in words]
    assert {task.cell.manifest.source for task in listed if task.cell} == {"list:madclip"}


def test_on_phantoms_a_small_clip_stands_in_and_layers_follow_it() -> None:
    asked = request(["mvfa"], ["table=5", "method=mvfa:layer3", "metric=image_auroc"])
    (one,) = (cells(figure, asked) for figure in chosen(asked))
    (words,) = one.published
    assert {"backbone=phantom-clip", "schedule=short", "method.score_levels=[9]"} <= set(words)
    assert not any(word.startswith("preset=") for word in words)
    assert changes(one, asked, []) == ["phantoms in place of the data", "backbone=phantom-clip", "schedule=short"]


def few_shot(*words: str) -> Cells:
    asked = request(["mvfa"], ["table=1", "method=mvfa", "dataset=resc", "metric=image_auroc", *words])
    (one,) = (cells(figure, asked) for figure in chosen(asked))
    return one


def test_each_rung_changes_one_facet_of_the_rung_before() -> None:
    one = few_shot("data_root=/data", "seed=0", "draw=0")
    rungs = [set(one.clean[0]), *(set(rung[0]) for rung in one.rungs), set(one.published[0])]
    changed = [sorted(after - before) for before, after in itertools.pairwise(rungs)]
    assert changed == [["support=mvfa"], ["method.fusion=transductive"], ["selection=oracle"]]
    assert rungs[0] - rungs[1] == {"draw=0"}


def test_a_list_is_repeated_over_seeds_and_an_unknown_support_over_draws_too() -> None:
    listed = few_shot("data_root=/data", "seed=1,2", "draw=3")
    assert [{word for word in words if word.startswith(("seed", "draw"))} for words in listed.published] == [
        {"seed=1"},
        {"seed=2"},
    ]
    assert {"draw=3", "seed=3"} <= set(listed.clean[0])
    asked = request(["mediclip"], ["table=2", "method=mediclip", "shots=4", "data_root=/data", "seed=1,2"])
    (own,) = (cells(figure, asked) for figure in chosen(asked))
    assert {"draw=2", "seed=2"} <= set(own.published[1])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], []),
        (["schedule=paper", "precision=16-mixed"], []),
        (["schedule=short", "precision=32-true"], ["schedule=short", "precision=32-true"]),
        (["backbone=ViT-B-16"], ["backbone=ViT-B-16"]),
        (["backbone.weights=own.safetensors"], ["backbone.weights=own.safetensors"]),
    ],
)
def test_what_differs_from_the_paper_is_named(words: list[str], expected: list[str]) -> None:
    asked = request(["mvfa"], ["table=1", "method=mvfa", "dataset=resc", "data_root=/data", *words])
    assert changes(few_shot("data_root=/data", *words), asked, []) == expected
