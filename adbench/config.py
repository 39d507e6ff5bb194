"""From words (`method=madclip shots=4,8`) to typed configurations, one for each cell."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from adbench import registry
from adbench.errors import AdbenchError, did_you_mean

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

SECTIONS = ("method", "dataset", "backbone", "trainer")
ALLOWED = {
    "preset": ("none", "paper"),
    "protocol": ("auto", "few_shot", "few_normal_shot", "zero_shot"),
    "selection": ("last",),
    "schedule": ("short", "paper"),
    "precision": ("32-true", "bf16-mixed", "16-mixed"),
    "device": ("auto", "cpu", "cuda"),
}
# A list in these keys would be a sweep over paths or machine settings, which no cell key tells apart.
NOT_AXES = ("data_root", "support", "device", "runs", "cache", "cache_gb", "force", "gallery", "feature_cache")


@dataclass
class RunConfig:
    """The keys of configs/run.yaml, typed. `overrides` holds the words that reach into a section."""

    method: str
    dataset: str
    backbone: str
    data_root: str
    preset: str
    protocol: str
    shots: int
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
    overrides: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def cache_dir(self) -> Path:
        """The cache folder: `cache=`, else $ADBENCH_CACHE, else ~/.cache/adbench."""
        return Path(self.cache or os.environ.get("ADBENCH_CACHE") or Path.home() / ".cache" / "adbench").expanduser()


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
    except (YAMLError, OmegaConfBaseException) as error:
        raise AdbenchError(f"{file} is not readable YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict):
        raise AdbenchError(f"{file} holds a {type(content).__name__}; a mapping of keys to values is needed.")
    return {str(key): value for key, value in content.items()}


def parse(words: Sequence[str]) -> list[RunConfig]:
    """Turn `key=value` words into one configuration per cell; `a,b,c` is an axis.

    >>> [(c.shots, c.seed) for c in parse(["shots=4,8", "seed=1"])]
    [(4, 1), (8, 1)]
    """
    given = _split(words)
    axes: dict[str, list[str]] = {}
    for key, text in given.items():
        is_axis = "," in text and "." not in key and key not in NOT_AXES and not text.startswith(("[", "{", '"', "'"))
        axes[key] = [part.strip() for part in text.split(",") if part.strip()] if is_axis else [text]
        if not axes[key]:
            raise AdbenchError(f"{key}={text}: a value is missing. Write {key}=a or {key}=a,b,c.")
    return [_build(dict(zip(axes, values, strict=True))) for values in itertools.product(*axes.values())]


def _split(words: Sequence[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise AdbenchError(f"{word!r} is not key=value. Example: adbench run method=madclip shots=16")
        section, dot, rest = key.partition(".")
        if dot and (section not in SECTIONS or not rest):
            raise AdbenchError(f"unknown key {key!r}: a dotted key starts with {', '.join(s + '.' for s in SECTIONS)}")
        if not dot and key not in KEYS:
            raise AdbenchError(f"unknown key {key!r}: {did_you_mean(key, KEYS)}")
        if key in given:
            raise AdbenchError(f"{key!r} is given twice, as {given[key]!r} and {text!r}. Keep one.")
        given[key] = text
    return given


def _build(given: Mapping[str, str]) -> RunConfig:
    plain = {key: text for key, text in given.items() if "." not in key}
    base = dict(defaults())
    if plain.get("preset", base["preset"]) not in ("none", base["preset"]):
        base |= preset(plain.get("method", base["method"]), plain["preset"])
    config = merge(RunConfig, base, {k: value(v) for k, v in plain.items()}, "run")
    for key, text in given.items():
        section, dot, rest = key.partition(".")
        if dot:
            config.overrides.setdefault(section, {})[rest] = value(text)
    _validate(config)
    return config


def value(text: str) -> Any:
    """Read one value as OmegaConf does: numbers, booleans, null, [lists] and {maps}; anything else is text."""
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
    file = registry.config_files("method").get(name)
    content = load_yaml(file) if file else {}
    extra = set(content) - {"title", "params", "schedules", "presets"}
    if extra:
        raise AdbenchError(
            f"method/{name}.yaml: unknown key {extra.pop()!r}; allowed: title, params, presets, schedules"
        )
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
    yaml = method_config(config.method)
    base = dict(yaml.get("params") or {}) | dict((yaml.get("schedules") or {}).get(config.schedule) or {})
    over = OmegaConf.create({})
    for key, value in config.overrides.get("method", {}).items():
        OmegaConf.update(over, key, value, force_add=True)
    return merge(schema, base, over, f"method {config.method!r}")


def section_config(schema: type[Any], kind: registry.Kind, name: str, config: RunConfig) -> Any:
    """Resolve the configuration of a dataset or backbone: `<kind>/<name>.yaml`, then the user's `<kind>.X=` words."""
    files = registry.config_files(kind)
    if name not in files:
        raise AdbenchError(f"unknown {kind} {name!r}: {did_you_mean(name, files)}. `adbench list {kind}s` shows them.")
    over = DictConfig(dict(config.overrides.get(kind, {})))
    return merge(schema, load_yaml(files[name]), over, f"{kind} {name!r}")


def _validate(config: RunConfig) -> None:
    registry.find("method", config.method)
    registry.find("dataset", config.dataset)
    backbones = registry.config_files("backbone")
    if config.backbone not in backbones:
        raise AdbenchError(
            f"unknown backbone {config.backbone!r}: {did_you_mean(config.backbone, backbones)}. "
            "Other weights of a known architecture: backbone.weights=FILE.safetensors"
        )
    for key, allowed in ALLOWED.items():
        value = getattr(config, key)
        if value not in allowed:
            raise AdbenchError(f"{key}={value} is not possible: {did_you_mean(str(value), allowed)}")
    for key, least in (("shots", 0), ("draw", 0), ("seed", 0), ("threads", 1), ("batch_size", 1), ("gallery", 0)):
        if getattr(config, key) < least:
            raise AdbenchError(f"{key}={getattr(config, key)} is not possible: at least {least} is needed.")
    if config.input_size is not None and config.input_size < 1:
        raise AdbenchError(f"input_size={config.input_size} is not possible: give a number of pixels, as in 240.")
    if config.eval_size != "method" and not (config.eval_size.isdigit() and int(config.eval_size) > 0):
        raise AdbenchError(f"eval_size={config.eval_size} is not possible: a number of pixels, or `method`.")
