"""The cell: one point of the benchmark (method, dataset, support, seed, ...), and the key that names its record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from adbench.backbone.config import BackboneConfig
from adbench.config.schema import RunConfig
from adbench.data.decode import ImageFormat
from adbench.data.indexed import IndexedDataset
from adbench.data.items import DatasetConfig, Item
from adbench.data.support import Manifest
from adbench.records.check import key_of

if TYPE_CHECKING:  # imports torch, which looking at a support does without
    from adbench.backbone.capability import Capability
    from adbench.cells.methods import ResolvedMethod
    from adbench.method import Method

# Protocols that need train_on=, protocols that train on other datasets, and protocols that take the whole train split.
NEED_TRAIN_ON = ("cross_dataset", "unified", "unified_full_normal", "auxiliary")
ELSEWHERE = (*NEED_TRAIN_ON, "leave_one_out", "leave_one_out_published")
FULL_SPLIT = ("full_normal", "unified_full_normal")
# Facts of testing, which no training depends on. The second group matters where an epoch is chosen by scores.
OF_THE_TEST = ("dataset", "data", "dataset_facets", "protocol")
OF_SCORING = ("eval_size", "batch_size")
OF_HELD_OUT = ("operating", "held_out")  # facts of the images held out for thresholds, which no training sees


def by_split(items: Sequence[Item]) -> dict[str, int]:
    """Return the number of some images by their split, in the order of their first images."""
    return dict(Counter(item.split for item in items))


def in_words(splits: Sequence[str], dataset: str) -> str:
    """Name splits of a dataset.

    >>> in_words(["valid", "train"], "oct17")
    'the valid and train splits of oct17'
    """
    return f"the {' and '.join(splits)} split{'s' * (len(splits) > 1)} of {dataset}"


@dataclass(frozen=True)
class TrainingSet:
    """The images of one dataset that a method learns from: its support."""

    dataset: IndexedDataset
    split: str
    support: tuple[Item, ...]
    manifest: Manifest

    @property
    def splits(self) -> dict[str, int]:
        """The number of its images by the split they are from, the first choice first."""
        return by_split(self.support)

    @property
    def where(self) -> str:
        """Where its images are from, for messages: "the valid split of brainmri"."""
        return in_words(list(self.splits) or [self.split], self.dataset.name)


@dataclass(frozen=True)
class Holdout:
    """Held-out labelled images of one dataset, by which an epoch is chosen."""

    dataset: IndexedDataset
    split: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Cell:
    """Everything that a run needs; a run changes nothing in it.

    facts: all that can change the result; the key is their hash.
    holdouts: the images by which selection=valid chooses the epoch, by training set.
    source_hash: of the method's source, where a package of somebody else brings it (`registry.Entry.source_hash`).
    notes: what was set differently from what was asked, in sentences.
    seconds: how long resolving took.
    """

    config: RunConfig
    method: ResolvedMethod
    backbone: BackboneConfig
    target: IndexedDataset
    training_sets: tuple[TrainingSet, ...]
    holdouts: tuple[Holdout, ...]
    manifest: Manifest
    facts: dict[str, Any]
    source_hash: str | None
    notes: tuple[str, ...]
    seconds: float

    @cached_property
    def key(self) -> str:
        """The content hash that names the record: 20 hexadecimal digits."""
        return key_of(self.facts)

    @property
    def capability(self) -> Capability:
        """What its method declares."""
        return self.method.capability

    @property
    def protocol(self) -> str:
        """Its protocol, `auto` resolved."""
        return str(self.facts["protocol"])

    @property
    def method_class(self) -> type[Method[Any]]:
        """The class of its method."""
        return self.method.method_class

    @property
    def params(self) -> Any:
        """The parameters of its method."""
        return self.method.params

    @property
    def test_items(self) -> list[Item]:
        """The items of the test split."""
        return self.target.split("test")

    @property
    def dataset(self) -> DatasetConfig:
        """The configuration of the tested dataset."""
        return self.target.config

    @property
    def input_size(self) -> int:
        """Pixels of the square images that enter the backbone."""
        return int(self.facts["input_size"])

    @property
    def eval_size(self) -> int:
        """Pixels to which maps and masks are resized before pixel metrics."""
        return int(self.facts["eval_size"])

    @property
    def format(self) -> ImageFormat:
        """How its images are decoded."""
        return ImageFormat(self.input_size, self.capability.resize, self.capability.grey, self.eval_size)

    @property
    def backbone_name(self) -> str:
        """The name of its backbone; where the method brings its own network, that network's."""
        return self.backbone.model if self.capability.own_backbone else self.config.backbone

    @property
    def weights(self) -> str:
        """The hash of the backbone's weights."""
        return str(self.facts["weights"])

    @property
    def training_key(self) -> str | None:
        """The hash of a training that several cells share; None where the method trains on the tested dataset."""
        if self.protocol not in ELSEWHERE:
            return None
        rule = self.config.selection
        apart: tuple[str, ...] = OF_HELD_OUT if rule == "oracle" else (*OF_HELD_OUT, *OF_THE_TEST)
        if rule == "last" or rule.startswith("fixed:"):
            apart += OF_SCORING
        facts = {key: v for key, v in self.facts.items() if key not in apart}
        return key_of(facts)
