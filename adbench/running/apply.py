"""Inference: the trained method of a record is built again, for new images without labels."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, TypedDict, Unpack

import torch
from safetensors import SafetensorError, safe_open

from adbench.backbone.build import build
from adbench.backbone.config import NOTHING, BackboneConfig
from adbench.backbone.weights import check_weights, is_path, model_hash, weights_hash
from adbench.config import layers
from adbench.config.given import plain, plain_keys
from adbench.config.schema import OWN, RunConfig, validate
from adbench.data.items import DatasetConfig
from adbench.errors import AdbenchError, RecordError, did_you_mean
from adbench.method import Capability, Method, naming_the_method
from adbench.plugins import registry
from adbench.records.files import PARAMETERS
from adbench.records.record import Record, damaged, read
from adbench.records.tables import reason, unreadable
from adbench.running.fitted import Fitted, ScoredImage
from adbench.system.text import brief, counted, printable
from adbench.training.fit import device_of, placed, set_up_torch

__all__ = ["Fitted", "LoadKeys", "ScoredImage", "load"]
MISSING = object()
PLACES = {"weights": "FILE.safetensors", "text": "FOLDER"}  # of a backbone, which may lie elsewhere on this machine


class LoadKeys(TypedDict, total=False):
    """What `load` replaces, because it depends on the machine: each is optional.

    device: auto (default), cpu or cuda. cache: a folder. precision: 32-true, bf16-mixed or 16-mixed. weights: the
    backbone's file. text: the folder of its text files. method: FILE.py:Class, of a record whose method is not a
    registered one.
    """

    device: str
    cache: str | None
    precision: str
    weights: str | None
    text: str | None
    method: str


def load(record: Record | str | Path, overrides: Mapping[str, Any] | None = None, **keys: Unpack[LoadKeys]) -> Fitted:
    """Rebuild the trained method of a record, or of the folder of one.

    Of a record, data are read and no code: its method is a registered one, or the class that `method` names, whose
    source must be what the record was made with.
    `overrides` replaces parameters that need no training, as prompts do: {"prompts.normal": ["healthy {}"]}.
    `keys`: device, cache, precision, weights, text, method; see `LoadKeys`.
    Raises RecordError where the record is damaged, or weights, text files or method are not those it was made with, and
    AdbenchError for a keyword or value that can't be used.
    """
    for key in keys:
        if key not in LoadKeys.__annotations__:
            raise AdbenchError(f"unknown key {key!r} for load: {did_you_mean(key, LoadKeys.__annotations__)}")
    values = plain_keys(keys)
    for key in ("method", "weights", "text", "cache"):
        if not isinstance(values.get(key), (str, NoneType)):
            raise AdbenchError(f"{key}={values[key]} is not possible: give a text.")
        if values.get(key) == "":
            raise AdbenchError(
                f"{f'backbone.{key}' if key in PLACES else key}= is empty: give a value, or leave it out."
            )
    overrides = _plain_overrides(overrides)
    record = _record(record)
    path, content, facts = record.path, record.content, record.content["facts"]
    try:
        config = RunConfig.of_record(content["resolved"], device="auto", cache=None)
        declared: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in content["capability"].items()}
        capability = Capability(**declared)
        backbone_config, dataset = _from(BackboneConfig, content["backbone"]), _from(DatasetConfig, content["dataset"])
        built_size, made_with = int(content["backbone"]["built_input_size"]), str(content["backbone"]["weights_hash"])
    except (TypeError, ValueError, KeyError, AdbenchError) as error:
        raise damaged(path, reason(error)) from error
    state = _state(path, record.key)
    machine = {key: value for key, value in values.items() if key not in PLACES and value is not None}
    try:
        validate(config)
    except (AdbenchError, TypeError) as error:
        raise damaged(path, reason(error)) from error
    config = dataclasses.replace(config, **machine)
    validate(config)
    method_class = _method_class(record, values.get("method"))
    if "${" in json.dumps(facts["params"]):
        raise damaged(path, "facts.params holds ${, which would be looked up on this machine")
    params = layers.merge(method_class.Params, facts["params"], {}, f"method {config.method!r}")
    if overrides:
        params = _replace(method_class, params, overrides, config.method)
    named = {key: values[key] for key in PLACES if values.get(key) is not None}
    backbone_config, notes = _backbone_of(record, backbone_config, config, named)
    if backbone_config.text:
        _check_texts(record, backbone_config, config.backbone)
    weights = weights_hash(backbone_config, config.backbone, config.cache_dir)
    if weights != made_with:
        raise RecordError(
            f"{path} was made with weights {made_with[:12]}… of {config.backbone}; "
            f"here they are {weights[:12]}…. Give the right file: backbone.weights=FILE.safetensors"
        )
    device = device_of(config)
    set_up_torch(config, device)
    try:
        backbone = build(config.backbone, backbone_config, built_size, capability.activation, capability.normalisation)
        backbone = placed(backbone, config, device)
        check_weights(backbone.weights_path, weights, config.cache_dir)
        with naming_the_method(config.method_name):
            method = method_class.create(params, backbone, config.seed, weights=weights, precision=config.precision)
        method.load_fitted(state)
    except AdbenchError:
        raise
    except Exception as error:  # numbers that somebody edited reach a method's code here
        if overrides:
            raise _refused(overrides, facts["params"], config.method, error) from error
        raise RecordError(
            f"{path} can't be rebuilt ({type(error).__name__}: {reason(error)}). Run its cell again."
        ) from error
    method.loader_workers = config.loader_workers
    changed = tuple(f"method.{key}" for key in overrides or {})
    return Fitted(record, method.to(device).eval(), capability, dataset, config, notes, changed)


def _record(given: Any) -> Record:
    """Return the one record that is given, or that a path names."""
    if isinstance(given, Record):
        return given
    if isinstance(given, (str, os.PathLike)):
        return read(Path(given).expanduser())
    raise AdbenchError(
        f"load takes one record, or the path of its folder, and an object of type {type(given).__name__} is given. Of "
        "several, load each: [adbench.load(record) for record in records]."
    )


def _plain_overrides(overrides: Any) -> dict[str, Any]:
    if overrides is None or isinstance(overrides, Mapping):
        return {str(key): plain(f"method.{key}", value) for key, value in (overrides or {}).items()}
    raise AdbenchError(
        f"overrides={overrides!r} is not possible: give a dictionary, as in {{'prompts.normal': ['healthy {{}}']}}."
    )


def _refused(overrides: Mapping[str, Any], made: Any, name: str, error: Exception) -> AdbenchError:
    """Return the error of values with which a method can't be rebuilt: of lists of another length, what is needed."""
    for key, value in _leaves(overrides):
        before = _at(made, key)
        if isinstance(before, list) and isinstance(value, list) and len(before) != len(value):
            return AdbenchError(
                f"method.{key} has {counted(len(value), 'text')}, and {name} was trained with {len(before)}: give as "
                f"many, or run a new cell: adbench run method={name} method.{key}=…"
            )
    given = " and ".join(f"method.{key}={brief(value)}" for key, value in overrides.items())
    return AdbenchError(
        f"{given} can't be used after training of {name} ({type(error).__name__}: {reason(error)}). Leave it out, or "
        f"run a new cell with it: adbench run method={name}"
    )


def _leaves(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted names and values of parameters, of which some may be given as a dictionary of several."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _at(params: Any, key: str) -> Any:
    """Return the value of a dotted parameter in plain values, or `MISSING`."""
    for part in key.split("."):
        params = params.get(part, MISSING) if isinstance(params, Mapping) else MISSING
    return params


def _state(path: Path, key: str) -> dict[str, torch.Tensor]:
    """Read the trained parameters, in the one format that can hold no code."""
    file = path / PARAMETERS
    try:
        with safe_open(file, "pt") as opened:
            cell = (opened.metadata() or {}).get("cell", key)
            state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise unreadable(file, reason(error)) from error
    if cell != key:
        raise unreadable(file, f"it belongs to another cell, {brief(cell)}")
    return state


def unregistered(record: Record) -> str:
    """Say that a record's method is not registered and has to be named; the sentence lacks its full stop."""
    return (
        f"{record.content['facts']['method']} is no registered method, and what a record names is never run. Where you "
        "trust its source, name it: method=FILE.py:Class"
    )


def check_named(record: Record, named: str | None) -> None:
    """Raise RecordError for a method from a file that the user did not name."""
    if not named and ":" in record.content["resolved"]["method"]:
        facts = record.content["facts"]
        made = f"{facts['method']} ({facts.get('source') or 'built in'})"
        raise RecordError(f"{record.path} was made by {made}. {unregistered(record)}.")


def _method_class(record: Record, named: str | None) -> type[Method[Any]]:
    """Return the class of a record's method: a registered one, or the one that the user named.

    The import path in a record is never followed: whoever made the record would choose what runs here.
    """
    check_named(record, named)
    path, facts, name = record.path, record.content["facts"], record.content["resolved"]["method"]
    made = facts.get("source") or "built in"
    try:
        layers.check_installed(named or name)
        entry = registry.find("method", named or name)
        method_class: type[Method[Any]] = entry.load()
        source = entry.source(method_class)
    except AdbenchError as error:
        raise RecordError(
            f"{path} was made by {facts['method']} ({made}), which is not there again: {error} "
            "Name a file that holds it: method=FILE.py:Class."
        ) from error
    if not (isinstance(method_class, type) and issubclass(method_class, Method)):
        raise AdbenchError(f"method={named or name} is {method_class!r}, which is no subclass of adbench.Method.")
    recorded = record.content["code"].get("method_source")
    if not entry.registered and recorded and source == f"file:{recorded}":
        return method_class  # a package's method, whose file the user has
    if (entry.name, source) != (facts["method"], facts.get("source")):
        raise RecordError(
            f"{path} was made by {facts['method']} ({made}); here {named or name} is {entry.name} "
            f"({source or 'built in'}). Bring that source back, or name a file that holds it: method=FILE.py:Class."
        )
    return method_class


def _backbone_of(
    record: Record, backbone: BackboneConfig, config: RunConfig, named: Mapping[str, str]
) -> tuple[BackboneConfig, tuple[str, ...]]:
    """Return the backbone with the weights and text files that the user names, and a note on what the record names."""
    files = registry.config_files("backbone")
    if backbone.kind == OWN:
        usual = NOTHING
    elif config.backbone not in files:
        raise RecordError(
            f"{record.path} was made with the backbone {config.backbone!r}, which is not registered here: "
            f"{did_you_mean(config.backbone, files)}"
        )
    else:
        usual = layers.section(BackboneConfig, "backbone", config.backbone)
    if backbone.model != usual.model and backbone.model.endswith(".json"):
        raise damaged(record.path, f"backbone.model is {brief(backbone.model)}, a file that is not {usual.model}")
    read_too = {"weights": is_path(backbone.weights), "text": bool(backbone.text)}
    notes = tuple(
        f"reads the {what} {printable(getattr(backbone, key))}, which {record.path} names; "
        f"backbone.{key}={PLACES[key]} names others."
        for key, what in (("weights", "weights"), ("text", "text files"))
        if read_too[key] and key not in named and getattr(backbone, key) != getattr(usual, key)
    )
    weights, text = named.get("weights", backbone.weights), named.get("text", backbone.text)
    return dataclasses.replace(backbone, weights=weights, text=text), notes


def _check_texts(record: Record, backbone: BackboneConfig, name: str) -> None:
    """Raise RecordError where the text files are not those that a record was made with; weights don't tell."""
    made, here = record.content["facts"]["model"], model_hash(backbone, name)
    if made != here:
        raise RecordError(
            f"{record.path} was made with other text files than those in {printable(backbone.text)}: with them {name} "
            f"has the hash {here}, not {made}. Give the right folder: backbone.text=FOLDER"
        )


def _from(schema: type[Any], content: dict[str, Any]) -> Any:
    names = {f.name for f in dataclasses.fields(schema)}
    return schema(**{name: value for name, value in content.items() if name in names})


def _replace(method_class: type[Method[Any]], params: Any, overrides: Mapping[str, Any], name: str) -> Any:
    allowed, made = method_class.editable, dataclasses.asdict(params)
    for key in overrides:
        if not any(key == prefix or key.startswith(prefix + ".") for prefix in allowed):
            if _at(made, key) is MISSING:
                instead = did_you_mean(key, allowed) if allowed else "none of its parameters can change after training."
                raise AdbenchError(f"unknown parameter method.{key} of {name}: {instead}")
            may = f"{' and '.join(allowed)} can" if allowed else "none of its parameters can"
            raise AdbenchError(
                f"method.{key} can't be changed after training of {name}; {may}. "
                f"Run a new cell: adbench run method={name} method.{key}=…"
            )
    for key, value in _leaves(overrides):
        if isinstance(parts := _at(made, key), Mapping):
            raise AdbenchError(
                f"method.{key}={brief(value)} is not possible: it has parts, "
                f"{' and '.join(f'method.{key}.{part}=' for part in parts)}"
            )
        texts = isinstance(value, list) and all(isinstance(one, (str, int, float)) for one in value)
        if isinstance(_at(made, key), list) and not texts:
            raise AdbenchError(
                f"method.{key}={brief(value)} is not possible: a list of texts is needed, as in "
                f"\"method.{key}=['healthy {{}}']\""
            )
    return layers.merge(method_class.Params, made, nested(overrides), f"method {name!r}")


def nested(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return dotted parameters as parameters with parts.

    >>> nested({"prompts.normal": ["healthy {}"], "temperature": 0.1})
    {'prompts': {'normal': ['healthy {}']}, 'temperature': 0.1}
    """
    over: dict[str, Any] = {}
    for key, value in overrides.items():
        *parents, leaf = key.split(".")
        place = over
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = value
    return over
