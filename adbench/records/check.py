"""What record.json may hold: a type and a range for each key that a board, the site or `load` reads.

Records come from other machines and other people. One that doesn't hold what adbench writes is refused as a whole, with
the name of the key; so no reader has to doubt a value. Keys that are not listed here are allowed, and shown at most.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from adbench.records.hashes import HASH, is_name
from adbench.system.text import CONTROL, brief

MOST_IMAGES = 10_000_000  # rows of a table of predictions
MOST_LESIONS = 2**26  # rows of a table of lesions
ROUNDING = 1e-6  # by which a figure may miss its range
MOST_DEPTH = 16  # lists and objects within each other; adbench writes 6
KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}")
HASHED = re.compile(r"[0-9a-f]{20}")


class Rule(NamedTuple):
    """A test of one value, and what the value is to be, in words; `needed`: a record has the key."""

    holds: Callable[[Any], bool]
    wanted: str
    needed: bool = True


def _is_text(value: Any) -> bool:
    return type(value) is str


def _is_name(value: Any) -> bool:
    return type(value) is str and 0 < len(value) <= 2000 and CONTROL.search(value) is None


def _is_flag(value: Any) -> bool:
    return type(value) is bool


def _is_object(value: Any) -> bool:
    return type(value) is dict


def _is_shots(value: Any) -> bool:
    return value == "full" or (type(value) is int and 0 <= value <= MOST_IMAGES)


def _is_fraction(value: Any) -> bool:
    return type(value) in (float, int) and -ROUNDING <= value <= 1 + ROUNDING


def _is_amount(value: Any) -> bool:
    return type(value) in (float, int) and 0 <= value <= 1e18


def _is_split(value: Any) -> bool:
    if type(value) is not dict or not _is_name(value.get("images")) or not SEED.holds(value.get("seed")):
        return False
    folds, fold, shares = value.get("folds"), value.get("fold"), value.get("shares")
    whole = (folds is None and fold is None) or (type(folds) is type(fold) is int and 0 <= fold < folds <= MOST_IMAGES)
    return whole and (shares is None or (type(shares) is list and all(map(_is_amount, shares))))


def _is_held_out(value: Any) -> bool:
    if type(value) is not dict or value.get("source") not in ("valid", "support_cv", "none"):
        return False
    counts: list[Any] = [value.get(name) for name in ("images", "patients", "normal", "abnormal", "of", "in_test")]
    if not all(type(count) is int and 0 <= count <= MOST_IMAGES for count in counts):
        return False
    images, patients, normal, abnormal, of, _ = counts
    texts = all(value.get(name) is None or _is_name(value[name]) for name in ("split", "why"))
    shift = value.get("shift")
    whole = normal + abnormal == images and patients <= images <= of and (images > 0 or bool(value.get("why")))
    return texts and whole and (shift is None or (_within(0, 31)(shift) and normal > 0))


def _within(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and low <= value <= high


def _one_of(*texts: str) -> Rule:
    return Rule(lambda value: type(value) is str and value in texts, " or ".join(texts))


def _maybe(rule: Rule) -> Rule:
    return Rule(lambda value: value is None or rule.holds(value), f"{rule.wanted}, or null")


def _optional(rule: Rule) -> Rule:
    return rule._replace(needed=False)


def _list_of(rule: Rule) -> Rule:
    return Rule(lambda value: type(value) is list and all(map(rule.holds, value)), f"a list, each {rule.wanted}")


def _object_of(rule: Rule, needed: str | None = None) -> Rule:
    """Return the rule of an object whose values all follow `rule`, and in which the one of `needed` is not null."""
    words = f"an object, each {rule.wanted}" + (f", with {needed}" if needed else "")
    return Rule(
        lambda value: (
            type(value) is dict
            and all(map(rule.holds, value.values()))
            and (needed is None or value.get(needed) is not None)
        ),
        words,
    )


TEXT = Rule(_is_text, "text")
NAME = Rule(_is_name, "text of 1 to 2000 printable characters")
FLAG = Rule(_is_flag, "true or false")
OBJECT = Rule(_is_object, "an object")
COUNT = Rule(_within(0, 10**15), "an integer, at least 0")
SEED = Rule(_within(0, 2**64 - 1), "an integer from 0 to 2**64 - 1")
THREADS = Rule(_within(1, 1024), "an integer from 1 to 1024")  # of older records
CORES = Rule(lambda value: value == "auto" or _within(1, 512)(value), "`auto`, or an integer from 1 to 512")
KEPT = Rule(  # true and false in older records
    lambda value: type(value) is bool or value in ("auto", "disk", "memory", "off"), "auto, disk, memory or off"
)
SIDE = Rule(_within(1, 4096), "an integer from 1 to 4096")
SHOTS = Rule(_is_shots, "a number of images, or full")
FRACTION = Rule(_is_fraction, "a number from 0 to 1")
AMOUNT = Rule(_is_amount, "a number, at least 0")
FIGURES = _object_of(_maybe(FRACTION))
SOURCE = Rule(
    lambda value: _is_name(value) and re.fullmatch(r"draw:\d{1,9}|(?!draw:).+", value) is not None,
    "a draw as in draw:0, or a list",
)
NUMBER = Rule(lambda value: type(value) in (float, int) and abs(value) <= 1e18, "a number")
COUNTS = _object_of(
    _maybe(Rule(lambda value: _list_of(COUNT).holds(value) and len(value) == 2, "[normal, abnormal] images"))
)
BLOCK = Rule(_within(0, 10_000), "the number of a block")
SPLIT = Rule(lambda value: _is_split(value), "a split as adbench makes it")
FILES = Rule(
    lambda value: (
        type(value) is dict
        and all(map(is_name, value))
        and all(type(one) is str and HASH.fullmatch(one) is not None for one in value.values())
    ),
    "an object of names of files and their SHA-256",
)
BUNDLED = Rule(
    lambda v: (
        type(v) is dict and _is_name(v.get("record")) and _is_flag(v.get("pictures")) and _is_flag(v.get("anonymised"))
    ),
    "an object with record, text, and pictures and anonymised, true or false",
)

Fields = Mapping[str, "Rule | Fields"]
FIELDS: Fields = {
    "key": Rule(lambda value: type(value) is str and KEY.fullmatch(value) is not None, "a key of a cell"),
    "data": _one_of("phantom", "real"),
    "given": _list_of(TEXT),
    "resolved": {
        "method": NAME, "dataset": NAME, "backbone": NAME, "data_root": TEXT, "preset": TEXT, "protocol": TEXT,
        "train_on": _maybe(TEXT), "shots": SHOTS, "draw": SEED, "support": _maybe(TEXT), "seed": SEED,
        "selection": NAME, "schedule": NAME, "input_size": _maybe(SIDE), "eval_size": TEXT, "batch_size": COUNT,
        "precision": TEXT, "threads": _optional(THREADS), "cores": _optional(CORES), "device": TEXT,
        "runs": TEXT, "cache": _maybe(TEXT), "cache_gb": AMOUNT, "feature_cache": KEPT, "force": FLAG,
        "gallery": COUNT, "gallery_levels": FLAG, "executor": _optional(TEXT), "workers": _optional(COUNT),
        "loader_workers": _optional(COUNT), "logger": _optional(TEXT), "operating": _optional(NAME),
        "deterministic": _optional(FLAG), "compile": _optional(FLAG), "features_gb": _optional(AMOUNT),
        "overrides": _object_of(OBJECT),
    },
    "facts": {
        "method": NAME, "dataset": NAME, "data": NAME, "dataset_facets": OBJECT, "params": OBJECT,
        "support": NAME, "seed": SEED, "weights": NAME, "train_on": _maybe(NAME), "source": _optional(_maybe(NAME)),
        "method_version": _optional(_maybe(NAME)), "trainer": _optional(_maybe(OBJECT)),
        "backbone": _optional(NAME), "selection": _optional(NAME), "protocol": _optional(NAME),
        "eval_size": _optional(SIDE), "operating": _optional(NAME), "deterministic": _optional(FLAG),
        "compile": _optional(FLAG),
    },
    "dataset": {
        "title": _maybe(TEXT), "modality": _maybe(TEXT), "organ": _maybe(TEXT), "source": _maybe(TEXT),
        "licence": _maybe(TEXT), "category": _optional(_maybe(NAME)), "object_name": _optional(TEXT), "masks": FLAG,
        "mask_threshold": _optional(_maybe(AMOUNT)), "fingerprint": NAME, "split": _optional(_maybe(SPLIT)),
        "published": _optional(_maybe(FLAG)), "counts": _optional(COUNTS), "expected": _optional(COUNTS),
    },
    "support": {
        "source": SOURCE, "shots": SHOTS, "normal": _list_of(TEXT), "abnormal": _list_of(TEXT), "hash": NAME,
    },
    "seen": _optional(_list_of(OBJECT)),
    "protocol": NAME,
    "backbone": {
        "title": _optional(TEXT), "model": _optional(NAME), "weights": _optional(NAME), "input_size": _optional(SIDE),
        "activation": _optional(NAME), "normalisation": _optional(NAME), "seed": _optional(SEED),
        "stand_in": _optional(FLAG), "name": NAME, "weights_hash": _optional(NAME), "built_activation": _optional(NAME),
        "built_normalisation": _optional(NAME), "built_input_size": _optional(SIDE), "kind": _optional(NAME),
        "args": _optional(OBJECT), "levels": _optional(_list_of(BLOCK)), "mean": _optional(_list_of(NUMBER)),
        "std": _optional(_list_of(NUMBER)), "licence": _optional(TEXT), "text": _optional(TEXT),
    },
    "capability": {
        "support": _optional(_one_of("none", "normal", "both")), "maps": FLAG, "pooled": _optional(FLAG),
        "transductive": _optional(FLAG), "blocks": _optional(_list_of(BLOCK)), "normalisation": _optional(NAME),
        "activation": _optional(NAME), "resize": _optional(_one_of("bilinear", "bicubic")), "grey": _optional(FLAG),
        "threshold": _optional(_maybe(NUMBER)), "text": _optional(FLAG), "class_token": _optional(FLAG),
        "projection": _optional(FLAG), "word_vectors": _optional(FLAG),
        "stages": _optional(_list_of(BLOCK)), "registers": _optional(_list_of(BLOCK)), "vv": _optional(_list_of(BLOCK)),
        "vv_from": _optional(BLOCK), "own_backbone": _optional(FLAG), "least_support": _optional(COUNT),
    },
    "notes": _list_of(TEXT),
    "metrics": _object_of(_maybe(FRACTION), "image_auroc"),
    "half_widths": _object_of(FRACTION),
    "histogram": _maybe(Rule(
        lambda v: type(v) is dict and _within(0, 31)(v.get("shift")) and COUNT.holds(v.get("n_regions")),
        "an object with shift, an integer from 0 to 31, and n_regions, at least 0",
    )),
    "image_histograms": _optional(_maybe(Rule(
        lambda v: type(v) is dict and _within(0, 31)(v.get("shift")), "an object with shift, an integer from 0 to 31",
    ))),
    "lesions": _optional(_maybe(Rule(
        lambda v: type(v) is dict and _within(0, MOST_LESIONS)(v.get("number")) and _within(0, 64)(v.get("thresholds")),
        f"an object with number, an integer from 0 to {MOST_LESIONS}, and thresholds, at most 64",
    ))),
    "held_out": _optional(_maybe(Rule(
        _is_held_out, "what adbench writes of held-out images: source, images, patients, normal, abnormal, of, ...",
    ))),
    "test_images": Rule(_within(1, MOST_IMAGES), f"an integer from 1 to {MOST_IMAGES}"),
    "parameters": {"trainable": COUNT, "total": _optional(COUNT)},
    "seconds": _object_of(AMOUNT, "fit"),
    "peak_memory": _object_of(AMOUNT, "host_bytes"),
    "code": {
        "version": TEXT, "commit": _maybe(TEXT), "dirty": _maybe(FLAG), "method_source": _optional(_maybe(NAME)),
    },
    "packages": _object_of(TEXT),
    "device": OBJECT,
    "finished": TEXT,
    "masks": _optional(_maybe(Rule(
        lambda v: type(v) is dict and SIDE.holds(v.get("size")) and all(map(COUNT.holds, v.values())),
        "an object with size, an integer from 1 to 4096, and counts",
    ))),
    "overlap": COUNT,
    "selection": {"rule": NAME, "epoch": _optional(COUNT), "curve": _optional(OBJECT), "last": _maybe(FIGURES)},
    "images_per_second": _maybe(AMOUNT),
    "gflops_per_image": _maybe(AMOUNT),
    "tracker": _optional(_maybe(OBJECT)),
    "files": _optional(FILES),
    "bundled": _optional(BUNDLED),
}  # fmt: skip
# Places that say the same thing of a record that nobody edited.
SAME = (
    (("facts", "backbone"), ("resolved", "backbone")),
    (("facts", "dataset"), ("resolved", "dataset")),
    (("facts", "selection"), ("resolved", "selection")),
    (("facts", "selection"), ("selection", "rule")),
    (("facts", "operating"), ("resolved", "operating")),
    (("facts", "protocol"), ("protocol",)),
    (("facts", "support"), ("support", "hash")),
    (("facts", "data"), ("dataset", "fingerprint")),
)


def problem(content: Mapping[str, Any]) -> str | None:
    """Return in words what is wrong with the content of a complete record's record.json, or None.

    >>> problem({"key": 7})
    'key is 7, not a key of a cell'
    """
    return _deep(content) or _wrong(content, FIELDS, "") or _contradiction(content)


def _deep(content: Mapping[str, Any]) -> str | None:
    level: list[Any] = [content]
    for _ in range(MOST_DEPTH):
        level = [
            value
            for part in level
            for value in (part.values() if type(part) is dict else part)
            if type(value) is dict or type(value) is list
        ]
        if not level:
            return None
    return f"lists and objects are nested more than {MOST_DEPTH} deep"


def _wrong(content: Mapping[str, Any], fields: Fields, prefix: str) -> str | None:
    for key, rule in fields.items():
        if key not in content:
            if not isinstance(rule, Rule) or rule.needed:
                return f"{prefix}{key} is missing"
            continue
        value = content[key]
        if isinstance(rule, Rule):
            if not rule.holds(value):
                return f"{prefix}{key} is {brief(value)}, not {rule.wanted}"
        elif type(value) is not dict:
            return f"{prefix}{key} is {brief(value)}, not an object"
        elif wrong := _wrong(value, rule, f"{prefix}{key}."):
            return wrong
    return None


def _contradiction(content: Mapping[str, Any]) -> str | None:
    for first, second in SAME:
        a, b = _at(content, first), _at(content, second)
        if a is not None and a != b:
            return f"{'.'.join(first)} is {brief(a)} and {'.'.join(second)} {brief(b)}"
    if content["selection"]["last"] is not None and content["selection"]["rule"] != "oracle":
        return f"selection.last belongs to oracle, and selection.rule is {brief(content['selection']['rule'])}"
    method = content["resolved"]["method"].rpartition(":")[2]
    if content["facts"]["method"] != method:
        return f"facts.method is {brief(content['facts']['method'])} and resolved.method names {brief(method)}"
    hashed = "schema" in content["facts"] or HASHED.fullmatch(content["key"])
    if hashed and key_of(content["facts"]) != content["key"]:
        return "key is not the hash of its facts: somebody edited them"
    return None


def _at(content: Mapping[str, Any], place: tuple[str, ...]) -> Any:
    value: Any = content
    for key in place:
        value = value.get(key)
    return value


def key_of(facts: Mapping[str, Any]) -> str:
    """Return the key of a cell: the first 20 hexadecimal digits of the SHA-256 of its facts."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:20]
