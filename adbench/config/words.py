"""Words of the command line, such as `method=madclip shots=4,8`, as typed configurations: one for each cell."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from adbench.config import axes as axes_of
from adbench.config.given import plain_keys
from adbench.config.groups import NAMED, expand, trainings
from adbench.config.kinds import kinds_of, needed
from adbench.config.layers import (
    DECIMAL,
    decimal,
    executor_keys,
    executor_sections,
    load_yaml,
    merge,
    preset,
    read_value,
    write_value,
)
from adbench.config.schema import (
    GONE,
    KEYS,
    NOT_AXES,
    OWN,
    REPLACED,
    SECTIONS,
    SPELLINGS,
    Overrides,
    RunConfig,
    check_together,
    check_value,
)  # fmt: skip
from adbench.errors import AdbenchError, PluginError, did_you_mean
from adbench.plugins import registry

NULLS = ("null", "Null", "NULL", "~")
QUOTED = re.compile(r"(['\"]).*\1")


@functools.cache
def defaults() -> dict[str, Any]:
    """The values of configs/run.yaml."""
    return load_yaml(resources.files("adbench.configs") / "run.yaml")  # adbench's own, whatever others ship


def parse(words: Sequence[str]) -> list[RunConfig]:
    """Turn `key=value` words into one configuration per cell; `a,b,c` is an axis, and so are groups and wildcards.

    Of the keys with a dot those in `axes.DOTTED` can be axes.

    >>> [(c.shots, c.seed) for c in parse(["shots=4,8", "seed=1"])]
    [(4, 1), (8, 1)]
    >>> [c.dataset for c in parse(["method=clip", "dataset=bmad_mask*"])]
    ['brainmri', 'liverct', 'resc']
    >>> [c.words("dataset")["category"] for c in parse(["dataset=mvtec", "dataset.category=pill,ca*"])]
    ['pill', 'cable', 'capsule', 'carpet']
    """
    given = _split(words)
    axes: dict[str, list[str]] = {}
    for key, text in given.items():
        can_be = key in axes_of.DOTTED or ("." not in key and key not in NOT_AXES)
        is_axis = "," in text and can_be and not text.startswith(("[", "{", '"', "'"))
        axes[key] = [part.strip() for part in text.split(",") if part.strip()] if is_axis else [text]
        if not axes[key]:
            raise AdbenchError(f"{key}={text}: a value is missing. Write {key}=a or {key}=a,b,c.")
    for kind in NAMED:
        if kind in axes:
            axes[kind] = list(dict.fromkeys(name for part in axes[kind] for name in expand(kind, part)))
    if "train_on" in axes:
        axes["train_on"] = list(dict.fromkeys(name for part in axes["train_on"] for name in trainings(part)))
    return _build(axes_of.with_folds(axes))


def words_of(keys: Mapping[str, Any]) -> list[str]:
    """Write Python values as the words of a command line: a list is an axis; `overrides` holds keys with a dot.

    Raises AdbenchError for an object that is no value of a key (`given.plain`).

    >>> words_of({"shots": [4, 16], "support": None, "overrides": {"method.levels": [6, 12]}})
    ['shots=4,16', 'support=null', 'method.levels=[6, 12]']
    """
    words = []
    for key, value in plain_keys(keys).items():
        if key == "overrides":
            words += [f"{name}={_override(name, override)}" for name, override in value.items()]
        else:
            words.append(f"{key}={_axis(key, value)}")
    return words


def _override(key: str, value: Any) -> str:
    is_axis = key in axes_of.DOTTED and isinstance(value, list)
    return _axis(key, value) if is_axis else write_value(value, typed=True)


def _axis(key: str, value: Any) -> str:
    several = value if isinstance(value, list) else [value]
    for one in several:
        if isinstance(one, (list, dict)):
            kind = "list" if isinstance(one, list) else "dictionary"
            raise AdbenchError(f"{key}= can't hold the {kind} {one}: give one value, or a list of values.")
    return ",".join(map(_word, several))


def _word(value: Any) -> str:
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def parse_one(words: Sequence[str]) -> RunConfig:
    """Return the one configuration that words make; AdbenchError where they name several cells."""
    configs = parse(words)
    if len(configs) > 1:
        raise AdbenchError(f"one configuration is needed, and {' '.join(words)} names {len(configs)}.")
    return configs[0]


def config_of(keys: Mapping[str, Any]) -> RunConfig:
    """Return the one configuration that Python values make; AdbenchError where they name several cells."""
    return parse_one(words_of(keys))


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
        if key in GONE:
            raise AdbenchError(f"{key}= is no key any more: {GONE[key]}.")
        if instead := REPLACED.get(key, {}).get(text.lower()):
            raise AdbenchError(f"{key}={text} is no value any more: write {instead}.")
        if not dot and key not in KEYS:
            raise AdbenchError(f"unknown key {key!r}: {did_you_mean(key, KEYS)}")
        if key in given:
            raise AdbenchError(f"{key!r} is given twice, as {given[key]!r} and {text!r}. Keep one.")
        given[key] = text
    return given


def _build(axes: Mapping[str, Sequence[str]]) -> list[RunConfig]:
    """Build the product of the axes. What depends on one word alone is done once, not once per cell."""
    plain = {key: texts for key, texts in axes.items() if "." not in key}
    given: dict[str, dict[str, Any]] = {}
    for key, texts in axes.items():
        section, dot, rest = key.partition(".")
        if dot and key not in axes_of.DOTTED:
            how = read_value if section in SECTIONS and section != "wandb" else _as_text
            given.setdefault(section, {})[rest] = how(texts[0])
    common: dict[str, dict[str, Any]] = {section: Overrides(words) for section, words in given.items()}
    combinations = list(axes_of.cells(axes))
    parts: dict[str, list[dict[str, dict[str, Any]]]] = {}
    bases: dict[tuple[str, str], RunConfig] = {}
    typed: dict[tuple[str, str], Any] = {}
    configs: list[RunConfig] = []
    names_checked: set[tuple[str, str, str]] = set()
    values_checked: set[tuple[str, str]] = set()
    for values in itertools.product(*plain.values()):
        cell = dict(zip(plain, values, strict=True))
        which = cell.get("method", str(defaults()["method"])), cell.get("preset", str(defaults()["preset"]))
        if which not in bases:
            base = defaults() | (_preset(*which) if which[1] not in ("none", defaults()["preset"]) else {})
            bases[which] = _base(json.dumps(base))
            for key in KEYS:
                if key not in plain:
                    check_value(key, getattr(bases[which], key))
        for word in cell.items():
            if word not in typed:
                typed[word] = _typed(*word)
        run = {word[0]: typed[word] for word in cell.items()}
        dataset = run.get("dataset", bases[which].dataset)
        if dataset not in parts:
            parts[dataset] = [_merged(common, part) for c in combinations for part in _parts(dataset, c)]
        for overrides in parts[dataset]:
            config = dataclasses.replace(bases[which], **run, overrides=overrides)
            names = config.method, config.dataset, config.backbone
            if names not in names_checked:
                _check_names(config)
                if not names_checked:
                    _check_executor(config)
                names_checked.add(names)
            for word in cell.items():
                if word not in values_checked:
                    check_value(word[0], getattr(config, word[0]))
                    values_checked.add(word)
            check_together(config)
            configs.append(config)
    return configs


def _preset(method: str, name: str) -> dict[str, Any]:
    """Return the keys of a preset; of a method that can't be used none, as its cells will say."""
    try:
        return preset(method, name)
    except PluginError:
        return {}


def _parts(dataset: str, combination: Mapping[str, str]) -> list[dict[str, str]]:
    """Return what dotted axes stand for on a dataset; of an unknown one nothing, as `_check_names` will say."""
    try:
        return axes_of.expanded(dataset, combination) if dataset in registry.entries("dataset") else [{}]
    except PluginError:  # its cells say what is wrong with it
        return [dict(combination)]


def _merged(common: Mapping[str, dict[str, Any]], part: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the overrides of all cells with the values of the dotted axes of one."""
    overrides = dict(common)
    for key, text in part.items():
        section, _, rest = key.partition(".")
        overrides[section] = Overrides({**overrides.get(section, {}), rest: read_value(text)})
    return overrides


@functools.lru_cache(maxsize=64)
def _base(values: str) -> RunConfig:
    """Return the configuration of defaults and preset, as JSON; nobody changes it."""
    return merge(RunConfig, json.loads(values), {}, "run")


@functools.lru_cache(maxsize=2**14)
def _typed(key: str, text: str) -> Any:
    """Read the value of a key by its type: YAML would read the folder 2024_01 as a number, and `off` as false."""
    kinds = kinds_of(RunConfig, key)
    if text in NULLS:
        if type(None) in kinds:
            return None
        raise AdbenchError(f"run: {key} cannot be set: {needed(RunConfig, key)} is needed, and {text} is given.")
    if int in kinds and DECIMAL.fullmatch(text):
        return decimal(text)
    if str in kinds:
        if not text:
            raise AdbenchError(f"{key}= has no value. Give one, or leave {key}= out.")
        if key == "eval_size" and DECIMAL.fullmatch(text):
            return str(decimal(text))
        return str(read_value(text)) if QUOTED.fullmatch(text) else text
    value = text if int in kinds else read_value(text)
    return getattr(merge(RunConfig, defaults(), {key: value}, "run"), key)


def _as_text(text: str) -> Any:
    """Read a value that a typed field will turn into its type: YAML would make a number of the time 1:30:00."""
    return read_value(text) if text.startswith(("[", "{")) or text == "null" else text


def _check_executor(config: RunConfig) -> None:
    for name in sorted(config.overrides.keys() - set(SECTIONS)):
        if name != config.executor:
            key = next(iter(config.overrides[name]))
            raise AdbenchError(
                f"{name}.{key}= is for executor={name}, and this is executor={config.executor}. "
                f"Add executor={name}, or leave {name}.{key} out."
            )
        executor_keys(registry.find("executor", name).load().Keys, name, config.words(name))


def _check_names(config: RunConfig) -> None:
    with contextlib.suppress(PluginError):  # two packages register it: that costs its own cells
        registry.find("method", config.method)
    with contextlib.suppress(PluginError):
        registry.find("dataset", config.dataset)
    registry.find("executor", config.executor)
    backbones = registry.config_files("backbone")
    if config.backbone not in (*backbones, OWN):
        if config.backbone.endswith((".yaml", ".yml")) or "/" in config.backbone or "\\" in config.backbone:
            raise AdbenchError(
                f"backbone={config.backbone} is not possible: a backbone is named, and its YAML comes in by a package, "
                "from the folder backbone/ of what that registers in the group adbench.configs: see docs/backbones.md, "
                "A backbone of your own. Other weights of a known architecture: backbone.weights=FILE.safetensors"
            )
        raise AdbenchError(
            f"unknown backbone {config.backbone!r}: {did_you_mean(config.backbone, backbones)} "
            "Other weights of a known architecture: backbone.weights=FILE.safetensors"
        )
