"""`support=madclip`: the images of the authors' list, on phantoms draw 0, and where it has no place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.cells.resolve import resolve
from adbench.config.words import parse
from adbench.data.support_lists import named_list
from adbench.errors import AdbenchError

WORDS = ("method=madclip", "schedule=short")


def drawn(folder: Path, *names: str, value: int = 90) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        pixels = np.full((32, 32), value + number % 50, np.uint8)
        pixels[0, : number % 32] = 255
        Image.fromarray(pixels).save(folder / name)


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images that MVFA's 2 shots name, of oct17 partly in train, and two more of each class."""
    root = tmp_path_factory.mktemp("listed")
    for dataset, folder in (("chestxray", "Chest"), ("oct17", "Retina_OCT2017")):
        named = named_list("mvfa", dataset, 2)
        (first, *normal), abnormal = named["n-0"].names, named["a-0"].names
        drawn(root / folder / ("train" if dataset == "oct17" else "valid") / "good", first, value=60)
        drawn(root / folder / "valid" / "good", *normal, f"other1{first[-5:]}", f"other2{first[-5:]}")
        drawn(root / folder / "valid" / "Ungood", *abnormal, f"other3{first[-5:]}", f"other4{first[-5:]}", value=150)
        for kind in ("good", "Ungood"):
            drawn(root / folder / "test" / kind, f"x{kind}1.png", f"x{kind}2.png", value=100 + len(kind))
    return root


@pytest.mark.parametrize("dataset", ["chestxray", "oct17"])
def test_the_support_is_the_authors_list(listed: Path, dataset: str) -> None:
    (config,) = parse([*WORDS, f"dataset={dataset}", "support=mvfa", "shots=2", f"data_root={listed}"])
    cell = resolve(config)
    named = named_list("mvfa", dataset, 2)
    assert [name.rpartition("/")[2] for name in cell.manifest.normal] == named["n-0"].names
    assert [name.rpartition("/")[2] for name in cell.manifest.abnormal] == named["a-0"].names
    assert (cell.manifest.source, cell.manifest.shots) == ("list:mvfa", 2)
    assert not any("shots=2 has no effect" in note for note in cell.notes)


def test_a_list_of_a_class_alone_serves_methods_that_learn_from_normal_images(listed: Path) -> None:
    words = ["method=patchcore", "dataset=chestxray", "support=mvfa", "shots=2", f"data_root={listed}"]
    cell = resolve(parse(words)[0])
    assert len(cell.manifest.normal) == 2
    assert not cell.manifest.abnormal


def test_each_training_set_of_a_transfer_has_its_own_list(listed: Path) -> None:
    words = [*WORDS, "protocol=cross_dataset", "train_on=oct17", "dataset=chestxray", "support=mvfa", "shots=2"]
    cell = resolve(parse([*words, f"data_root={listed}"])[0])
    assert [one.dataset.name for one in cell.training_sets] == ["oct17"]
    assert cell.manifest.normal[0].endswith(named_list("mvfa", "oct17", 2)["n-0"].names[0])


def test_an_image_that_is_not_there_is_named(listed: Path) -> None:
    (config,) = parse([*WORDS, "dataset=chestxray", "support=madclip", "shots=4", f"data_root={listed}"])
    with pytest.raises(AdbenchError, match=r"support=madclip, 4 shots of chestxray, names .*it isn't there"):
        resolve(config)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["support=mvfa", "shots=5"], "no list of 5 shots for chestxray"),
        (["support=mvfaa"], "support=mvfaa cannot be read: .* madclip, mvfa"),
        (["support=mvfa", "protocol=leave_one_out_published"], "learns from other splits than the lists"),
    ],
)
def test_a_list_that_has_no_place_is_refused(listed: Path, words: list[str], message: str) -> None:
    (config,) = parse([*WORDS, "dataset=chestxray", *words, f"data_root={listed}"])
    with pytest.raises(AdbenchError, match=message):
        resolve(config)


def test_on_phantoms_draw_0_stands_in_with_a_note() -> None:
    words = [*WORDS, "dataset=brainmri", "shots=4"]
    named, first = (resolve(parse([*words, word])[0]) for word in ("support=madclip", "draw=0"))
    assert named.key == first.key
    assert named.manifest.source == "draw:0"
    assert any("draw 0 stands in" in note for note in named.notes)
    assert not first.notes


def test_the_list_can_be_shown_with_its_number_of_shots(adbench, listed: Path, tmp_path: Path) -> None:
    words = ["dataset=chestxray", "support=mvfa", "shots=2", f"data_root={listed}", "--out", tmp_path / "a.png"]
    answer = adbench("support", "show", *words)
    assert answer.code == 0, answer.err
    assert "chestxray, list mvfa, 2 shots" in answer.out
    refused = adbench("support", "show", *words, "draw=1")
    assert refused.code == 2
    assert "leave out draw" in refused.err
