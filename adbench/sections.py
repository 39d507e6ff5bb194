"""Configuration files and the words over them, as typed dataclasses: of methods, datasets, backbones, executors."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Mapping
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

    from adbench.config import RunConfig

# Parameters that mean the same in every method that has them.
LEAST_OF_METHOD = {
    "epochs": ("at least", 0), "batch_size": ("at least", 1), "context_length": ("at least", 1),
    "weight_decay": ("at least", 0), "learning_rate": ("more than", 0),
}  # fmt: skip


def load_yaml(file: Traversable | Path) -> dict[str, Any]:
    """Read one YAML file into a plain dictionary."""
    try:
        content = OmegaConf.to_container(OmegaConf.create(file.read_text(encoding="utf-8")), resolve=True)
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise AdbenchError(f"{file} is not readable YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict):
        raise AdbenchError(f"{file} holds a {type(content).__name__}; a mapping of keys to values is needed.")
    return {str(key): value for key, value in content.items()}


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
