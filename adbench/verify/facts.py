"""What a record says in two places, and what its method, backbone and dataset say of themselves here."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from adbench.backbone.config import NOTHING, BackboneConfig
from adbench.backbone.weights import architecture
from adbench.cells.cell import ELSEWHERE
from adbench.cells.protocols import DEFAULT_PROTOCOL
from adbench.config import layers
from adbench.config.schema import OWN, Overrides
from adbench.data.counts import is_published, without_claims
from adbench.data.items import DatasetConfig
from adbench.errors import AdbenchError
from adbench.plugins import registry
from adbench.records.check import key_of
from adbench.records.record import Record
from adbench.system.text import brief, said
from adbench.verify.keys import is_recent

# Places that say the same thing; those that reading a record compares already are in records/check.py.
SAME = (
    ("facts.seed", "resolved.seed"),
    ("facts.batch_size", "resolved.batch_size"),
    ("facts.precision", "resolved.precision"),
    ("facts.threads", "resolved.threads"),
    ("facts.deterministic", "resolved.deterministic"),
    ("facts.compile", "resolved.compile"),
    ("facts.backbone", "backbone.name"),
    ("facts.weights", "backbone.weights_hash"),
    ("facts.activation", "backbone.built_activation"),
    ("facts.normalisation", "backbone.built_normalisation"),
    ("facts.input_size", "backbone.built_input_size"),
)


def check_key(record: Record) -> Iterator[str]:
    """Yield a sentence where the key of a record is not the hash of its facts."""
    if record.key != (key := key_of(record.content["facts"])):
        yield f"key is {record.key}, and the hash of its facts is {key}"


def check_facts(record: Record) -> Iterator[str]:
    """Yield a sentence for each two places of a record that should say the same thing and don't."""
    content = record.content
    for first, second in SAME:
        a, b = _at(content, first), _at(content, second)
        if a is not None and b is not None and a != b:
            yield f"{first} is {brief(a)}, and {second} is {brief(b)}"
    facts, resolved = content["facts"], content["resolved"]
    size = resolved["eval_size"]
    wanted = facts.get("input_size") if size == "method" else int(size) if size.isdigit() else size
    if facts.get("eval_size", wanted) != wanted:
        yield f"facts.eval_size is {brief(facts['eval_size'])}, and resolved.eval_size is {brief(size)}"
    if resolved.get("input_size") and facts.get("input_size") != resolved["input_size"]:
        yield f"facts.input_size is {brief(facts.get('input_size'))}, and resolved.input_size {resolved['input_size']}"
    yield from _check_protocol(content)
    yield from _check_dataset(content)
    yield from _check_backbone(content)


def _at(content: Mapping[str, Any], place: str) -> Any:
    section, _, key = place.partition(".")
    return content[section].get(key)


def _check_protocol(content: Mapping[str, Any]) -> Iterator[str]:
    protocol, learns = content["protocol"], content["capability"].get("support")
    if learns is None:
        return
    possible = {DEFAULT_PROTOCOL[learns], *(["full_normal"] if learns == "normal" else [])}
    possible |= set(ELSEWHERE) if learns != "none" else set()
    if protocol not in possible:
        yield f"protocol is {brief(protocol)}, and a method that learns from {learns} images can't follow it"
    asked = content["resolved"]["protocol"]
    if asked not in ("auto", protocol) and (asked, protocol) != ("full_normal", "unified_full_normal"):
        yield f"protocol is {brief(protocol)}, and resolved.protocol is {brief(asked)}"


def _check_dataset(content: Mapping[str, Any]) -> Iterator[str]:
    about, facts = content["dataset"], content["facts"]
    names = {field.name for field in dataclasses.fields(DatasetConfig)}
    try:
        facets = DatasetConfig(**{name: value for name, value in about.items() if name in names}).facets()
    except (AdbenchError, TypeError, ValueError) as error:
        yield f"dataset is no configuration of a dataset ({said(error)})"
        return
    if not is_recent(content) and "mask_reading" not in facts["dataset_facets"]:
        facets.pop("mask_reading", None)  # no fact yet
    if facts["dataset_facets"] and _plain(facets) != facts["dataset_facets"]:
        odd = [
            n for n in {*facets, *facts["dataset_facets"]} if _plain(facets.get(n)) != facts["dataset_facets"].get(n)
        ]
        yield f"dataset and facts.dataset_facets differ in {', '.join(sorted(odd))}"
    if content["resolved"]["data_root"] == "phantom" and content["data"] != "phantom":
        yield f"data is {brief(content['data'])}, and resolved.data_root is phantom"
    if about.get("counts") is not None and "published" in about:
        expected = about.get("expected") or {}
        found = None if content["data"] == "phantom" else is_published(expected, about["counts"])
        if found is not about["published"]:
            yield f"dataset.published is {_plain(about['published'])}, and its counts say {found}"
    usual = _usual(DatasetConfig, "dataset", str(facts["dataset"]), about.get("category"))
    for key in ("expected", "own_images") if usual is not None else ():
        mine = getattr(usual, key)
        if key in about and mine != about[key] and not (key == "expected" and usual.own_images):
            yield f"dataset.{key} is {brief(about[key])}, and {facts['dataset']}.yaml states {brief(mine)}"
    yield from _check_claims(content, usual)


def _check_claims(content: Mapping[str, Any], usual: DatasetConfig | None) -> Iterator[str]:
    """Yield a sentence where title or licence, which bundles publish, are not those of the dataset that is installed.

    Images that are not the published ones have neither. A dataset of another package may state others in another
    version of it.
    """
    about, name = content["dataset"], str(content["facts"]["dataset"])
    entry = registry.entries("dataset").get(name)
    if usual is None or entry is None or entry.foreign:
        return
    claims = without_claims(usual) if about.get("published") is False else usual
    typed = (content["resolved"].get("overrides") or {}).get("dataset", {})
    for key in ("title", "licence"):
        if key in about and key not in typed and about[key] != (mine := getattr(claims, key)):
            yield f"dataset.{key} is {brief(about[key])}, and {name}.yaml gives {brief(mine)}"


def _check_backbone(content: Mapping[str, Any]) -> Iterator[str]:
    about = content["backbone"]
    usual = _usual(BackboneConfig, "backbone", str(about["name"]))
    if usual is not None and about.get("stand_in", usual.stand_in) != usual.stand_in:
        yield (
            f"backbone.stand_in is {_json(about['stand_in'])}, and {about['name']}.yaml states {_json(usual.stand_in)}"
        )


def unproven_backbone(content: Mapping[str, Any]) -> str:
    """Return what can't be checked of a record's backbone, where its YAML is not installed here; empty for nothing."""
    name = str(content["backbone"]["name"])
    if name == OWN or _usual(BackboneConfig, "backbone", name) is not None:
        return ""
    return f"backbone.stand_in, whether it has only ever seen drawings: there is no {name}.yaml here"


@functools.cache
def _usual(schema: type[Any], kind: Literal["dataset", "backbone"], name: str, category: str | None = None) -> Any:
    """Return the configuration that is registered here under a name, of one category; none where there is none."""
    try:
        return layers.section(schema, kind, name, Overrides({"category": category} if category else {}))
    except AdbenchError:
        return None


def check_declaration(record: Record) -> Iterator[str]:
    """Yield a sentence for each thing that the method declares otherwise, where it is registered here as it was."""
    content = record.content
    declared, _ = declaration(content)
    for key, value in declared.items():
        if key in content["capability"] and content["capability"][key] != value:
            stated = content["capability"][key]
            yield (
                f"capability.{key} is {brief(stated)}, and {content['facts']['method']} declares {brief(value)} "
                "with these parameters"
            )


def declaration(content: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return what the method of a record declares here, and why it can't be compared (or empty).

    A method that is named by its file is not imported: whoever made the record would choose what runs here.
    """
    facts, name = content["facts"], content["resolved"]["method"]
    backbone = {f.name: content["backbone"].get(f.name) for f in dataclasses.fields(BackboneConfig)}
    about = json.dumps([facts["params"], facts.get("method_version"), facts.get("source"), backbone], sort_keys=True)
    return _declaration(name, content["backbone"]["name"], about)


@functools.cache
def _declaration(name: str, backbone: str, about: str) -> tuple[dict[str, Any], str]:
    params, version, source, config = json.loads(about)
    entry = None if ":" in name else registry.entries("method").get(name)
    usual = NOTHING if backbone == OWN else _usual(BackboneConfig, "backbone", backbone)
    if entry is None:
        return {}, f"what the method declares: {name.rpartition('/')[2]} is no registered method"
    if usual is None or (usual is not NOTHING and usual.model != config["model"]):
        return {}, f"what the method declares: {backbone} is no backbone that is registered here"
    if "${" in about:
        return {}, "what the method declares: its parameters hold ${"
    try:
        method_class = entry.load()
        if (method_class.version, entry.source(method_class)) != (version, source):
            return {}, f"what the method declares: {name} has another version here"
        merged = layers.merge(method_class.Params, params, {}, f"method {name!r}")
        capability = method_class.capability(merged, architecture(usual, backbone))
    except Exception as error:  # of a method's own code, or of parameters that somebody edited
        return {}, f"what the method declares ({said(error)})"
    return _plain(dataclasses.asdict(capability)), ""


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _json(value: Any) -> str:
    return json.dumps(value)
