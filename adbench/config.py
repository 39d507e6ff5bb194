"""From words (`method=madclip shots=4,8`) to typed configurations, one for each cell."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import fnmatch
import functools
import itertools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from adbench import locate, registry
from adbench.errors import AdbenchError, did_you_mean
from adbench.remember import remembered

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

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
# Parameters that mean the same in every method that has them.
LEAST_OF_METHOD = {
    "epochs": ("at least", 0), "batch_size": ("at least", 1), "context_length": ("at least", 1),
    "weight_decay": ("at least", 0), "learning_rate": ("more than", 0),
}  # fmt: skip
# Keys whose values are names, which groups and wildcards can stand for.
NAMED: tuple[registry.Kind, ...] = ("method", "dataset", "backbone")


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


def load_yaml(file: Traversable | Path) -> dict[str, Any]:
    """Read one YAML file into a plain dictionary."""
    try:
        content = OmegaConf.to_container(OmegaConf.create(file.read_text(encoding="utf-8")), resolve=True)
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise AdbenchError(f"{file} is not readable YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict):
        raise AdbenchError(f"{file} holds a {type(content).__name__}; a mapping of keys to values is needed.")
    return {str(key): value for key, value in content.items()}


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


def groups() -> dict[str, dict[str, list[str]]]:
    """The named groups of configs/group/*.yaml: {name: {"dataset": [name, ...]}}, or of methods or backbones.

    Groups that can't be used are left out; `group` says what is wrong with one.
    """
    found = {}
    for name in registry.config_files("group"):
        with contextlib.suppress(AdbenchError):
            found[name] = group(name)
    return found


@functools.cache
def group(name: str) -> dict[str, list[str]]:
    """The content of one group; a file that is no group raises with its package and path."""
    package, file = registry.shipped("group")[name]
    try:
        content = load_yaml(file)
        content.pop("title", None)
        wrong = set(content) - set(NAMED)
        if wrong or not content or not all(isinstance(names, list) and names for names in content.values()):
            raise AdbenchError(
                f"{file}: {wrong.pop() if wrong else 'its content'!r} is not possible; a group holds a title and a "
                f"list of names under {', '.join(NAMED)}."
            )
    except AdbenchError as error:
        raise AdbenchError(f"the group {name!r} of {package} cannot be used: {error}") from error
    return {kind: [str(one) for one in names] for kind, names in content.items()}


def expand(kind: registry.Kind, text: str) -> list[str]:
    """Return the names that one word stands for: those of a group, those that a wildcard matches, or the word itself.

    A wildcard (`*`, `?`) is matched against names and groups. What matches nothing raises with what there is.

    >>> expand("dataset", "bmad_masked")
    ['brainmri', 'liverct', 'resc']
    """
    known = list(registry.config_files(kind) if kind == "backbone" else registry.entries(kind))
    own = {name: content[kind] for name, content in groups().items() if kind in content}
    if ":" in text:  # `file.py:Class` names itself
        return [str(locate.Place.of(text)) if kind == "method" else text]
    if text in known:
        return [text]
    if text in own:
        return own[text]
    if text in registry.config_files("group"):
        group(text)  # says what is wrong with it
    if "*" in text or "?" in text:
        matched = [name for name in known if fnmatch.fnmatchcase(name, text)]
        matched += [name for group in own if fnmatch.fnmatchcase(group, text) for name in own[group]]
        if not matched:
            raise AdbenchError(f"{kind}={text} matches nothing. Allowed: {', '.join(sorted([*known, *own]))}")
        return list(dict.fromkeys(matched))
    near = difflib.get_close_matches(text, [*known, *own], n=1, cutoff=0.5)
    if near and near[0] in own:
        raise AdbenchError(f"unknown {kind} {text!r}: did you mean the group {near[0]!r}, {', '.join(own[near[0]])}?")
    return [text]


def trainings(text: str) -> list[str]:
    """Return the values that one word of `train_on=` stands for: a training on each name, or with `+` one on all.

    >>> trainings("bmad_masked"), trainings("bmad_masked+busi")
    (['brainmri', 'liverct', 'resc'], ['brainmri+liverct+resc+busi'])
    """
    if text == "null":
        return [text]
    parts = [expand("dataset", part) for part in text.split("+")]
    return parts[0] if len(parts) == 1 else ["+".join(name for part in parts for name in part)]


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


def merge(schema: type[Any], base: Mapping[str, Any], over: Any, what: str) -> Any:
    """Fill the dataclass `schema` from `base`, then `over`; unknown keys and wrong types are errors that name them."""
    names = [f.name for f in dataclasses.fields(schema)]
    for layer in (base, over):
        for key in layer:
            if str(key) not in names:
                raise AdbenchError(f"unknown key {str(key)!r} for {what}: {did_you_mean(str(key), names)}")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), dict(base), over)
        return OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        reason = str(error).strip().splitlines()[0]
        raise AdbenchError(f"{what}: {error.full_key or 'a key'} cannot be set: {reason}.") from error


def method_config(name: str) -> dict[str, Any]:
    """The YAML of a method (`title`, `params`, `schedules`, `presets`), empty where it ships none."""
    file = registry.config_file("method", name)
    content = load_yaml(file) if file else {}
    extra = set(content) - {"title", "params", "schedules", "presets"}
    if extra:
        raise AdbenchError(f"{file}: unknown key {extra.pop()!r}; allowed: title, params, presets, schedules")
    return content


def preset(method: str, name: str) -> dict[str, Any]:
    """The run keys that a preset of a method sets."""
    registry.find("method", method)
    presets = method_config(method).get("presets") or {}
    if name not in presets:
        raise AdbenchError(
            f"preset {name!r} is not defined for method {method!r}: {did_you_mean(name, ['none', *presets])}"
        )
    return dict(presets[name])


def method_params(schema: type[Any], config: RunConfig) -> Any:
    """Resolve a method's parameters: its YAML, then the schedule, then the user's `method.X=` words."""
    yaml, words = method_config(config.method), config.overrides.get("method", {})
    return merge_params(schema, yaml, config.schedule, words, f"method {config.method!r}")


def merge_params(schema: type[Any], yaml: Mapping[str, Any], schedule: str, words: Mapping[str, Any], what: str) -> Any:
    """Fill the dataclass `schema` from a method's YAML, then the schedule, then `words` such as `prompts.normal`."""
    base = dict(yaml.get("params") or {}) | dict((yaml.get("schedules") or {}).get(schedule) or {})
    over = OmegaConf.create({})
    for key, value in words.items():
        OmegaConf.update(over, key, value, force_add=True)
    merged = merge(schema, base, over, what)
    for key, (bound, least) in LEAST_OF_METHOD.items():
        number = getattr(merged, key, None)
        if isinstance(number, int | float) and not (number > least or (number == least and bound == "at least")):
            raise AdbenchError(f"method.{key}={number} is not possible: {bound} {least} is needed.")
    return merged


@remembered("overrides")
def section_config(schema: type[Any], kind: registry.Kind, name: str, config: RunConfig) -> Any:
    """Resolve the configuration of a dataset or backbone: `<kind>/<name>.yaml`, then the user's `<kind>.X=` words."""
    file = registry.config_file(kind, name) if kind == "dataset" else registry.config_files(kind).get(name)
    if file is None and kind == "dataset":
        raise AdbenchError(
            f"the dataset {name!r} of {registry.find(kind, name).package} ships no configuration. It needs at least "
            f"title and object_name, in {locate.CONFIGS}/dataset/{name}.yaml beside its module."
        )
    if file is None:
        files = registry.config_files(kind)
        raise AdbenchError(f"unknown {kind} {name!r}: {did_you_mean(name, files)}. `adbench list {kind}s` shows them.")
    over = DictConfig(dict(config.overrides.get(kind, {})))
    return merge(schema, load_yaml(file), over, f"{kind} {name!r}")


@functools.cache
def executor_sections() -> tuple[str, ...]:
    """The executors with keys of their own, `<name>.X=`: executor/<name>.yaml holds more than a title."""
    found = []
    for name, file in registry.config_files("executor").items():
        with contextlib.suppress(AdbenchError):  # who names that executor hears of it
            found += [name] if set(load_yaml(file)) - {"title"} else []
    return tuple(found)


def executor_config(schema: type[Any], config: RunConfig) -> Any:
    """Resolve the keys of the executor: `executor/<name>.yaml`, then the user's `<name>.X=` words."""
    base = load_yaml(registry.config_files("executor")[config.executor])
    base.pop("title", None)
    over = OmegaConf.create({})
    for key, given in config.overrides.get(config.executor, {}).items():
        OmegaConf.update(over, key, given, force_add=True)
    return merge(schema, base, over, f"executor={config.executor}")


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
