"""The keys of `adbench run`: their types, and the values that are possible."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from adbench.config import ranges
from adbench.errors import AdbenchError, did_you_mean
from adbench.system.cores import AUTO
from adbench.system.text import CONTROL, cut, printable

SECTIONS = ("method", "dataset", "backbone", "trainer", "wandb")
ALLOWED = {
    "preset": ("none", "paper"),
    "protocol": ("auto", "few_shot", "few_normal_shot", "zero_shot", "full_normal", "cross_dataset", "unified")
    + ("auxiliary", "leave_one_out", "leave_one_out_published"),
    "schedule": ("short", "paper"),
    "precision": ("32-true", "bf16-mixed", "16-mixed"),
    "device": ("auto", "cpu", "cuda"),
    "operating": ("valid", "support_cv", "none"),
    "feature_cache": ("auto", "disk", "memory", "off"),
    "logger": ("none", "csv", "tensorboard", "wandb"),
}
# A list in these keys would be a sweep over paths or machine settings, which no cell key tells apart.
NOT_AXES = (
    "data_root", "support", "device", "runs", "cache", "cache_gb", "force", "gallery", "gallery_levels",
    "feature_cache", "features_gb", "cores", "executor", "workers", "loader_workers", "logger",
)  # fmt: skip


OWN = "own"  # of `backbone=`: a network that the method brings itself
NAMES = ("method", "dataset", "backbone", "train_on", "data_root", "support", "runs", "cache")
LONGEST_NAME, LONGEST_PATH = 255, 4000  # bytes that file systems take, of one name and of a whole path


class Overrides(dict[str, Any]):
    """The `section.X=value` words of one section, by X. Read-only by convention, so that it can be hashed."""

    def __hash__(self) -> int:  # type: ignore[override]  # dict says it has none
        return hash(repr(sorted(self.items())))


def cache_folder(given: str | None = None) -> Path:
    """Return the cache folder: the given one, else $ADBENCH_CACHE, else `adbench` in $XDG_CACHE_HOME or ~/.cache."""
    if folder := given or os.environ.get("ADBENCH_CACHE"):
        return Path(folder).expanduser()
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))  # its specification: a relative path is not valid
    return (shared if shared.is_absolute() else Path.home() / ".cache") / "adbench"


@dataclass
class RunConfig:
    """The keys of configs/run.yaml, typed. `overrides` holds the `section.X=value` words by section."""

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
    device: str
    runs: str
    cache: str | None
    cache_gb: float
    feature_cache: str
    force: bool
    gallery: int
    gallery_levels: bool
    cores: int | str = AUTO
    executor: str = "local"
    workers: int = 1
    loader_workers: int = 0
    logger: str = "none"
    operating: str = "valid"
    deterministic: bool = True
    compile: bool = False
    features_gb: float = 8
    overrides: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key in ("data_root", "support", "runs", "cache"):
            if (path := getattr(self, key)) is not None:
                setattr(self, key, os.path.expanduser(path))
        self.overrides = {
            section: words if isinstance(words, Overrides) else Overrides(words)
            for section, words in self.overrides.items()
        }

    @classmethod
    def of_record(cls, resolved: Mapping[str, Any], **changes: Any) -> RunConfig:
        """Return the configuration that a record keeps, with changes; keys of older versions of adbench are left out.

        What `feature_cache` was called in older records becomes what it is called now. Raises TypeError for a key that
        no version has.
        """
        kept = {key: value for key, value in resolved.items() if key not in GONE}
        if type(value := kept.get("feature_cache")) is bool:
            kept["feature_cache"] = "disk" if value else "off"
        return cls(**kept | changes)

    def as_dict(self) -> dict[str, Any]:
        """Return the keys as plain values, as records keep them."""
        return dataclasses.asdict(self) | {"overrides": {name: dict(words) for name, words in self.overrides.items()}}

    def words(self, section: str) -> Overrides:
        """Return the words of one section: those of `method` for `method.X=`."""
        return cast(Overrides, self.overrides.get(section, NO_WORDS))

    @property
    def kernels(self) -> dict[str, bool]:
        """The keys that choose the kernels of a GPU, where they are not the defaults: facts of a cell."""
        switches = {"deterministic": (self.deterministic, True), "compile": (self.compile, False)}
        return {key: value for key, (value, usual) in switches.items() if value != usual}

    @property
    def method_name(self) -> str:
        """The method's name for people: of `FILE.py:Class`, the class."""
        return self.method.rpartition(":")[2]

    @property
    def dataset_name(self) -> str:
        """The dataset for people, with the part of it that is chosen: `mvtec/bottle`, `folder, fold 2 of 5`."""
        words = self.words("dataset")
        name = f"{self.dataset}/{words['category']}" if "category" in words else self.dataset
        name += f", split {words['split_seed']}" if "split_seed" in words else ""
        return name + (f", fold {words['fold']} of {words.get('folds')}" if "fold" in words else "")

    @property
    def cache_dir(self) -> Path:
        """The cache folder, as `cache_folder` finds it."""
        return cache_folder(self.cache)

    @property
    def features_dir(self) -> Path | None:
        """The cache folder where features are kept; none where they aren't."""
        return None if self.feature_cache == "off" else self.cache_dir


NO_WORDS = Overrides()
GONE = {
    "threads": "cores= says how many CPU cores a cell uses, and changes no result"
}  # keys that are no more, and why
# Values that are no more, and what to write instead.
REPLACED = {
    "feature_cache": {
        "true": "feature_cache=auto, or feature_cache=disk, which is what true was",
        "false": "feature_cache=off",
    },
}
SPELLINGS = {"gallery.levels": "gallery_levels"}
KEYS = tuple(f.name for f in dataclasses.fields(RunConfig) if f.name != "overrides")


def validate(config: RunConfig) -> None:
    """Raise AdbenchError for the first value that is not possible."""
    for key in KEYS:
        check_value(key, getattr(config, key))
    check_together(config)


def check_value(key: str, value: Any) -> None:
    """Raise AdbenchError where a key can't have a value, whatever the other keys have."""
    shown = cut(printable(str(value)), 80)
    if key in ALLOWED and value not in ALLOWED[key]:
        if (key, value) == ("device", "gpu"):
            raise AdbenchError(f"device=gpu is not possible: a GPU is device=cuda. Allowed: {', '.join(ALLOWED[key])}.")
        raise AdbenchError(f"{key}={value} is not possible: {did_you_mean(str(value), ALLOWED[key])}")
    if key == "shots" and isinstance(value, str) and value != "full":
        raise AdbenchError(
            ranges.span(key, value)
            or f"shots={shown} is not possible: give a number of images per class, as in 16, or `full` for all."
        )
    if key == "cores" and isinstance(value, str) and value != AUTO:
        raise AdbenchError(f"cores={shown} is not possible: give a number of CPU cores, as in 2, or `auto`.")
    if key in ranges.OF_RUN:
        ranges.check({key: value}, {key: ranges.OF_RUN[key]})
    if key == "selection" and not re.fullmatch(r"last|valid|support_cv|oracle|fixed:[1-9][0-9]{0,6}", value):
        if value.startswith("fixed:"):
            raise AdbenchError(f"selection={shown} is not possible: N of fixed:N is an epoch, from 1.")
        rules = ("last", "fixed:N", "valid", "support_cv", "oracle")
        raise AdbenchError(f"selection={value} is not possible: {did_you_mean(value, rules)}")
    if key == "eval_size" and value != "method":
        if not re.fullmatch(r"-?[0-9]{1,20}", value):
            raise AdbenchError(f"eval_size={printable(value)[:80]} is not possible: pixels, or `method`, are needed.")
        ranges.check({key: int(value)}, {key: ranges.EVAL_SIZE})
    if key in NAMES:
        check_name(key, value)


def check_together(config: RunConfig) -> None:
    """Raise AdbenchError where two values, each of which is possible, don't go together."""
    if config.gallery_levels and config.gallery == 0:
        raise AdbenchError("gallery.levels=true adds maps to the pictures, and gallery=0 makes none. Leave one out.")


def check_name(key: str, text: str | None) -> None:
    """Raise AdbenchError for a name or path with control characters, or longer than file systems take."""
    if text is None:
        return
    if CONTROL.search(text):
        raise AdbenchError(f"{key}={printable(text)[:200]} is not possible: it holds control or invisible characters.")
    parts = [len(os.fsencode(part)) for part in text.split("/")]
    if max(parts) > LONGEST_NAME or sum(parts) + len(parts) > LONGEST_PATH:
        raise AdbenchError(
            f"{key}={text[:40]}… is not possible: a name has at most {LONGEST_NAME} bytes, and a path {LONGEST_PATH}."
        )
