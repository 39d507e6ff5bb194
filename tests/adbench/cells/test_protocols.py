"""Training on the tested dataset, on others, and on several, from files on disk."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from adbench.backbone import chunks
from adbench.board import leaderboard, published
from adbench.cells import protocols
from adbench.cells.datamodule import DataModule
from adbench.cells.overlap import overlap
from adbench.cells.resolve import resolve
from adbench.config import words as config
from adbench.data.decode import read_image
from adbench.data.indexed import IndexedDataset
from adbench.data.items import DatasetConfig
from adbench.datasets.phantoms import write_bmad
from adbench.errors import AdbenchError
from adbench.plugins import sources
from adbench.records.record import read_all
from adbench.scoring.evaluate import evaluate
from adbench.scoring.score import score_images
from adbench.system.session import Session
from adbench.training import reuse, selection

QUICK = ("method.epochs=1", "method.views=11", "gallery=0", "input_size=56", "eval_size=56", "shots=2")
SMALL = ("--train", "15", "--valid", "4", "--test", "30")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drawn")
    for family in ("brainmri", "liverct", "resc", "oct17", "chestxray", "his"):
        write_bmad(family, root, train=3, valid=8, test=6)
    return root


def cell_of(root: Path, *words: str):
    (run,) = config.parse([f"data_root={root}", *words])
    return resolve(run)


def support_of(cell):
    return DataModule.of_cell(cell).support


def overlap_of(cell):
    data = DataModule.of_cell(cell)
    return overlap(data.test, data.learned_images())


def records(runs: Path) -> dict[str, dict]:
    found = [json.loads(path.read_text()) for path in runs.glob("*/record.json")]
    return {record["facts"]["dataset"]: record for record in found}


@pytest.mark.parametrize(
    ("method", "quick"),
    [("madclip", "method.views=11"), ("dra", "method.epoch_steps=2")],  # dra deletes what only its training needs
)
def test_cross_dataset_trains_once_for_a_row_of_targets(
    adbench, drawn: Path, tmp_path: Path, method: str, quick: str
) -> None:
    cache, runs = tmp_path / "cache", tmp_path / "runs"
    words = [
        "run",
        f"method={method}",
        "train_on=brainmri",
        f"data_root={drawn}",
        f"cache={cache}",
        f"runs={runs}",
        quick,
        *(word for word in QUICK if "views" not in word),
    ]
    answer = adbench(*words, "dataset=liverct,resc")
    assert answer.code == 0, answer.err
    liver, retina = records(runs)["liverct"], records(runs)["resc"]
    assert liver["protocol"] == retina["protocol"] == "cross_dataset"
    assert [liver["selection"]["training_reused"], retina["selection"]["training_reused"]] == [False, True]
    assert len(list((cache / "fits").glob("*.safetensors"))) == 1
    assert [(s["dataset"], s["split"], s["images"]) for s in liver["seen"]] == [("brainmri", "valid", 4)]
    assert all(name.startswith("valid/") for name in liver["support"]["normal"])
    shutil.rmtree(cache / "fits")
    assert adbench(*words, "dataset=resc", "force=true").code == 0
    fresh = records(runs)["resc"]
    assert fresh["selection"]["training_reused"] is False
    assert fresh["metrics"] == retina["metrics"]


def test_a_matrix_is_one_command_one_table_and_a_training_for_each_row(adbench, drawn: Path, tmp_path: Path) -> None:
    cache, runs, sets = tmp_path / "cache", tmp_path / "runs", ["brainmri", "liverct", "resc"]
    words = [
        "run", "method=patchcore", "protocol=cross_dataset", "train_on=bmad_masked", "dataset=bmad_masked", "shots=2",
        "gallery=0", "input_size=56", "eval_size=56", f"data_root={drawn}", f"cache={cache}", f"runs={runs}",
    ]  # fmt: skip
    answer = adbench(*words)
    assert answer.code == 0, answer.err
    assert answer.out.count("the diagonal of its matrix") == 1
    long = leaderboard.table(read_all(runs))
    image = long[(long["metric"] == "image_auroc") & (long["protocol"] == "cross_dataset")]
    assert sorted(zip(image["train_on"], image["dataset"], strict=True)) == [(a, b) for a in sets for b in sets]
    assert set(image["standing"]) == {"clean"}
    assert set(image["variant"]) == {"eval_size=56 input_size=56"}
    assert len(list((cache / "fits").glob("*.safetensors"))) == 3
    before = {file: file.stat().st_mtime_ns for file in (cache / "fits").glob("*.safetensors")}
    assert adbench(*words, "force=true").code == 0
    after = {file: file.stat().st_mtime_ns for file in (cache / "fits").glob("*.safetensors")}
    assert before.keys() == after.keys()
    assert all(after[file] > before[file] for file in before)  # force trains anew
    reused = [record.content["selection"]["training_reused"] for record in read_all(runs)]
    assert sorted(reused) == [False] * 3 + [True] * 6  # and once for a row


def test_a_published_matrix_has_its_diagonal() -> None:
    told = published.figures()
    told = told[(told["method"] == "mediclip") & (told["protocol"] == "cross_dataset")]
    sets = ["brainmri_kaggle", "busi", "chexpert"]
    assert sorted(zip(told["train_on"], told["dataset"], strict=True)) == [(a, b) for a in sets for b in sets]


def test_valid_never_looks_at_the_tested_dataset(adbench, drawn: Path, tmp_path: Path, monkeypatch) -> None:
    scored = []

    def spy(cell, method, images, **how):
        scored.append((images.dataset, {item.split for item in images.items}))
        return evaluate(cell, method, images, **how)

    monkeypatch.setattr(selection, "evaluate", spy)
    words = ["run", "method=madclip", "train_on=brainmri+oct17", "selection=valid", f"data_root={drawn}", *QUICK[:-1]]
    words += ["shots=1", f"cache={tmp_path / 'cache'}", f"runs={tmp_path / 'runs'}"]
    for dataset in ("liverct", "resc"):  # a cell alone runs in this process, where the spy is
        answer = adbench(*words, f"dataset={dataset}")
        assert answer.code == 0, answer.err
    assert scored == [("brainmri", {"valid"}), ("oct17", {"valid"})]
    liver, retina = records(tmp_path / "runs")["liverct"], records(tmp_path / "runs")["resc"]
    assert [(s["role"], s["dataset"], s["split"], s["images"]) for s in liver["seen"]] == [
        ("support", "brainmri", "valid", 2), ("support", "oct17", "valid", 2),
        ("selection", "brainmri", "valid", 4), ("selection", "oct17", "valid", 6),
    ]  # fmt: skip
    assert retina["selection"]["training_reused"] is True  # no image of a target decided anything
    assert retina["selection"]["curve"] == liver["selection"]["curve"]


def test_support_cv_scores_each_dataset_under_its_own_name(drawn: Path, monkeypatch) -> None:
    words = ["method=madclip", "train_on=brainmri+oct17", "dataset=liverct", "selection=support_cv", "method.epochs=1"]
    cell = cell_of(drawn, *words, "method.views=11", "input_size=56", "shots=1")  # two images of a class: enough
    scored = []

    def spy(method, images, dataset, object_name, *how):
        scored.append((dataset, object_name, len(images)))
        return score_images(method, images, dataset, object_name, *how)

    monkeypatch.setattr(selection, "score_images", spy)
    assert list(selection.cross_validate(cell, support_of(cell), torch.device("cpu"))) == [1]
    assert scored == [("brainmri", "Brain", 2), ("oct17", "retinal OCT", 2)]


def test_unified_learns_each_dataset_by_its_own_name(adbench, drawn: Path, tmp_path: Path) -> None:
    cell = cell_of(drawn, "method=madclip", "train_on=brainmri+liverct", "dataset=liverct", "shots=2")
    assert cell.protocol == "unified"
    support = support_of(cell)
    assert support.datasets == ("brainmri",) * 4 + ("liverct",) * 4
    assert support.object_names == ("Brain",) * 4 + ("Liver",) * 4
    assert support.ids[0].startswith("brainmri:valid/normal/")
    assert support.labels.tolist() == [0, 0, 1, 1] * 2
    assert torch.equal(support.masks.flatten(1).any(1), support.labels.bool())
    answer = adbench(
        "run", "method=madclip", "train_on=brainmri+liverct", "dataset=liverct", f"data_root={drawn}",
        f"runs={tmp_path / 'runs'}", *QUICK,
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert records(tmp_path / "runs")["liverct"]["facts"]["train_on"] == "brainmri+liverct"


def test_a_support_of_sets_with_and_without_masks(drawn: Path) -> None:
    cell = cell_of(drawn, "method=madclip", "train_on=oct17+brainmri", "dataset=resc", "shots=2", "input_size=56")
    support = support_of(cell)
    assert support.has_mask.tolist() == [False] * 4 + [True] * 4
    assert support.masks.flatten(1).any(1).tolist() == [False] * 6 + [True] * 2
    for start, source in zip((0, 4), cell.training_sets, strict=True):
        for place, item in enumerate(source.support, start):
            assert torch.equal(
                support.images[place].permute(1, 2, 0), torch.from_numpy(read_image(item.path, 56).copy())
            )
    plain = support_of(cell_of(drawn, "method=madclip", "dataset=oct17", "shots=2", "input_size=56")).masks
    assert plain.shape == (4, 56, 56)
    assert not plain.any()
    assert plain.untyped_storage().nbytes() == 1  # masks that aren't there take no memory
    nothing = support_of(cell_of(drawn, "method=clip", "dataset=oct17", "input_size=56"))
    assert (nothing.images.shape, nothing.masks.shape, nothing.ids) == ((0, 3, 56, 56), (0, 56, 56), ())
    assert nothing.labels.dtype == torch.int64


def test_leave_one_out_keeps_the_organ_out_and_as_published_does_not(drawn: Path, monkeypatch) -> None:
    words = ("method=madclip", "protocol=leave_one_out", "dataset=resc", "shots=2")
    clean = cell_of(drawn, *words)
    assert clean.notes[-1] == "oct17 shows the organ of resc (retina): not trained on."
    assert cell_of(drawn, *words, "train_on=his+brainmri").notes == ()
    with pytest.raises(AdbenchError, match=r"organ of resc \(retina\), and train_on=oct17\+brainmri names oct17"):
        cell_of(drawn, *words, "train_on=oct17+brainmri")
    blank = IndexedDataset("a", DatasetConfig("a", "a"), drawn, (), {}, True)
    monkeypatch.setattr(protocols, "open_dataset", lambda name, *_: dataclasses.replace(blank, name=name))
    monkeypatch.setattr(protocols, "training_set", lambda dataset, *_: dataset.name)
    (run,) = config.parse([*words, "train_on=his+brainmri"])
    found = protocols.training_sets(run, clean.capability, "leave_one_out", blank, Session())
    assert found == ("his", "brainmri")  # an organ that nobody names is no match
    monkeypatch.undo()
    published = cell_of(drawn, "method=madclip", "protocol=leave_one_out_published", "dataset=resc", "shots=2")
    assert {s.dataset.name for s in clean.training_sets} == {"brainmri", "liverct", "chestxray", "his"}
    assert {s.dataset.name for s in published.training_sets} == {"brainmri", "liverct", "chestxray", "his", "oct17"}
    assert {s.split for s in clean.training_sets} == {"valid"}
    assert {s.split for s in published.training_sets} == {"test"}


def test_full_normal_takes_every_normal_training_image(drawn: Path) -> None:
    cell = cell_of(drawn, "method=patchcore", "protocol=full_normal", "dataset=brainmri")
    assert cell.config.shots == "full"
    (source,) = cell.training_sets
    assert (source.split, len(source.support)) == ("train", 3)
    assert {item.label for item in source.support} == {0}


def test_a_copied_image_in_another_dataset_is_an_overlap(drawn: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(drawn, root)
    image = next((root / "Liver/test/good/img").iterdir())
    with Image.open(image) as picture:
        for file in (root / "Brain/valid/good/img").iterdir():
            picture.save(file, compress_level=9)  # other bytes, the same image
    words = ("method=madclip", "train_on=brainmri", "dataset=liverct")
    assert overlap_of(cell_of(root, *words, "shots=2")) == 2
    assert overlap_of(cell_of(drawn, *words, "shots=2")) == 0
    chosen_by = cell_of(root, *words, "shots=1", "selection=valid")
    normal = [item for item in chosen_by.holdouts[0].items if item.label == 0]
    assert overlap_of(chosen_by) == 1 + len(normal) > 1


def test_unified_and_full_takes_every_normal_training_image_of_all(drawn: Path) -> None:
    words = ("method=patchcore", "protocol=full_normal", "train_on=brainmri+liverct", "dataset=liverct")
    cell = cell_of(drawn, *words)
    assert (cell.protocol, cell.config.shots) == ("unified_full_normal", "full")
    assert [(s.dataset.name, s.split, len(s.support)) for s in cell.training_sets] == [
        ("brainmri", "train", 3), ("liverct", "train", 3),
    ]  # fmt: skip


def test_auxiliary_learns_from_real_anomalies_elsewhere(tmp_path: Path, adbench) -> None:
    root = tmp_path / "data"
    for name in ("mvtec", "busi"):
        assert adbench("data", "phantom", "--root", str(root), "--dataset", name, *SMALL).code == 0
    words = ["method=mediclip", "protocol=auxiliary", "train_on=mvtec", "dataset=busi", "shots=2"]
    cell = cell_of(root, *words, "method.anomalies=real")
    (source,) = cell.training_sets
    assert (cell.protocol, source.dataset.name, source.split) == ("auxiliary", "mvtec", "test")
    support = support_of(cell)
    assert support.labels.tolist() == [0, 0, 1, 1]
    assert support.masks.flatten(1).any(1).tolist() == [False, False, True, True]
    run = [
        "run",
        *words,
        f"data_root={root}",
        f"runs={tmp_path / 'runs'}",
        "input_size=56",
        "eval_size=56",
        "gallery=0",
    ]
    refused = adbench(*run)
    assert refused.code == 2
    assert "learns from normal images only" in refused.err
    assert adbench(*run, "method.anomalies=real", "method.epochs=1").code == 0
    (record,) = records(tmp_path / "runs").values()
    assert [(s["dataset"], s["split"], s["images"]) for s in record["seen"]] == [("mvtec", "test", 4)]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train_on=brainmri", "protocol=auxiliary", "method=patchcore"], "learns from normal images only"),
        (["train_on=brainmri+resc", "protocol=full_normal"], "learns from normal and abnormal images"),
        (["train_on=brainmri", "protocol=full_normal", "method=patchcore"], "resc is not among them"),
        (["protocol=auxiliary"], "needs the datasets to train on"),
        (["train_on=brainmri", "protocol=unified"], "resc is not among them"),
        (["train_on=resc+brainmri", "protocol=cross_dataset"], "resc is among them"),
        (["train_on=resc", "protocol=leave_one_out"], "resc is among them"),
        (["protocol=cross_dataset"], "train_on=brainmri"),
        (["train_on=brainmri", "protocol=few_shot"], "leave out train_on"),
        (["train_on=brian"], "unknown dataset 'brian'"),
        (["train_on=bmad_maskd"], "did you mean the group 'bmad_masked'"),
        (["train_on=zz*"], "matches nothing"),
        (["train_on=brainmri+brainmri"], "names a dataset twice"),
        (["train_on=brainmri", "method=clip"], "learns from no image"),
        (["protocol=full_normal"], "learns from normal and abnormal images"),
    ],
)
def test_what_a_protocol_cannot_do_is_one_sentence(adbench, drawn: Path, tmp_path: Path, words, says) -> None:
    answer = adbench("run", "dataset=resc", f"data_root={drawn}", f"runs={tmp_path / 'runs'}", *words)
    assert answer.code == 2
    assert says in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_a_damaged_shared_training_is_made_again(adbench, drawn: Path, tmp_path: Path) -> None:
    words = ["run", "method=madclip", "train_on=brainmri", "dataset=liverct", f"data_root={drawn}", *QUICK]
    words += [f"cache={tmp_path / 'cache'}", f"runs={tmp_path / 'runs'}"]
    assert adbench(*words).code == 0
    (file,) = (tmp_path / "cache" / "fits").glob("*.safetensors")
    content = file.read_bytes()
    for number, spoilt in enumerate([b"nonsense", content[:-1] + bytes([content[-1] ^ 1])], 4):
        file.write_bytes(spoilt)
        answer = adbench(*words, f"batch_size={number}")
        assert answer.code == 0, answer.err
        assert answer.err.count("warning") == 1
        assert f"{file} is damaged" in answer.err
        assert file.read_bytes() == content


def test_a_shared_training_is_of_one_code_on_one_kind_of_processor(drawn: Path, monkeypatch) -> None:
    words = ["method=madclip", "train_on=brainmri", "dataset=liverct", f"data_root={drawn}", *QUICK]
    cell, device = resolve(config.parse(words)[0]), torch.device("cpu")
    names = {reuse._name(cell, device)}
    monkeypatch.setattr(chunks, "machine", lambda: "another")
    names.add(reuse._name(cell, device))
    monkeypatch.setattr(sources, "of_harness", lambda: sources.Source("edited", 0))
    names.add(reuse._name(cell, device))
    assert len(names) == 3
