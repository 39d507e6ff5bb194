"""From words (`method=madclip shots=4,8`) to typed configurations, one for each cell."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from adbench import registry
from adbench.errors import AdbenchError, did_you_mean
from adbench.groups import NAMED, expand, trainings
from adbench.sections import executor_config, executor_sections, load_yaml, merge, preset

SECTIONS = ("method", "dataset", "backbone", "trainer", "wandb")
ALLOWED = {
    "preset": ("none", "paper"),
    "protocol": ("auto", "few_shot", "few_normal_shot", "zero_shot", "full_normal", "cross_dataset", "unified")
    + ("auxiliary", "leave_one_out", "leave_one_out_published"),
    "schedule": ("short", "paper"),
    "precision": ("32-true", "bf16-mixed", "16-mixed"),
    "device": ("auto", "cpu", "cuda"),
    "logger": ("none", "csv", "tensorboard", "wandb"),
}
# A list in these keys would be a sweep over paths or machine settings, which no cell key tells apart.
NOT_AXES = (
    "data_root", "support", "device", "runs", "cache", "cache_gb", "force", "gallery", "gallery_levels",
    "feature_cache", "executor", "workers", "loader_workers", "logger",
)  # fmt: skip
LEAST = {
    "shots": 0, "draw": 0, "seed": 0, "threads": 1, "batch_size": 1, "gallery": 0, "workers": 1, "loader_workers": 0,
}  # fmt: skip


@dataclass
class RunConfig:
    """The keys of configs/run.yaml, typed. `overrides` holds the words that reach into a section."""

    method: str
    dataset: str
    backbone: str
    data_root: str
    preset: str
    protocol: str
    train_on: str | None
    shots: int | str
    draw: int
    support: str | None
    seed: int
    selection: str
    schedule: str
    input_size: int | None
    eval_size: str
    batch_size: int
    precision: str
    threads: int
    device: str
    runs: str
    cache: str | None
    cache_gb: float
    feature_cache: bool
    force: bool
    gallery: int
    gallery_levels: bool
    executor: str = "local"
    workers: int = 1
    loader_workers: int = 0
    logger: str = "none"
    overrides: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key in ("data_root", "support", "runs", "cache"):
            if (path := getattr(self, key)) is not None:
                setattr(self, key, os.path.expanduser(path))

    @property
    def cache_dir(self) -> Path:
        """The cache folder: `cache=`, else $ADBENCH_CACHE, else ~/.cache/adbench."""
        return Path(self.cache or os.environ.get("ADBENCH_CACHE") or Path.home() / ".cache" / "adbench").expanduser()


SPELLINGS = {"gallery.levels": "gallery_levels"}
KEYS = tuple(f.name for f in dataclasses.fields(RunConfig) if f.name != "overrides")


@functools.cache
def defaults() -> dict[str, Any]:
    """The values of configs/run.yaml."""
    (file,) = (folder / "run.yaml" for folder in registry.config_folders() if (folder / "run.yaml").is_file())
    return load_yaml(file)


def parse(words: Sequence[str]) -> list[RunConfig]:
    """Turn `key=value` words into one configuration per cell; `a,b,c` is an axis, and so are groups and wildcards.

    >>> [(c.shots, c.seed) for c in parse(["shots=4,8", "seed=1"])]
    [(4, 1), (8, 1)]
    >>> [c.dataset for c in parse(["method=clip", "dataset=bmad_mask*"])]
    ['brainmri', 'liverct', 'resc']
    """
    given = _split(words)
    axes: dict[str, list[str]] = {}
    for key, text in given.items():
        is_axis = "," in text and "." not in key and key not in NOT_AXES and not text.startswith(("[", "{", '"', "'"))
        axes[key] = [part.strip() for part in text.split(",") if part.strip()] if is_axis else [text]
        if not axes[key]:
            raise AdbenchError(f"{key}={text}: a value is missing. Write {key}=a or {key}=a,b,c.")
    for kind in NAMED:
        if kind in axes:
            axes[kind] = list(dict.fromkeys(name for part in axes[kind] for name in expand(kind, part)))
    if "train_on" in axes:
        axes["train_on"] = list(dict.fromkeys(name for part in axes["train_on"] for name in trainings(part)))
    return _build(axes)


def _split(words: Sequence[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise AdbenchError(f"{word!r} is not key=value. Example: adbench run method=madclip shots=16")
        key = SPELLINGS.get(key, key)
        section, dot, rest = key.partition(".")
        if dot and (section not in (*SECTIONS, *executor_sections()) or not rest):
            sections = ", ".join(f"{s}." for s in (*SECTIONS, *executor_sections()))
            raise AdbenchError(f"unknown key {key!r}: a dotted key starts with {sections}")
        if not dot and key not in KEYS:
            raise AdbenchError(f"unknown key {key!r}: {did_you_mean(key, KEYS)}")
        if key in given:
            raise AdbenchError(f"{key!r} is given twice, as {given[key]!r} and {text!r}. Keep one.")
        given[key] = text
    return given


def _build(axes: Mapping[str, Sequence[str]]) -> list[RunConfig]:
    """Build the product of the axes. What depends on one word alone is done once, not once per cell."""
    plain = {key: texts for key, texts in axes.items() if "." not in key}
    overrides: dict[str, dict[str, Any]] = {}
    for key, texts in axes.items():
        section, dot, rest = key.partition(".")
        if dot:
            overrides.setdefault(section, {})[rest] = (value if section in SECTIONS else _plain)(texts[0])
    bases: dict[tuple[str, str], RunConfig] = {}
    typed: dict[tuple[str, str], Any] = {}
    configs: list[RunConfig] = []
    checked: set[tuple[str, str, str]] = set()
    for values in itertools.product(*plain.values()):
        cell = dict(zip(plain, values, strict=True))
        which = cell.get("method", str(defaults()["method"])), cell.get("preset", str(defaults()["preset"]))
        if which not in bases:
            base = defaults() | (preset(*which) if which[1] not in ("none", defaults()["preset"]) else {})
            bases[which] = merge(RunConfig, base, {}, "run")
        for key, text in cell.items():
            if (key, text) not in typed:
                typed[key, text] = _typed(key, text)
        config = dataclasses.replace(
            bases[which], **{key: typed[key, text] for key, text in cell.items()}, overrides=overrides
        )
        names = config.method, config.dataset, config.backbone
        if names not in checked:
            _check_names(config)
            if not checked:
                _check_executor(config)
            checked.add(names)
        _validate(config)
        configs.append(config)
    return configs


def _typed(key: str, text: str) -> Any:
    number = value(text)
    # A plain integer needs no schema; an axis may have thousands.
    if type(number) is int and type(defaults()[key]) is int:
        return number
    return getattr(merge(RunConfig, defaults(), {key: number}, "run"), key)


def value(text: str) -> Any:
    """Read one value as OmegaConf does: numbers, booleans, null, [lists] and {maps}; anything else is text."""
    if text.isdecimal() and text.isascii() and (text == "0" or text[0] != "0"):
        return int(text)
    try:
        return OmegaConf.to_container(OmegaConf.from_dotlist([f"x={text}"]))["x"]  # type: ignore[index,call-overload]
    except (YAMLError, OmegaConfBaseException) as error:
        raise AdbenchError(
            f"{text} cannot be read as a value. In a list, quote what holds braces: ['healthy {{}}']."
        ) from error


def _plain(text: str) -> Any:
    """Read a value that a typed field will turn into its type: YAML would make a number of the time 1:30:00."""
    return value(text) if text.startswith(("[", "{")) or text == "null" else text


def _check_executor(config: RunConfig) -> None:
    for name in sorted(config.overrides.keys() - set(SECTIONS)):
        if name != config.executor:
            key = next(iter(config.overrides[name]))
            raise AdbenchError(
                f"{name}.{key}= is for executor={name}, and this is executor={config.executor}. "
                f"Add executor={name}, or leave {name}.{key} out."
            )
        executor_config(registry.find("executor", name).load().Keys, config)


def _check_names(config: RunConfig) -> None:
    registry.find("method", config.method)
    registry.find("dataset", config.dataset)
    registry.find("executor", config.executor)
    backbones = registry.config_files("backbone")
    if config.backbone not in backbones:
        raise AdbenchError(
            f"unknown backbone {config.backbone!r}: {did_you_mean(config.backbone, backbones)}. "
            "Other weights of a known architecture: backbone.weights=FILE.safetensors"
        )


def _validate(config: RunConfig) -> None:
    for key, allowed in ALLOWED.items():
        value = getattr(config, key)
        if value not in allowed:
            raise AdbenchError(f"{key}={value} is not possible: {did_you_mean(str(value), allowed)}")
    if isinstance(config.shots, str) and config.shots != "full":
        raise AdbenchError(
            f"shots={config.shots} is not possible: give a number of images per class, as in 16, or `full` for all."
        )
    for key, least in LEAST.items():
        if getattr(config, key) != "full" and getattr(config, key) < least:
            raise AdbenchError(f"{key}={getattr(config, key)} is not possible: at least {least} is needed.")
    if not re.fullmatch(r"last|valid|support_cv|oracle|fixed:[1-9]\d*", config.selection):
        rules = ("last", "fixed:N", "valid", "support_cv", "oracle")
        raise AdbenchError(f"selection={config.selection} is not possible: {did_you_mean(config.selection, rules)}")
    if config.input_size is not None and config.input_size < 1:
        raise AdbenchError(f"input_size={config.input_size} is not possible: give a number of pixels, as in 240.")
    if config.eval_size != "method" and not (config.eval_size.isdigit() and int(config.eval_size) > 0):
        raise AdbenchError(f"eval_size={config.eval_size} is not possible: a number of pixels, or `method`.")
