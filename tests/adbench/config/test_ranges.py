"""Every number that a user can set, with values that are none, too large, too small, or of another kind."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from adbench.backbone.weights import BackboneConfig
from adbench.cells.resolve import check_config
from adbench.config import ranges
from adbench.config.layers import standalone
from adbench.config.schema import RunConfig, check_name
from adbench.config.trainer import REFUSED
from adbench.config.words import defaults, parse
from adbench.data.indexed import dataset_config
from adbench.data.items import DatasetConfig
from adbench.errors import AdbenchError
from adbench.plugins import registry
from adbench.system.session import Session

ODD = (
    ".nan", "inf", ".inf", "-1", "0", "1e3", "0.5", "1e400", str(10**9), str(10**30), f"-{10**30}", "9" * 5000, "many",
    "true", "", "[1,2]", "{a: 1}", "[" * 2000, "!!python/name:os.system", "²",
)  # fmt: skip
IMPOSSIBLE = ("inf", ".inf", ".nan", "-1", str(10**30), f"-{10**30}", "9" * 5000, "many")
SESSION = Session()
METHODS = tuple(name for name in standalone() if not registry.entries("method")[name].foreign)


def is_number(text: object) -> bool:
    return isinstance(text, str) and any(kind in text for kind in ("int", "float"))


def keys_of(schema: Any) -> list[str]:
    return [f.name for f in dataclasses.fields(schema) if is_number(f.type)]


RUN = [*keys_of(RunConfig), "eval_size"]
TRAINER = [
    *ranges.OF_TRAINER,
    *REFUSED,
]
METHOD = [(name, key) for name in METHODS for key in keys_of(registry.find("method", name).load().Params)]


def answer_to(*words: str) -> str:
    """Return what is said about words before any data is opened; empty where they are taken."""
    try:
        for config in parse(words):
            checked = check_config(config, SESSION)
            dataset_config(config.dataset, config.words("dataset"))
            for one in dataclasses.asdict(checked.config).values():  # what is taken is a number that can be used
                assert not isinstance(one, float) or math.isfinite(one)
    except AdbenchError as error:
        return str(error) if error.exit_code == 2 else f"exit code\n{error.exit_code}"
    return ""


@pytest.mark.parametrize("key", RUN)
def test_numbers_of_a_run(key: str) -> None:
    for text in ODD:
        if key == "draw" and text == str(10**9):
            continue
        said = answer_to("method=madclip", f"{key}={text}")
        assert "\n" not in said
        assert len(said) < 700
        if key in ranges.OF_RUN and text in IMPOSSIBLE:
            assert said, f"{key}={text[:20]}"
        if said:
            assert key in said or text[:20] in said, said


@pytest.mark.parametrize("section", ["dataset", "backbone", "trainer"])
def test_numbers_of_a_section(section: str) -> None:
    keys = {"dataset": keys_of(DatasetConfig), "backbone": keys_of(BackboneConfig), "trainer": TRAINER}[section]
    assert len(keys) >= 2
    for key in keys:
        for text in ODD:
            said = answer_to("method=madclip", "dataset=folder", f"{section}.{key}={text}")
            assert "\n" not in said
            assert len(said) < 700, said
            if text in (".nan", ".inf", f"-{10**30}", "many") and key not in (
                "expected",
                "categories",
                "intensity_range",
            ):
                assert said, f"{section}.{key}={text}"


HUGE_RATES = (("learning_rate", str(10**9)), ("learning_rate", str(10**30)))  # senseless, and end in a loss of NaN


@pytest.mark.parametrize(("method", "key"), METHOD)
def test_numbers_of_a_method(method: str, key: str) -> None:
    for text in (".nan", ".inf", "-1", "0", "0.5", "1e3", str(10**9), str(10**30), f"-{10**30}", "9" * 5000, "many"):
        said = answer_to(f"method={method}", f"method.{key}={text}")
        assert "\n" not in said
        assert len(said) < 700, said
        if text not in ("0", "0.5", "1e3") and (key, text) not in HUGE_RATES:
            assert said, f"method.{key}={text[:20]} of {method}"


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("cache_gb=inf", "cache_gb=inf is not possible: at least 0 is needed, and at most 1000000."),
        ("seed=4294967296", "seed=4294967296 is not possible: at least 0 is needed, and at most 4294967295."),
        ("cores=100000", "cores=100000 is not possible: at least 1 is needed, and at most 512."),
        ("batch_size=0", "batch_size=0 is not possible: at least 1 is needed"),
        ("batch_size=1000000000", "at most 65536"),
        ("workers=1000000", "at most 1024"),
        ("loader_workers=1000", "at most 256"),
        ("gallery=-1", "gallery=-1 is not possible: at least 0"),
        ("input_size=1", "input_size=1 is smaller than one patch of phantom-clip: at least 14 pixels."),
        ("input_size=1000000", "at most 8192"),
        ("eval_size=0", "eval_size=0 is not possible: at least 1"),
        ("eval_size=²", "eval_size="),
        ("selection=fixed:" + "9" * 5000, "is not possible"),
        ("method.epochs=-1", "method.epochs=-1 is not possible: at least 0 is needed"),
        ("dataset.split_seed=-1", "dataset.split_seed=-1 is not possible: at least 0"),
        ("dataset.mask_threshold=-1", "dataset.mask_threshold=-1 is not possible"),
        ("dataset.split_shares=[.nan,.nan,.nan]", "three shares of train, valid and test are needed"),
        ("backbone.seed=4294967296", "backbone.seed=4294967296 is not possible"),
        ("backbone.input_size=3", "backbone.input_size=3 is smaller than one patch"),
        ("trainer.max_time=00:00:00:02", "trainer.max_time is not possible: a result may not depend on the speed of a"),
        ("trainer.fast_dev_run=true", "trainer.fast_dev_run is not possible: use method.epochs=1."),
        (
            "trainer.limit_test_batches=1",
            "trainer.limit_test_batches is not possible: adbench validates and tests without",
        ),
        ("trainer.limit_train_batches=0", "trainer.limit_train_batches=0 leaves nothing to learn from"),
        ("trainer.accumulate_grad_batches=null", "trainer.accumulate_grad_batches=null is not possible: a number, at"),
        ("trainer.max_steps=null", "trainer.max_steps=null is not possible: a number, at least -1 is needed"),
        ("trainer.detect_anomaly=x", 'trainer.detect_anomaly="x" is not possible: true or false is needed.'),
        ("method.epochs=3 trainer.min_epochs=9", "trainer.min_epochs=9 is not possible: 3 epochs are run"),
        ("trainer.gradient_clip_val=.nan", "trainer.gradient_clip_val=nan is not possible: at least 0 is needed"),
        ("trainer.limit_train_batches=-1", "trainer.limit_train_batches=-1 is not possible"),
    ],
)
def test_one_sentence_names_the_key_the_value_and_what_is_allowed(word: str, says: str) -> None:
    assert says in answer_to("method=madclip", "dataset=folder", *word.split())


def test_the_ends_of_a_range_are_allowed_and_the_defaults_within() -> None:
    assert ranges.Range(0, 2) != ranges.Range(0, 2, above=True)
    assert [number in ranges.Range(0, 2) for number in (-1, 0, 2, 3, math.nan)] == [False, True, True, False, False]
    assert 0 not in ranges.Range(0, 2, above=True)
    ranges.check(defaults(), ranges.OF_RUN)
    assert set(ranges.OF_RUN) == set(keys_of(RunConfig))


def test_the_options_of_phantoms_have_ranges(adbench: Any, tmp_path: Path) -> None:
    answer = adbench("data", "phantom", "--root", tmp_path / "x", "--train", 10**9)
    assert answer.code == 2
    assert (
        "--train 1000000000 is not possible: a whole number of at least 0 is needed, and at most 1000000" in answer.err
    )


def test_the_command_ends_with_2_and_no_folder(adbench: Any, tmp_path: Path) -> None:
    answer = adbench("run", "method=clip", "cores=100000", f"runs={tmp_path / 'runs'}")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("adbench: cores=100000 is not possible")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("text", ["a" * 256, "runs/\0", "a\x1b[31m", "x/" * 2500])
def test_names_that_no_file_system_takes(text: str) -> None:
    with pytest.raises(AdbenchError, match="^runs="):
        check_name("runs", text)
    check_name("runs", "größe/記録 1")
    check_name("runs", None)
