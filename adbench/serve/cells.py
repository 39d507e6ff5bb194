"""A cell behind the page: its record, its method once somebody needs it, and its images on this machine."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from adbench.backbone.contract import Features
from adbench.backbone.features import autocast
from adbench.cells.cell import Cell
from adbench.cells.datamodule import load_support, test_items
from adbench.cells.protocols import SUPPORT_LABELS
from adbench.data.decode import ImageFormat, read_image
from adbench.data.frames import ImagePath
from adbench.data.image_set import to_tensor
from adbench.data.items import Item
from adbench.errors import AdbenchError
from adbench.method import Batch, Method, Support, naming_the_method
from adbench.records.record import Record
from adbench.running.apply import Fitted, LoadKeys, load
from adbench.running.recheck import Reopened
from adbench.scoring.returned import scores_of
from adbench.scoring.score import check_finite, resize_maps
from adbench.serve import distribution, memory, prompts
from adbench.serve.sources import Shown
from adbench.system.session import Session

KEPT = 8  # images whose features are kept: the text side alone runs again on them


@dataclass(frozen=True)
class Scored:
    """What a cell says of one image: its score, and its map (S, S) or none."""

    score: float
    map: Tensor | None


class ServedCell:
    """One record of the page. Its methods may be called from several threads; torch works for one at a time.

    keys: of `load`; data_root: where the dataset's images are, None: where the record says.
    """

    def __init__(self, record: Record, keys: LoadKeys, data_root: str | None, session: Session) -> None:
        self.record, self.keys, self.data_root, self.session = record, keys, data_root, session
        self.lock = threading.RLock()
        self._features: OrderedDict[bytes, Features] = OrderedDict()
        self._edited: tuple[str, Method[Any]] | None = None

    @property
    def name(self) -> str:
        """What people call it: method, dataset, shots, draw and seed."""
        resolved, support = self.record.content["resolved"], self.record.content["support"]
        learned = (
            f"{support['shots']} shots, {support['source'].replace(':', ' ')}"
            if support["normal"] or support["abnormal"]
            else "no support"
        )
        return f"{self.record.content['facts']['method']} on {resolved['dataset']}, {learned}, seed {resolved['seed']}"

    @cached_property
    def _fitted(self) -> Fitted:
        return load(self.record, **self.keys)

    @property
    def fitted(self) -> Fitted:
        """The method, rebuilt at the first call."""
        with self.lock:
            return self._fitted

    @cached_property
    def known(self) -> list[distribution.Known]:
        """The held-out and the test scores of the record."""
        return distribution.known(self.record)

    @cached_property
    def _cell(self) -> Cell:
        root = self.data_root or self.record.content["resolved"]["data_root"]
        cell = Reopened(self.record, root, self.keys, self.session).cell
        for fact in ("data", "support"):
            if cell.facts.get(fact) != self.record.content["facts"].get(fact):
                raise AdbenchError(
                    f"the images of {cell.config.dataset} on this machine are not those that {self.record.path} saw. "
                    "Say where those are: data_root=DIR"
                )
        return cell

    @property
    def cell(self) -> Cell:
        """The cell with its images; raises AdbenchError where they are not on this machine, or are others."""
        with self.lock:
            return self._cell

    @cached_property
    def tested(self) -> tuple[Shown, ...]:
        """The test images."""
        items = test_items(self.cell.target)
        return tuple(  # a name with its folders would tell the label
            Shown(f"test-{self.record.key}-{row}", item.image.name, item.image, item) for row, item in enumerate(items)
        )

    @cached_property
    def learned(self) -> tuple[Shown, ...]:
        """The support images."""
        items = [item for one in self.cell.training_sets for item in one.support]
        return tuple(
            Shown(f"support-{self.record.key}-{row}", item.id, item.image, item) for row, item in enumerate(items)
        )

    @cached_property
    def pool(self) -> tuple[Shown, ...]:
        """The images that the support could have been drawn from, without those that it has."""
        (one,) = self.cell.training_sets
        taken, labels = {item.id for item in one.support}, self.labels
        items = [i for i in self.cell.target.split(one.split) if i.id not in taken and i.label in labels]
        return tuple(
            Shown(f"pool-{self.record.key}-{row}", item.id, item.image, item) for row, item in enumerate(items)
        )

    @property
    def labels(self) -> tuple[int, ...]:
        """The labels of images that the method learns from: 0 normal, 1 abnormal."""
        return SUPPORT_LABELS[self.record.content["capability"]["support"]]

    @cached_property
    def support(self) -> Support:
        """The support as the method sees it."""
        asked, fitted = self.fitted.capability, self.fitted
        how = ImageFormat(fitted.method.backbone.input_size, asked.resize, asked.grey)
        return load_support(self.cell.training_sets, how, fitted.config.cache_dir)

    def score(self, shown: Shown, overrides: Mapping[str, Any]) -> Scored:
        """Score an image, with other texts where `overrides` has some; raises AdbenchError for what can't be.

        The features of the last images are kept: with other texts, the text side alone runs again.
        """
        with self.lock, torch.no_grad():
            method, batch = self._method(overrides), self._batch(shown)
            name, precision = self.fitted.config.method_name, self.fitted.config.precision
            with naming_the_method(name), autocast(method.backbone.device, precision):
                scores = scores_of(method, batch)
            check_finite(scores, [shown.name], name, precision)
            maps = None if scores.maps is None else resize_maps(scores.maps.float().cpu(), method.backbone.input_size)
        return Scored(float(scores.image.float()[0]), None if maps is None else maps[0])

    def explain(self, shown: Shown) -> memory.Neighbour | None:
        """Return the support patch that the hottest patch of an image is compared with; None: there is no memory."""
        with self.lock:
            method = self.fitted.method
            heat = self.score(shown, {}).map
            if heat is None or not memory.has_memory(method):
                return None
            name, precision = self.fitted.config.method_name, self.fitted.config.precision
            with naming_the_method(name), autocast(method.backbone.device, precision):
                return self._neighbours.explain(self._batch(shown), heat)

    @cached_property
    def _neighbours(self) -> memory.Neighbours:
        return memory.Neighbours(self.fitted.method, self.support)

    def phrases(self, shown: Shown, overrides: Mapping[str, Any]) -> dict[str, list[float | None]]:
        """Return the score of an image with each phrase as the only one of its state; None where one can't be alone.

        Phrases whose contexts were trained stand in for their whole state, repeated.
        """
        with self.lock, prompts.texts_once(self.fitted.method.backbone):
            now = prompts.editable(self.fitted) | dict(overrides)
            found: dict[str, list[float | None]] = {}
            for key, texts in now.items():
                if isinstance(texts, list) and "." in key:
                    found[key] = [self._alone(shown, now, key, text, len(texts)) for text in texts]
            return found

    def _alone(self, shown: Shown, now: Mapping[str, Any], key: str, text: str, count: int) -> float | None:
        for texts in ([text], [text] * count):
            try:
                return self.score(shown, dict(now) | {key: texts}).score
            except AdbenchError:
                continue
        return None

    def _method(self, overrides: Mapping[str, Any]) -> Method[Any]:
        changed = prompts.checked(self.fitted, overrides)
        if not changed:
            return self.fitted.method
        key = json.dumps(changed, sort_keys=True)
        if self._edited is None or self._edited[0] != key:
            self._edited = key, prompts.reworded(self.fitted, changed)
        return self._edited[1]

    def _batch(self, shown: Shown) -> Batch:
        fitted, method = self.fitted, self.fitted.method
        pixels = self._pixels(shown.image)
        images, key = to_tensor(pixels[None]), hashlib.sha256(pixels.tobytes()).digest()
        features = self._features.get(key)
        if features is None:
            features = method.encode(images)
            self._features[key] = features
            while len(self._features) > KEPT:
                self._features.popitem(last=False)
        else:
            self._features.move_to_end(key)
        return Batch.of(method, images, fitted.config.dataset, fitted.dataset.object_name, features)

    def _pixels(self, image: ImagePath) -> Any:
        fitted, asked = self.fitted, self.fitted.capability
        size = fitted.method.backbone.input_size
        return read_image(image, size, asked.resize, asked.grey, fitted.dataset.intensity_range)

    def facts(self) -> dict[str, Any]:
        """Return what the page says of the cell."""
        content, fitted = self.record.content, self.fitted
        return {
            "key": self.record.key,
            "name": self.name,
            "method": content["facts"]["method"],
            "dataset": content["resolved"]["dataset"],
            "data": content["data"],
            "learns": content["capability"]["support"],
            "maps": fitted.capability.maps,
            "memory": memory.has_memory(fitted.method),
            "editable": prompts.editable(fitted),
            "object": fitted.dataset.object_name,
            "known": [one.json() for one in self.known],
            "start": distribution.starting_points(self.record),
            "notes": list(fitted.notes),
        }


def items_of(shown: tuple[Shown, ...]) -> list[Item]:
    """Return the items of images of a dataset."""
    return [one.item for one in shown if one.item is not None]
