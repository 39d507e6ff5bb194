from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from adbench.cells.cell import TrainingSet
from adbench.cells.datamodule import DataModule
from adbench.cells.holdout import folds
from adbench.cells.resolve import resolve
from adbench.config import words as config
from adbench.data.indexed import IndexedDataset
from adbench.data.items import DatasetConfig, Item
from adbench.data.support import nothing
from adbench.errors import AdbenchError
from adbench.method import Method
from adbench.training import selection
from adbench.training.fit import fit
from adbench.training.selection import rows

QUICK = ("method.epochs=3", "method.views=11", "gallery=0", "input_size=56", "eval_size=56", "shots=2")


@pytest.fixture
def train(adbench, tiny: Path, tmp_path: Path):
    """Run madclip for three epochs on the tiny set and return its record."""

    def run(*words: str) -> dict:
        given = dict(word.split("=") for word in (*QUICK, *words))
        given |= {"method": "madclip", "data_root": tiny, "runs": tmp_path / "runs"}
        answer = adbench("run", *(f"{key}={value}" for key, value in given.items()))
        assert answer.code == 0, answer.err
        return [json.loads(p.read_text()) for p in (tmp_path / "runs").glob("*/record.json")]

    return run


def only(records: list[dict], rule: str) -> dict:
    (found,) = (record for record in records if record["selection"]["rule"] == rule)
    return found


def test_oracle_is_never_worse_than_last_by_its_own_yardstick_and_keeps_both(train) -> None:
    train()
    records = train("selection=oracle")
    last, oracle = only(records, "last"), only(records, "oracle")
    curve = oracle["selection"]["curve"]
    assert list(curve) == ["1", "2", "3"]
    assert [(s["role"], s["split"], s["images"]) for s in oracle["seen"]] == [
        ("support", "valid", 4),
        ("selection", "test", 10),
    ]
    assert [(s["role"], s["split"]) for s in last["seen"]] == [("support", "valid")]
    assert oracle["selection"]["last"] == last["metrics"]  # looking at every epoch left no trace in the training
    best = oracle["metrics"]["image_auroc"] + oracle["metrics"]["pixel_auroc"]
    assert best == pytest.approx(max(curve.values()), abs=1e-12)
    assert curve[str(oracle["selection"]["epoch"])] == max(curve.values())


def test_fixed_is_the_training_cut_short(train) -> None:
    train("method.epochs=2")
    records = train("selection=fixed:2")
    assert only(records, "fixed:2")["metrics"] == only(records, "last")["metrics"]
    assert only(records, "fixed:2")["selection"]["epoch"] == 2


def test_valid_uses_neither_the_support_nor_its_patients(train, tiny: Path) -> None:
    (run,) = config.parse(["method=madclip", f"data_root={tiny}", "selection=valid", "shots=1"])
    cell = resolve(run)
    (held,) = cell.holdouts
    assert {item.label for item in held.items} == {0, 1}
    assert not {item.patient for item in held.items} & {item.patient for item in cell.training_sets[0].support}
    assert {item.split for item in held.items} == {"valid"}
    record = only(train("selection=valid", "shots=1"), "valid")
    assert len(record["selection"]["curve"]) == 3
    assert [(s["role"], s["split"], s["images"]) for s in record["seen"]] == [
        ("support", "valid", 2),
        ("selection", "valid", 6),
    ]


def test_support_cv_scores_each_support_image_by_a_fit_that_did_not_see_it(train, tiny: Path) -> None:
    record = only(train("selection=support_cv"), "support_cv")
    assert len(record["selection"]["curve"]) == 3
    assert record["selection"]["epoch"] in (1, 2, 3)
    (run,) = config.parse(["method=madclip", f"data_root={tiny}", "shots=4"])
    cell = resolve(run)
    support = DataModule.of_cell(cell).support
    fold = folds(cell.training_sets, "madclip")
    assert set(fold) == {0, 1}  # two patients of each class
    for number in (0, 1):
        assert set(support.labels[torch.from_numpy(fold == number)].tolist()) == {0, 1}
    patients = np.array([item.patient for item in cell.training_sets[0].support])
    assert not set(patients[fold == 0]) & set(patients[fold == 1])
    part = rows(support, fold == 0)
    assert len(part) == len(part.ids) == int((fold == 0).sum())
    assert part.ids == tuple(np.array(support.ids)[fold == 0])


def test_a_fold_of_support_cv_holds_no_training_data_once_it_is_over(tiny: Path, monkeypatch) -> None:
    (run,) = config.parse(["method=madclip", f"data_root={tiny}", "selection=support_cv", *QUICK])
    cell, fitted = resolve(run), []

    def fit_and_note(method: Method, *rest: Any) -> None:
        fit(method, *rest)
        assert isinstance(method.data, Dataset)
        fitted.append(method)

    monkeypatch.setattr(selection, "fit", fit_and_note)
    selection.cross_validate(cell, DataModule.of_cell(cell).support, torch.device("cpu"))
    assert len(fitted) == 2
    assert not any(isinstance(value, Dataset) for method in fitted for value in vars(method).values())


def source_of_people(*people: str) -> tuple[TrainingSet, ...]:
    """A support in words, as in `n:A a:B`: a normal image of patient A and an abnormal one of B."""
    items = [
        Item(f"valid/{i}", "valid", "na".index(word[0]), Path(f"{i}.png"), patient=word[2:] or None)
        for i, word in enumerate(people)
    ]
    opened = IndexedDataset("x", DatasetConfig("x", "x"), Path(), tuple(items), {}, False)
    return (TrainingSet(opened, "valid", tuple(items), nothing()),)


@pytest.mark.parametrize(
    ("people", "expected"),
    [
        ("n: n: a: a:", [0, 1, 0, 1]),
        ("n:A n:C a:A a:B", [0, 1, 0, 1]),  # C must not follow A
        ("n:A n:E a:A a:B a:C a:D a:E", [0, 1, 0, 2, 3, 0, 1]),  # A and E apart
        ("n:A n:A n:A n:B n:C n:D n:E a:F a:G", [0, 0, 0, 1, 2, 3, 1, 0, 1]),
    ],
)
def test_folds_keep_patients_together_and_leave_both_classes_to_learn_from(people: str, expected: list[int]) -> None:
    sources = source_of_people(*people.split())
    found = folds(sources, "madclip")
    assert found.tolist() == expected
    labels = np.array([item.label for item in sources[0].support])
    assert all(set(labels[found != fold]) == {0, 1} for fold in set(found))


@pytest.mark.parametrize(
    ("people", "left"), [("n:A n:A a:B a:C", "0 and 1"), ("n: a:", "0 and 0"), ("n:A n:B a:C", "1 and 0")]
)
def test_folds_that_would_leave_no_image_of_a_class_are_refused(people: str, left: str) -> None:
    with pytest.raises(AdbenchError, match=f"support_cv is not possible for madclip: .* {left} are left to learn from"):
        folds(source_of_people(*people.split()), "madclip")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["selection=best"], "selection=best is not possible"),
        (["selection=fixed:0"], "selection=fixed:0 is not possible"),
        (["selection=fixed:99"], "madclip runs 3 epochs"),
        (["selection=valid", "shots=5"], "0 normal and 0 abnormal are left"),
        (["selection=support_cv", "shots=1"], "0 and 0 are left to learn from"),
        (["selection=support_cv", "method=mediclip"], "it learns from normal images only"),
    ],
)
def test_impossible_rules_are_named_before_anything_runs(adbench, tiny: Path, tmp_path: Path, words, says) -> None:
    quick = [word for word in QUICK if not word.startswith(("shots", "method.views"))] + ["shots=2"] * (len(words) == 1)
    answer = adbench("run", f"data_root={tiny}", f"runs={tmp_path / 'runs'}", *quick, *words)
    assert answer.code == 2
    assert says in answer.err
    assert not (tmp_path / "runs").exists()


def test_methods_without_epochs_have_nothing_to_select(tiny: Path) -> None:
    (run,) = config.parse(["method=patchcore", f"data_root={tiny}", "selection=oracle", "shots=2"])
    cell = resolve(run)
    assert cell.config.selection == "last"
    assert any("no epochs" in note for note in cell.notes)


def test_the_leaderboard_keeps_the_leak_apart(adbench, train, tmp_path: Path) -> None:
    train()
    train("selection=oracle")
    answer = adbench("leaderboard", tmp_path / "runs", "--markdown")
    honest, leaked = answer.out.split("epoch chosen on the test split (a leak)")
    assert "| madclip |" in honest.replace("  ", " ")
    assert "| madclip |" in leaked.replace("  ", " ")


@pytest.mark.parametrize("words", [["selection=fixed:1"], ["operating=support_cv"], ["selection=support_cv"]])
def test_a_training_that_may_not_end_early_is_refused_where_it_has_to(adbench, tiny: Path, words: list[str]) -> None:
    answer = adbench("run", "method=madclip", f"data_root={tiny}", *QUICK, "trainer.min_epochs=3", *words)
    assert answer.code == 2
    assert f"trainer.min_epochs is not possible with {words[0]}" in answer.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["trainer.min_epochs=99"], "trainer.min_epochs=99 is not possible: 3 epochs are run"),
        (["operating=support_cv", "trainer.min_epochs=2"], "trainer.min_epochs is not possible with operating=support"),
        (["operating=support_cv", "trainer.min_epochs=0"], ""),
    ],
)
def test_a_rule_that_is_settled_skips_no_check(tiny: Path, words: list[str], says: str) -> None:
    for rule in ([], ["selection=fixed:3"]):
        (run,) = config.parse(["method=madclip", "shots=4", f"data_root={tiny}", "method.epochs=3", *words, *rule])
        if says:
            with pytest.raises(AdbenchError, match=says):
                resolve(run)
        else:
            assert resolve(run).config.selection == "last"


def test_the_last_epoch_by_its_number_is_settled_only_where_no_training_ends_before(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "bank.py").write_text(BANK)
    for words, rule in (
        (["method=madclip"], "last"),
        (["method=madclip", "trainer.max_steps=-1"], "last"),
        (["method=madclip", "trainer.max_steps=1"], "fixed:3"),
        ([f"method={tmp_path}/bank.py:Bank"], "fixed:3"),
    ):
        (run,) = config.parse([*words, "method.epochs=3", "selection=fixed:3", "shots=2", f"data_root={tiny}"])
        assert resolve(run).config.selection == rule


def test_the_epoch_is_that_which_was_run(train) -> None:
    (record,) = train("trainer.max_steps=1")
    assert record["selection"]["epoch"] == 1


def test_a_memory_of_another_size_in_each_epoch_is_loaded(adbench, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "bank.py").write_text(BANK)
    words = [f"method={tmp_path}/bank.py:Bank", "selection=valid", "shots=1", f"data_root={tiny}", "gallery=0"]
    answer = adbench("run", *words, f"runs={tmp_path / 'runs'}", "input_size=56", "eval_size=56")
    assert answer.code == 0, answer.err


BANK = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from dataclasses import dataclass
from adbench import Capability, Method, Scores


@dataclass
class Params:
    epochs: int = 3


class Bank(Method[Params]):
    # Keeps one image more after each epoch.

    @classmethod
    def capability(cls, params, architecture):
        return Capability(support="both", pooled=True, maps=False, epochs=params.epochs)

    def build(self):
        self.layer = nn.Linear(self.backbone.architecture.embed_dim, 1)
        self.register_buffer("bank", torch.empty(0, 0))

    def prepare(self, support):
        self.pooled, self.built = self.encode(support.images).pooled.float(), 0
        self.rows = TensorDataset(self.pooled, support.labels.float())

    def train_dataloader(self):
        return DataLoader(self.rows, 4, shuffle=True, generator=self.generator("order"))

    def training_step(self, batch, _):
        return nn.functional.binary_cross_entropy_with_logits(self.layer(batch[0])[:, 0], batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 1e-3)

    def build_memory(self, support):
        self.built += 1
        self.bank = self.pooled[: min(self.built, len(self.pooled))].clone()

    @torch.no_grad()
    def score(self, batch):
        return Scores(torch.cdist(batch.features.pooled.float(), self.bank).amin(1))
"""


STOPPING = """
    def on_train_epoch_end(self):
        # A fold of a cross-validation ends after epoch 2, a training with the whole support after epoch {whole}.
        self.trainer.should_stop = self.current_epoch + 1 >= ({whole} if len(self.rows) == {images} else 2)
"""


@pytest.mark.parametrize(
    ("rule", "whole", "says"),
    [
        ("last", 1, ""),
        ("fixed:1", 2, ""),
        ("fixed:3", 2, "the training of Bank ended after epoch 2, and selection=fixed:3 scores epoch 3"),
        ("fixed:5", 2, "the training of Bank ended after epoch 2, and selection=fixed:5 scores epoch 5"),
        ("support_cv", 3, ""),
    ],
)
def test_a_method_that_ends_its_training_by_itself(
    adbench, tiny: Path, tmp_path: Path, rule: str, whole: int, says: str
) -> None:
    (tmp_path / "bank.py").write_text(BANK + STOPPING.format(whole=whole, images=4))
    words = [f"method={tmp_path}/bank.py:Bank", f"selection={rule}", "shots=2", f"data_root={tiny}", "gallery=0"]
    words += ["method.epochs=5"]
    answer = adbench("run", *words, f"runs={tmp_path / 'runs'}", "input_size=56", "eval_size=56")
    if says:
        assert answer.code == 2
        assert says in answer.err
        assert not list((tmp_path / "runs").glob("*/record.json"))
        return
    assert answer.code == 0, answer.err
    (record,) = [json.loads(file.read_text()) for file in (tmp_path / "runs").glob("*/record.json")]
    assert record["selection"]["epoch"] <= min(whole, 2)
    assert adbench("verify", tmp_path / "runs").code == 0
    if rule == "support_cv":
        assert list(record["selection"]["curve"]) == ["1", "2"]


def test_figures_of_the_oracle_never_stand_without_their_caveat(adbench, train, tiny: Path, tmp_path: Path) -> None:
    train("selection=oracle")
    (record,) = (tmp_path / "runs").glob("*/record.json")
    words = [*QUICK, "method=madclip", f"data_root={tiny}", f"runs={tmp_path / 'runs'}"]
    leak = "epoch chosen on the test split (a leak)"
    run, show = adbench("run", *words, "selection=oracle"), adbench("show", record.parent)
    assert f"warning: {leak}" in run.out
    assert "last epoch   image AUROC " in run.out
    assert leak in show.out
    assert "image_auroc_last" in show.out
    assert "fixed without the test split" not in show.out
    sweep = adbench("run", *words, "selection=oracle,last")
    assert f"warning: 1 of 2 records: {leak}" in sweep.out
    assert leak not in adbench("run", *words).out
