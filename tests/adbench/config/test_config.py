from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from adbench.config import layers
from adbench.config import words as config
from adbench.config.schema import cache_folder
from adbench.errors import AdbenchError
from adbench.plugins import registry


def test_run_yaml_gives_every_key_and_no_other() -> None:
    assert set(config.defaults()) == set(config.KEYS)


def test_words_are_typed() -> None:
    (run,) = config.parse(["shots=4", "feature_cache=off", "cache_gb=2", "input_size=112", "eval_size=method"])
    assert (run.shots, run.feature_cache, run.cache_gb, run.input_size, run.eval_size) == (4, "off", 2.0, 112, "method")


def test_commas_are_axes_in_the_order_given() -> None:
    runs = config.parse(["method=clip,madclip", "shots=2,4"])
    assert [(r.method, r.shots) for r in runs] == [("clip", 2), ("clip", 4), ("madclip", 2), ("madclip", 4)]


def test_a_list_in_a_section_is_one_value() -> None:
    (run,) = config.parse(["method.prompts.normal=['healthy {}', '{} without a lesion']"])
    assert run.overrides == {"method": {"prompts.normal": ["healthy {}", "{} without a lesion"]}}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["shot=4"], "unknown key 'shot': did you mean 'shots'"),
        (["method=madclp"], "unknown method 'madclp': did you mean 'madclip'"),
        (["dataset=brainmr"], "unknown dataset 'brainmr': did you mean 'brainmri'"),
        (["backbone=phantomclip"], "did you mean 'phantom-clip'"),
        (["shots=four"], "shots"),
        (["draw=0-2"], "draw=0-2 is not possible: give whole numbers with commas, draw=0,1,2."),
        (["seed=0..20"], "seed=0..20 is not possible: give whole numbers with commas, seed=0,1,2,...,20."),
        (["shots=1:3"], "shots=1:3 is not possible: give whole numbers with commas, shots=1,2,3."),
        (["shots=-1"], "at least 0"),
        (["cores=0"], "at least 1"),
        (["feature_cache=true"], "is no value any more: write feature_cache=auto, or feature_cache=disk, which"),
        (["feature_cache=False"], "feature_cache=False is no value any more: write feature_cache=off."),
        (["feature_cache=disc"], "did you mean 'disk'"),
        (["loader_workers=-1"], "at least 0"),
        (["schedule=long"], "schedule=long"),
        (["selection=best"], "allowed: fixed:N, last, oracle, support_cv, valid"),
        (["eval_size=big"], "eval_size=big"),
        (["preset=fast"], "fast"),
        (["shots"], "is not key=value"),
        (["shots="], "shots"),
        (["shots=,"], "a value is missing"),
        (["seed=1", "seed=2"], "given twice"),
        (["method.prompts.normal=[healthy {}]"], "quote what holds braces"),
        (["model.x=1"], "a dotted key starts with"),
    ],
)
def test_bad_words_are_one_sentence(words: list[str], says: str) -> None:
    with pytest.raises(AdbenchError, match=".+") as caught:
        for run in config.parse(words):
            if run.preset != "none":
                layers.preset(run.method, run.preset)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_paper_preset_sets_what_the_paper_used_and_words_win() -> None:
    (run,) = config.parse(["method=madclip", "preset=paper"])
    assert (run.backbone, run.input_size, run.schedule, run.precision) == ("ViT-L-14-336", 240, "paper", "16-mixed")
    (run,) = config.parse(["method=madclip", "preset=paper", "precision=32-true"])
    assert (run.input_size, run.precision) == (240, "32-true")


def test_the_value_of_one_cell_among_many_and_that_of_a_preset_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AdbenchError, match="seed=-1 is not possible: at least 0"):
        config.parse(["shots=4,8", "dataset=bmad", "seed=0,1,-1"])
    with pytest.raises(AdbenchError, match="gallery=0 makes none"):
        config.parse(["seed=0,1", "gallery_levels=true", "gallery=0"])
    monkeypatch.setattr(config, "preset", lambda method, name: {"batch_size": 0})
    with pytest.raises(AdbenchError, match="batch_size=0 is not possible: at least 1"):
        config.parse(["preset=paper", "seed=0,1"])
    assert [run.batch_size for run in config.parse(["preset=paper", "batch_size=2,4"])] == [2, 4]


def test_the_schedule_changes_the_parameters_and_words_win() -> None:
    from adbench.methods.madclip.method import Params

    def epochs(*words: str) -> int:
        (run,) = config.parse(["method=madclip", *words])
        return int(layers.method_params(Params, run.method, run.schedule, run.words("method")).epochs)

    assert epochs("schedule=paper") == 60
    assert epochs() < 60
    assert epochs("schedule=paper", "method.epochs=3") == 3


@dataclass
class Inner:
    words: list[str] = field(default_factory=list)


@dataclass
class Outer:
    rate: float = 0.1
    inner: Inner = field(default_factory=Inner)


@pytest.mark.parametrize(
    ("over", "says"),
    [({"rat": 1}, "did you mean 'rate'"), ({"rate": "fast"}, "rate"), ({"inner": {"word": ["a"]}}, "inner.word")],
)
def test_merge_names_the_key(over: dict[str, object], says: str) -> None:
    with pytest.raises(AdbenchError, match="thing") as caught:
        layers.merge(Outer, {}, over, "thing")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("method", "key", "value", "says"),
    [
        ("mvfa", "batch_size", 0, "at least 1"),
        ("tgumiad", "epochs", -1, "at least 0"),
        ("tgumiad", "weight_decay", -0.1, "at least 0"),
        ("madclip", "context_length", 0, "at least 1"),
        ("april_gan", "learning_rate", 0.0, "more than 0"),
        ("crossmodal", "learning_rate", "nan", "more than 0"),
    ],
)
def test_numbers_that_every_method_reads_alike_have_a_least_value(
    method: str, key: str, value: object, says: str
) -> None:
    (run,) = config.parse([f"method={method}", f"method.{key}={value}"])
    with pytest.raises(AdbenchError, match=rf"method\.{key}={value} is not possible: {says} is needed"):
        layers.method_params(
            registry.find("method", method).load().Params, run.method, run.schedule, run.words("method")
        )


def test_a_parameter_at_its_least_value_is_taken_and_other_types_are_left_alone() -> None:
    @dataclass
    class Params:
        epochs: int = 0
        batch_size: int = 1
        learning_rate: str = "cosine"

    assert layers.merge_params(Params, {}, "short", {}, "thing") == Params()


def test_damaged_yaml_is_one_sentence(tmp_path) -> None:
    (tmp_path / "x.yaml").write_text("a: b: c")
    with pytest.raises(AdbenchError, match="not readable YAML"):
        layers.load_yaml(tmp_path / "x.yaml")


def test_a_path_below_the_home_folder_is_spelt_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    (run,) = config.parse(["runs=~/x", "cache=~/c", "data_root=~/d", "support=~/s.txt"])
    assert (run.runs, run.cache, run.data_root, run.support) == (
        "/home/me/x",
        "/home/me/c",
        "/home/me/d",
        "/home/me/s.txt",
    )
    (plain,) = config.parse([])
    assert (plain.runs, plain.cache, plain.data_root) == ("runs", None, "phantom")


@pytest.mark.parametrize("name", ["/dev/zero", "pipe", "large.yaml", "nested.yaml"])
def test_yaml_without_an_end_is_one_sentence(tmp_path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "nested.yaml").write_text("a: " + "[" * 5000)
    with (tmp_path / "large.yaml").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(AdbenchError, match="is not readable YAML: ."):
        layers.load_yaml(tmp_path / name)


def test_numbers_are_decimal_and_text_stays_as_it_is_typed() -> None:
    assert [c.draw for c in config.parse(["draw=008,009,010,011"])] == [8, 9, 10, 11]
    (run,) = config.parse(["shots=010", "batch_size=032", "eval_size=0240", "runs=2024_01", "support=001", "cores=02"])
    assert (run.shots, run.batch_size, run.eval_size, run.runs, run.support, run.cores) == (
        10, 32, "240", "2024_01", "001", 2,
    )  # fmt: skip
    for text in ("no", "1e3", "1.10", "007", "a: b", "${x}", "[a]"):
        assert config.parse([f"runs={text}"])[0].runs == text
        assert config.parse([f'runs="{text}"'])[0].runs == text, "quotes of YAML are none of the folder's name"
    (run,) = config.parse(["wandb.mode=off", "method.epochs=010", "dataset.split_seed=010"])
    assert (run.words("wandb"), run.words("method"), run.words("dataset")) == (
        {"mode": "off"}, {"epochs": 10}, {"split_seed": 10},
    )  # fmt: skip
    (run,) = config.parse(["cache=null", "input_size=~", "support=Null", "force=yes"])
    assert (run.cache, run.input_size, run.support, run.force) == (None, None, None, True)
    with pytest.raises(AdbenchError, match="runs cannot be set: a text is needed, and null is given"):
        config.parse(["runs=null"])
    lists = ['dataset.ignored_folders=["scan 02 left"]', "dataset.normal_folders=[class 01]", "method.x=[1e+05,0.05,0]"]
    (run,) = config.parse(lists)
    assert run.words("dataset") == {"ignored_folders": ["scan 02 left"], "normal_folders": ["class 01"]}
    assert run.words("method") == {"x": [1e5, 0.05, 0]}
    (run,) = config.parse(["trainer.enable_progress_bar=off", "trainer.limit_train_batches=null"])
    assert run.words("trainer") == {"enable_progress_bar": False, "limit_train_batches": None}


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("method.neighbours=1.5", "neighbours cannot be set: a whole number is needed, and 1.5 is given."),
        ("method.sigma=wide", "sigma cannot be set: a number is needed, and wide is given."),
        ("draw=first", "draw cannot be set: a whole number is needed, and first is given."),
        ("shots=1.5", "shots=1.5 is not possible: give a number of images per class, as in 16, or `full` for all."),
        ("selection=", "selection= has no value. Give one, or leave selection= out."),
        ("method.blocks=[06,12]", "06 in [06,12] is not possible: write numbers without zeros before them."),
        ("draw=1:1", "draw cannot be set: a whole number is needed, and 1:1 is given."),
        ("force=maybe", "force cannot be set: true or false is needed, and maybe is given."),
        ("backbone.levels=3", "levels cannot be set: a list such as [1,2] is needed, and 3 is given."),
        ("dataset.split_shares=0.5", "split_shares cannot be set: a list such as [0.5,0.5] or null is needed, and 0.5"),
        ("dataset.expected=3", "expected cannot be set: a mapping such as {name: value} is needed, and 3 is given."),
        ("method.prompts=3", "prompts cannot be set: a mapping such as {normal: …} is needed, and 3 is given."),
        ("method.prompts.norml=[a]", "unknown key 'prompts.norml' for method 'winclip': did you mean 'normal'?"),
    ],
)
def test_a_value_of_another_type_is_named(adbench, word: str, said: str) -> None:
    method = "winclip" if "prompts" in word else "patchcore"
    answer = adbench("run", f"method={method}", word, "device=cpu")
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "variables", "wanted"),
    [
        (None, {}, "/home/eve/.cache/adbench"),
        (None, {"XDG_CACHE_HOME": "/scratch/eve"}, "/scratch/eve/adbench"),
        (None, {"XDG_CACHE_HOME": "scratch"}, "/home/eve/.cache/adbench"),
        (None, {"XDG_CACHE_HOME": "/scratch/eve", "ADBENCH_CACHE": "~/own"}, "/home/eve/own"),
        ("/given", {"XDG_CACHE_HOME": "/scratch/eve", "ADBENCH_CACHE": "~/own"}, "/given"),
    ],
)
def test_where_the_cache_is(
    given: str | None, variables: dict[str, str], wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_CACHE_HOME", "ADBENCH_CACHE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (variables | {"HOME": "/home/eve"}).items():
        monkeypatch.setenv(name, value)
    assert cache_folder(given) == Path(wanted)
