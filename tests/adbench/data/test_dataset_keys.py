"""Keys of a dataset: one that has no effect, or a value that is not possible, is refused in one sentence."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adbench.config.schema import Overrides
from adbench.data.indexed import dataset_class, dataset_config
from adbench.data.items import OPTIONAL_KEYS, DatasetConfig
from adbench.errors import AdbenchError
from adbench.plugins import registry

COMMANDS = ("run", "plan", "data check", "data describe", "support show")
VALUES = {
    "folders": "[x]", "category": "all", "categories": "{}", "table": "t.csv", "split_shares": "[0.5,0,0.5]",
    "split_seed": "1", "normal_folders": "[a]", "abnormal_folders": "[b]", "mask_folders": "[c]",
    "ignored_folders": "[d]", "allow_patient_overlap": "true", "allow_absolute_paths": "true",
    "patient_pattern": "(?P<patient>.)",
    "folds": "5", "fold": "0", "slice_axis": "coronal", "volume_window": "[1,99]", "empty_slices": "keep",
    "lesion_free_slices": "normal",
}  # fmt: skip


@pytest.fixture
def call(adbench, tmp_path: Path):
    """Call one of the commands on a dataset and return its error, "" for none."""

    def call(command: str, dataset: str, *words: object) -> str:
        if command in ("run", "plan"):
            answer = adbench(command, "method=patchcore", "shots=2", f"dataset={dataset}", f"runs={tmp_path}", *words)
        elif command == "support show":
            answer = adbench("support", "show", f"dataset={dataset}", *words, "--out", tmp_path / "s.png")
        else:
            extra = ("--out", tmp_path / "d.png") if command == "data describe" else ()
            answer = adbench(*command.split(), dataset, *words, *extra)
        if command == "plan":  # a cell that can't run is a row of the plan too
            assert (answer.code > 0) == ("1 that can't run" in answer.out)
        assert answer.code in (0, 1) or (answer.code, answer.err.count("\n")) == (2, 1), answer.err
        return answer.err

    return call


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Twelve images in normal/ and abnormal/."""
    rng = np.random.default_rng(0)
    for name in ("normal", "abnormal"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for i in range(6):
            pixels = rng.integers(0, 255, (16, 16), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "own" / name / f"{name[0]}{i}.png")
    return tmp_path / "own"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("dataset.category=bottle", "dataset.category has no effect on brainmri; leave it out."),
        ("dataset.table=mine.csv", "dataset.table has no effect on brainmri"),
        ("dataset.support_split=training", "dataset.support_split=training is not possible"),
        ("dataset.mask_threshold=-1", "dataset.mask_threshold=-1 is not possible: an 8-bit value from 0 to 254"),
    ],
)
def test_all_commands_refuse_a_key_in_one_sentence(call, tiny: Path, command: str, word: str, says: str) -> None:
    assert says in call(command, "brainmri", f"data_root={tiny}", word)


@pytest.mark.parametrize("name", sorted(registry.entries("dataset")))
def test_a_dataset_accepts_the_keys_that_it_reads_and_no_other(name: str) -> None:
    reads = dataset_class(name).reads
    assert set(reads) <= set(OPTIONAL_KEYS)
    given = dataset_config(name)
    for key in OPTIONAL_KEYS:
        words = Overrides({key: getattr(given, key)})
        if key in reads:
            dataset_config(name, words)
        else:
            with pytest.raises(AdbenchError, match=f"dataset.{key} has no effect on {name}"):
                dataset_config(name, words)


def test_the_optional_keys_are_fields() -> None:
    assert set(OPTIONAL_KEYS) == set(VALUES) <= {field.name for field in dataclasses.fields(DatasetConfig)}


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[3].glob("datasets/*.py")), ids=lambda p: p.stem)
def test_a_key_that_a_class_reads_is_used_in_its_code(path: Path) -> None:
    names = ("layout.py", "mediclip.py", "class_folders.py", "splits.py", "stacks.py")
    shared = "".join((path.parent / name).read_text() for name in names)
    for name, entry in registry.entries("dataset").items():
        if entry.load().__module__ == f"adbench.datasets.{path.stem}":
            code = path.read_text() + shared
            assert [key for key in entry.load().reads if f"config.{key}" not in code] == [], name


def test_a_class_without_the_attribute_is_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(dataset_class("brainmri"), "reads")
    monkeypatch.delattr("adbench.datasets.layout.Layout.reads")
    assert dataset_config("brainmri", Overrides({"table": "mine.csv"})).table == "mine.csv"


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("dataset.mask_threshold=256", "from 0 to 254"),
        ("dataset.mask_threshold=255", "from 0 to 254"),
        ("dataset.empty_masks=maybe", "dataset.empty_masks=maybe is not possible: allowed: allow, error"),
        ("dataset.empty_masks=alow", "did you mean 'allow'"),
        ("dataset.full_masks=maybe", "dataset.full_masks=maybe is not possible: allowed: allow, error"),
        ("dataset.mask_background=[-1]", "grey values or palette indices from 0 to 65535"),
        ("dataset.split_shares=[0.5,0.2]", "three shares of train, valid and test"),
        ("dataset.split_shares=[0.5,0.2,0.5]", "that add up to 1"),
        ("dataset.split_shares=[-0.5,1,0.5]", "that add up to 1"),
        ("dataset.split_shares=[]", "three shares"),
        ("dataset.patient_pattern=(", "is no regular expression: missing )"),
        ("dataset.patient_pattern=^([^_]+)", "has no group called patient"),
        ("dataset.normal_folders=[Abnormal]", "both hold 'abnormal'; a folder has one kind"),
        ("dataset.mask_folders=[normal]", "dataset.normal_folders and dataset.mask_folders both hold 'normal'"),
        ("dataset.expected={test: [1]}", "dataset.expected has test: [1]"),
        ("dataset.expected={tset: [1,2]}", "dataset.expected has tset: [1, 2]"),
        ("dataset.expected={test: [1,-2]}", "counts of train, valid and test are needed"),
    ],
)
@pytest.mark.parametrize("command", ["data check", "plan"])
def test_a_value_that_is_not_possible_is_refused(call, own: Path, command: str, word: str, says: str) -> None:
    assert says in call(command, "folder", f"data_root={own}", word)


def test_keys_of_masks_need_masks(call, tiny: Path, own: Path) -> None:
    for key in ("dataset.mask_threshold=3", "dataset.mask_background=[0]", "dataset.full_masks=error"):
        name = key.partition("=")[0]
        error = call("plan", "brainmri", f"data_root={tiny}", "dataset.masks=false", key)
        assert f"{name} has no effect with dataset.masks=false; leave it out." in error
        assert f"{name} has no effect on a dataset without masks" in call("data check", "chestxray", key)
        assert f"{name} has no effect on a dataset without masks" in call("plan", "folder", f"data_root={own}", key)
        assert call("plan", "brainmri", f"data_root={tiny}", key) == ""


@pytest.mark.parametrize("command", ["plan", "data check", "data describe"])
def test_what_the_files_decide_is_refused_too(call, own: Path, command: str) -> None:
    def says(*words: str) -> str:
        return call(command, "folder", f"data_root={own}", *words)

    assert says("dataset.split_shares=[0.4,0,0.6]") == ""
    assert "dataset.allow_patient_overlap has no effect" in says("dataset.allow_patient_overlap=true")
    assert "there is no table" in says("dataset.allow_absolute_paths=true")
    (own / "images.csv").write_text(
        "path,label\n" + "".join(f"normal/n{i}.png,0\nabnormal/a{i}.png,1\n" for i in range(6))
    )
    assert says("dataset.split_seed=1", "dataset.allow_absolute_paths=true") == ""
    assert "images.csv lists the images" in says("dataset.normal_folders=[fine]")
    rows = [f"normal/n{i}.png,0,{s}\nabnormal/a{i}.png,1,{s}\n" for i, s in enumerate(["train", "test"] * 3)]
    (own / "images.csv").write_text("path,label,split\n" + "".join(rows))
    assert "images.csv gives their splits" in says("dataset.split_seed=1")
    assert says("dataset.allow_patient_overlap=true") == ""
    (own / "images.csv").unlink()
    for split in ("train", "test"):
        for name in ("normal", "abnormal"):
            shutil.copytree(own / name, own / split / name)
    shutil.rmtree(own / "normal")
    shutil.rmtree(own / "abnormal")
    assert "their folders give the splits" in says("dataset.split_shares=[0.4,0,0.6]")


def test_samples_decide_splits_and_owners_layouts_patients(call, tmp_path: Path) -> None:
    error = call("data check", "brainmri_kaggle", "dataset.split_seed=1")
    assert "samples/*.json give their splits; leave it out" in error
    rng = np.random.default_rng(0)
    for name in ("no", "yes"):
        (tmp_path / "kaggle" / name).mkdir(parents=True)
        for i in range(8):
            Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(tmp_path / "kaggle" / name / f"{i}.png")
    root = f"data_root={tmp_path / 'kaggle'}"
    assert call("plan", "brainmri_kaggle", root, "dataset.split_seed=1") == ""
    error = call("plan", "brainmri_kaggle", root, "dataset.patient_pattern=(?P<patient>.)")
    assert "dataset.patient_pattern has no effect" in error


def test_a_dataset_may_go_without_names_for_its_folder(call, tmp_path: Path) -> None:
    assert call("data check", "octdl", "dataset.folders=[]", f"cache={tmp_path / 'cache'}") == ""
    assert [path.name for path in (tmp_path / "cache" / "phantom").glob("*/octdl/*")] == ["octdl"]


def test_two_keys_that_both_say_what_is_abnormal_are_refused(call, tiny: Path) -> None:
    words = "dataset.mask_threshold=3", "dataset.mask_background=[0,255]"
    assert "both say which mask pixels are abnormal; give one" in call("plan", "brainmri", f"data_root={tiny}", *words)
