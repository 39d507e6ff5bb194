"""Configuration layers: the YAML of a method, dataset, backbone or executor, then overrides, as a typed dataclass."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException
from yaml import ScalarNode, YAMLError, compose

from adbench.config import kinds, ranges
from adbench.errors import AdbenchError, PluginError, did_you_mean
from adbench.plugins import locate, registry
from adbench.system.text import said

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


P = TypeVar("P")
MOST_YAML = 4 << 20  # bytes
DECIMAL = re.compile(r"[+-]?[0-9]+")
OTHER = re.compile(r"[+-]?(0[bxo][0-9a-f_]+|[0-9][0-9_]*(:[0-9_]+)+(\.[0-9_]*)?|[0-9]+_[0-9_]*)", re.I)
OCTAL = re.compile(r"[+-]?0[0-9]+")  # to YAML
MOST_DIGITS = 4000  # Python reads no number of more


def load_yaml(file: Traversable | Path) -> dict[str, Any]:
    """Read one YAML file into a plain dictionary."""
    try:
        if isinstance(file, Path) and file.exists() and (not file.is_file() or file.stat().st_size > MOST_YAML):
            raise OSError(f"no regular file of at most {MOST_YAML} bytes: {file}")
        text = file.read_text(encoding="utf-8")
        content = OmegaConf.to_container(OmegaConf.create(text), resolve=True)
    except (YAMLError, OmegaConfBaseException, ValueError, RecursionError, OSError) as error:
        raise AdbenchError(f"{file} is not readable YAML: {said(error).partition(': ')[2]}.") from error
    if not isinstance(content, dict):
        raise AdbenchError(f"{file} holds a {type(content).__name__}; a mapping of keys to values is needed.")
    return {str(key): value for key, value in content.items()}


def _shipped(file: Traversable) -> dict[str, Any]:
    """Read the YAML of a package; one that can't be read costs the cells that need it."""
    try:
        return load_yaml(file)
    except AdbenchError as error:
        raise PluginError(str(error)) from error


def merge(schema: type[P], base: Mapping[str, Any], over: Any, what: str) -> P:
    """Fill the dataclass `schema` from `base`, then `over`; unknown keys and wrong types are errors that name them."""
    names = [f.name for f in dataclasses.fields(cast(Any, schema))]
    for layer in (base, over):
        for key in layer:
            if str(key) not in names:
                raise AdbenchError(f"unknown key {str(key)!r} for {what}: {did_you_mean(str(key), names)}")
    structure = OmegaConf.structured(schema)
    try:
        merged = OmegaConf.merge(structure, dict(base), over)
    except (OmegaConfBaseException, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _unfit(schema, (base, over), what, error) from error
    try:
        return cast(P, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        raise _unfit(schema, (base, over), what, error) from error


def _unfit(schema: type[Any], layers: tuple[Mapping[str, Any], Any], what: str, error: Exception) -> AdbenchError:
    """Return the error for a value that a field can't take."""
    name = getattr(error, "full_key", None) or " or ".join(map(str, layers[1]))
    if isinstance(error, ConfigKeyError) and (known := kinds.fields(schema, name)):
        return AdbenchError(f"unknown key {name!r} for {what}: {did_you_mean(name.rpartition('.')[2], known)}")
    if kind := kinds.needed(schema, name):
        value = kinds.given(layers, name)
        if what == "run" and name in ("draw", "seed") and (span := ranges.span(name, value)):
            return AdbenchError(span)
        more = " Several cells: one run for each value." if what != "run" and _several(kind, value) else ""
        return AdbenchError(f"{what}: {name} cannot be set: {kind} is needed, and {value} is given.{more}")
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300].rstrip(".")
    if "$" in reason:  # a text of OmegaConf's whose places were not filled
        reason = "a value is of another type"
    return AdbenchError(f"{what}: {name or 'a key'} cannot be set: {reason}.")


def _several(kind: str, value: str) -> bool:
    """Whether a list, or values with commas, were given where one number or truth is needed."""
    return not kind.startswith(("a list", "a mapping", "a text")) and (value.startswith("[") or "," in value)


def method_config(name: str) -> dict[str, Any]:
    """The YAML of a method, empty where it ships none.

    Its keys: title, display_name, params, schedules, presets; and requires, the package of an extra that it needs.
    Raises PluginError for one that can't be used, of whomever it is.
    """
    file = registry.config_file("method", name)
    content = _shipped(file) if file else {}
    extra = set(content) - {"title", "display_name", "params", "schedules", "presets", "requires"}
    if extra:
        raise PluginError(
            f"{file}: unknown key {extra.pop()!r}; allowed: title, display_name, params, presets, requires, schedules"
        )
    return content


def standalone() -> list[str]:
    """Return the registered methods that need no package of an extra, sorted."""
    return sorted(name for name in registry.entries("method") if _package(name) is None)


def required(method: str) -> dict[str, str]:
    """Return the package of an extra that a method needs, with its version; empty for most methods."""
    package = _package(method)
    return {package: importlib.metadata.version(package)} if package else {}


def lacking(method: str) -> str | None:
    """Return the package that a registered method needs and that is not installed; None where it can run.

    >>> lacking("patchcore") is None
    True
    """
    package = _package(method)
    return package if package and importlib.util.find_spec(package) is None else None


def _package(method: str) -> str | None:
    package = method_config(method).get("requires")
    return str(package) if package else None


def check_installed(method: str) -> None:
    """Raise AdbenchError where a method needs a package that is not installed, with what installs it."""
    if package := lacking(method):
        raise AdbenchError(
            f"the method {method} needs the package {package}, which is not installed: pip install "
            f"'{registry.OWN}[{package}]'"
        )


def preset(method: str, name: str) -> dict[str, Any]:
    """The run keys that a preset of a method sets."""
    registry.find("method", method)
    presets = method_config(method).get("presets") or {}
    if name not in presets:
        raise AdbenchError(
            f"preset {name!r} is not defined for method {method!r}: {did_you_mean(name, ['none', *presets])}"
        )
    return dict(presets[name])


def method_params(schema: type[P], name: str, schedule: str, overrides: Mapping[str, Any] = {}) -> P:
    """Resolve a method's parameters: its YAML, then the schedule, then the user's `method.X=` overrides."""
    return merge_params(schema, method_config(name), schedule, overrides, f"method {name!r}")


def merge_params(schema: type[P], yaml: Mapping[str, Any], schedule: str, overrides: Mapping[str, Any], what: str) -> P:
    """Fill the dataclass `schema` from a method's YAML, the schedule, and `overrides` such as `prompts.normal`."""
    if why := kinds.unusable(schema):
        raise AdbenchError(f"{what}: {why}.")
    base = dict(yaml.get("params") or {}) | dict((yaml.get("schedules") or {}).get(schedule) or {})
    merged = merge(schema, base, _nested(overrides), what)
    ranges.check(merged, ranges.OF_METHOD, "method")
    return merged


def section(schema: type[P], kind: registry.Kind, name: str, overrides: Mapping[str, Any] = {}) -> P:
    """Resolve the configuration of a dataset or backbone: `<kind>/<name>.yaml`, then its `<kind>.X=` overrides."""
    file = registry.config_file(kind, name) if kind == "dataset" else registry.shipped_file(kind, name)
    if file is None and kind == "dataset":
        raise AdbenchError(
            f"the dataset {name!r} of {registry.find(kind, name).package} ships no configuration. It needs at least "
            f"title and object_name, in {locate.CONFIGS}/dataset/{name}.yaml next to its module."
        )
    if file is None:
        files = registry.config_files(kind)
        raise AdbenchError(f"unknown {kind} {name!r}: {did_you_mean(name, files)} `adbench list {kind}s` shows them.")
    return merge(schema, _shipped(file), DictConfig(dict(overrides)), f"{kind} {name!r}")


@functools.cache
def executor_sections() -> tuple[str, ...]:
    """The executors with keys of their own, `<name>.X=`: executor/<name>.yaml holds more than a title."""
    names = []
    for name, file in registry.config_files("executor").items():
        with contextlib.suppress(AdbenchError):  # `executor=NAME` raises it
            names += [name] if set(load_yaml(file)) - {"title"} else []
    return tuple(names)


def executor_keys(schema: type[P], name: str, overrides: Mapping[str, Any] = {}) -> P:
    """Resolve the keys of an executor: `executor/<name>.yaml`, then the user's `<name>.X=` overrides."""
    file = registry.config_file("executor", name)
    base = load_yaml(file) if file else {}
    base.pop("title", None)
    return merge(schema, base, _nested(overrides), f"executor={name}")


def _nested(overrides: Mapping[str, Any]) -> DictConfig:
    """Return {"prompts.normal": x} as {"prompts": {"normal": x}}."""
    over = OmegaConf.create({})
    for key, value in overrides.items():
        OmegaConf.update(over, key, value, force_add=True)
    return over


def read_value(text: str) -> Any:
    """Read one value: decimal numbers, true, false, null, [lists] and {maps} of YAML; anything else is text.

    So is what YAML would read as a number of another kind: 0b11, 1:30 and 1_0. 010 is ten.
    """
    if DECIMAL.fullmatch(text):
        return decimal(text)
    if OTHER.fullmatch(text):
        return text
    try:
        if text[:1] in ("[", "{") and (odd := next(filter(OCTAL.fullmatch, _plain(compose(text))), None)):
            raise AdbenchError(f"{odd} in {text[:200]} is not possible: write numbers without zeros before them.")
        return OmegaConf.to_container(OmegaConf.from_dotlist([f"x={text}"]))["x"]  # type: ignore[index,call-overload]
    except (YAMLError, OmegaConfBaseException, ValueError, RecursionError) as error:
        shown = text if len(text) < 200 else f"{text[:200]}…"
        raise AdbenchError(
            f"{shown} cannot be read as a value. In a list, quote what holds braces: ['healthy {{}}']."
        ) from error


def _plain(node: Any) -> Iterator[str]:
    """Yield the values of a YAML node and those in it that are not quoted."""
    if isinstance(node, ScalarNode):
        yield from () if node.style else (str(node.value),)
    elif node is not None:
        for inner in node.value:
            for one in inner if isinstance(inner, tuple) else (inner,):
                yield from _plain(one)


def decimal(text: str) -> int:
    """Return a whole number in decimal digits, such as 010 for ten; AdbenchError for one of thousands of digits."""
    if len(text) > MOST_DIGITS:
        raise AdbenchError(f"{text[:20]}… is not possible: a number of {len(text)} digits.")
    return int(text)


def write_value(value: Any, typed: bool = False) -> str:
    """Write a value so that `read_value` reads it back: as the same text, or where `typed` as the same type too."""
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    read = None
    if not ("&" in value and "*" in value):  # YAML repeats what & names wherever * stands, again and again
        with contextlib.suppress(AdbenchError, ValueError, RecursionError):
            read = read_value(value)
    return value if (read if typed else str(read)) == value else json.dumps(value, ensure_ascii=False)
