"""One result, one key: what changes no result is in no key, and what changes one is."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adbench.backbone.features import signature
from adbench.cells.cell import Cell
from adbench.cells.resolve import resolve
from adbench.config import layers
from adbench.config.words import parse
from adbench.data.items import DatasetConfig
from adbench.errors import AdbenchError
from adbench.plugins import registry
from adbench.system.session import Session

METHODS = layers.standalone()
# Keys that say where and how fast a cell runs, or what is drawn and printed of it.
NO_RESULT = {
    "device": ["cpu", "auto"],
    "runs": ["runs", "elsewhere"],
    "cache_gb": ["20", "5"],
    "feature_cache": ["auto", "disk", "memory", "off"],
    "features_gb": ["0", "8"],
    "force": ["false", "true"],
    "gallery": ["0", "3"],
    "executor": ["local"],
    "workers": ["1", "2"],
    "loader_workers": ["0", "1"],
    "logger": ["none", "csv"],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms of two datasets, small."""
    root = tmp_path_factory.mktemp("keys")
    for name in ("brainmri", "oct17"):
        config = layers.section(DatasetConfig, "dataset", name)
        dataset = registry.find("dataset", name).load()(name, config)
        dataset.draw_phantom(root, {"train": 4, "valid": 12, "test": 6})
    return root


SESSION = Session()


def cells(data: Path, *words: str) -> list[Cell]:
    shots = [] if any(word.startswith("shots=") for word in words) else ["shots=2"]
    return [resolve(config, SESSION) for config in parse([f"data_root={data}", *shots, *words])]


def outcome(cell: Cell) -> tuple[Any, ...]:
    """What decides the result of a cell: resolved parameters, backbone, data, support, effective seed and settings."""
    effective = 0 if not cell.capability.stochastic else cell.config.seed
    config = cell.config
    return (
        config.method, repr(dataclasses.asdict(cell.params)), cell.weights, cell.facts["model"],
        cell.facts["activation"], cell.facts["normalisation"], cell.input_size, cell.eval_size, cell.target.fingerprint,
        repr(cell.dataset.facets()), cell.manifest.hash, effective, config.precision,
        config.batch_size, config.selection, cell.protocol,
    )  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_equal_outcomes_have_equal_keys_over_all_presets_and_schedules(data: Path, method: str) -> None:
    yaml = layers.method_config(method)
    schedules = ["short", "paper"]
    presets = ["none", *yaml.get("presets", {})]
    found: dict[Any, set[str]] = {}
    keys: dict[str, set[Any]] = {}
    for schedule, preset, seed in itertools.product(schedules, presets, ("0", "7")):
        # The presets' backbones aren't on this machine: the settings are what is looked at.
        words = [f"method={method}", f"schedule={schedule}", f"preset={preset}", f"seed={seed}"]
        (cell,) = cells(data, *words, "backbone=phantom-clip", "input_size=112")
        found.setdefault(outcome(cell), set()).add(cell.key)
        keys.setdefault(cell.key, set()).add(outcome(cell))
    assert all(len(same) == 1 for same in found.values()), "one result, one key"
    assert all(len(same) == 1 for same in keys.values()), "one key, one result"


@pytest.mark.parametrize("method", ["clip", "winclip", "clip_normal", "clip_finetune", "crossmodal"])
def test_a_schedule_that_changes_nothing_is_no_other_cell(data: Path, method: str) -> None:
    one, other = (cells(data, f"method={method}", f"schedule={name}")[0] for name in ("short", "paper"))
    assert one.key == other.key


@settings(max_examples=40)
@given(choice=st.fixed_dictionaries({key: st.sampled_from(values) for key, values in NO_RESULT.items()}))
def test_where_and_how_a_cell_runs_is_in_no_key(data: Path, choice: dict[str, str]) -> None:
    (plain,) = cells(data, "method=patchcore")
    (cell,) = cells(data, "method=patchcore", *(f"{key}={value}" for key, value in choice.items()))
    assert cell.key == plain.key


@pytest.mark.parametrize(
    "word",
    [
        "method.neighbours=3", "draw=1", "shots=3", "seed=1", "batch_size=7", "precision=bf16-mixed",
        "input_size=96", "eval_size=99", "dataset=oct17", "dataset.object_name=knee", "dataset.mask_threshold=20",
        "backbone.weights=random", "protocol=full_normal", "deterministic=false", "compile=true",
    ],
)  # fmt: skip
def test_what_changes_a_result_changes_the_key(data: Path, word: str) -> None:
    (plain,), (cell,) = cells(data, "method=patchcore"), cells(data, "method=patchcore", word)
    assert cell.key != plain.key


def test_the_kernels_of_a_gpu_are_facts_only_where_they_are_not_the_usual_ones(data: Path) -> None:
    (usual,), (written,) = (
        cells(data, "method=patchcore", *more) for more in ((), ("deterministic=true", "compile=false"))
    )
    assert usual.key == written.key
    assert not {"deterministic", "compile"} & usual.facts.keys()
    (other,) = cells(data, "method=patchcore", "deterministic=false", "compile=true")
    assert (other.facts["deterministic"], other.facts["compile"]) == (False, True)
    assert signature(other.facts) != signature(usual.facts), "other kernels make other features"


def test_a_cnn_is_not_compiled(data: Path) -> None:
    with pytest.raises(AdbenchError, match=r"compile=true is not possible with backbone=resnet-18 \(kind cnn\)"):
        cells(data, "method=patchcore", "backbone=resnet-18", "backbone.weights=random", "compile=true")


@pytest.mark.parametrize(
    ("words", "note"),
    [
        (["method=clip", "seed=3"], "clip draws no random number here: seed is set to 0."),
        (["method=winclip", "seed=3"], "winclip draws no random number here: seed is set to 0."),
        (
            ["method=patchcore", "method.coreset=1", "seed=3"],
            "patchcore draws no random number here: seed is set to 0.",
        ),
        (["method=madclip", "method.epochs=5", "selection=fixed:5"], "selection=fixed:5 is the last epoch"),
        (["method=patchcore", "trainer.gradient_clip_val=1.0"], "no epochs: trainer.gradient_clip_val has no effect."),
        (["method=patchcore", "trainer.devices=2"], None),
        (["method=madclip", "trainer.log_every_n_steps=3"], None),
        (["method=madclip", "trainer.enable_progress_bar=true"], None),
        (["method=patchcore", "eval_size=method", "input_size=240"], None),
        (["method=clip", "dataset.support_split=train"], None),
        (["method=clip", "dataset.empty_masks=allow"], None),
    ],
)
def test_a_setting_without_effect_is_the_plain_cell(data: Path, words: list[str], note: str | None) -> None:
    plain = [word for word in words if word.startswith(("method", "input_size"))]
    (cell,), (same,) = cells(data, *words), cells(data, *plain)
    assert cell.key == same.key
    if note:
        assert any(note in text for text in cell.notes), cell.notes


def test_several_devices_are_another_cell_only_where_something_is_trained(data: Path) -> None:
    for method, same in (("clip", True), ("madclip", False)):
        (one,), (two,) = cells(data, f"method={method}"), cells(data, f"method={method}", "trainer.devices=2")
        assert (one.key == two.key) is same
    (seed,), (other) = cells(data, "method=patchcore", "seed=0"), cells(data, "method=patchcore", "seed=1")[0]
    assert seed.key != other.key, "a coreset below 1 begins at a random row"


@pytest.mark.parametrize(
    "word",
    [
        "devices=1", "accumulate_grad_batches=1", "accumulate_grad_batches=1.0", "benchmark=false", "benchmark=null",
        "min_epochs=null", "min_epochs=0", "min_steps=null", "max_steps=-1", "gradient_clip_val=null",
        "gradient_clip_val=0.0", "gradient_clip_algorithm=norm", "limit_train_batches=null", "limit_train_batches=1.0",
        "sync_batchnorm=false", "plugins=null",
    ],
)  # fmt: skip
def test_a_trainer_key_at_its_default_is_the_cell_without_it(data: Path, word: str) -> None:
    (plain,), (cell,) = cells(data, "method=madclip"), cells(data, "method=madclip", f"trainer.{word}")
    assert cell.key == plain.key


@pytest.mark.parametrize(
    "word",
    [
        "accumulate_grad_batches=2", "benchmark=true", "min_epochs=1", "min_steps=1", "max_steps=0", "max_steps=1",
        "gradient_clip_val=1", "gradient_clip_algorithm=value", "limit_train_batches=1", "limit_train_batches=0.5",
        "sync_batchnorm=true",
    ],
)  # fmt: skip
def test_a_trainer_key_that_changes_a_training_is_another_cell(data: Path, word: str) -> None:
    (plain,), (cell,) = cells(data, "method=madclip"), cells(data, "method=madclip", f"trainer.{word}")
    assert cell.key != plain.key


def test_a_whole_number_is_the_same_cell_however_it_is_written(data: Path) -> None:
    for key, one, other in (("gradient_clip_val", "2", "2.0"), ("limit_train_batches", "3", "3.0")):
        (first,), (second,) = (cells(data, "method=madclip", f"trainer.{key}={text}") for text in (one, other))
        assert first.key == second.key


def test_without_deterministic_kernels_the_default_of_benchmark_is_true(data: Path) -> None:
    (plain,), (given,), (off,) = (
        cells(data, "method=madclip", "deterministic=false", *more)
        for more in ((), ("trainer.benchmark=true",), ("trainer.benchmark=false",))
    )
    assert plain.key == given.key != off.key
