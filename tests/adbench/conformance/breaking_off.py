"""Methods that break off in the middle, or return something else than the contract says."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

import torch
from torch import Tensor

from adbench import Batch, Capability, Scores, Support
from tests.adbench.conformance.broken_methods import Sound


class WithoutText(Exception):
    def __str__(self) -> NoReturn:
        raise RuntimeError("no text")


class RaisesInCapability(Sound):
    @classmethod
    def capability(cls, params: Any, architecture: Any) -> Capability:
        raise WithoutText


class ExitsInCapability(Sound):
    @classmethod
    def capability(cls, params: Any, architecture: Any) -> Capability:
        sys.exit(0)


class DeclaresADictionary(Sound):
    @classmethod
    def capability(cls, params: Any, architecture: Any) -> Any:
        return {"support": "normal"}


class BlockNames(Sound):
    @classmethod
    def capability(cls, params: Any, architecture: Any) -> Capability:
        return Capability(support="normal", blocks=("2",))  # type: ignore[arg-type]


class ExitsInPrepare(Sound):
    def prepare(self, support: Support) -> None:
        sys.exit(0)


class ExitsInTraining(Sound):
    def training_step(self, batch: Tensor, index: int) -> Tensor:
        sys.exit("no licence")


class StepOfText(Sound):
    def training_step(self, batch: Tensor, index: int) -> Any:
        return "a text"


class EncodesATensor(Sound):
    def encode(self, images: Tensor, progress: str = "") -> Any:
        return images


class ExitsInScore(Sound):
    def score(self, batch: Batch) -> Scores:
        sys.exit(0)


class Interrupts(Sound):
    def score(self, batch: Batch) -> Scores:
        raise KeyboardInterrupt


class SaysNothing(Sound):
    def score(self, batch: Batch) -> Any:
        return None


class BareTensor(Sound):
    def told(self, image: Tensor, maps: Tensor, batch: Batch) -> Any:
        return image


class Column(Sound):
    def told(self, image: Tensor, maps: Tensor, batch: Batch) -> Scores:
        return Scores(image[:, None], maps)


class BothStates(Sound):
    def told(self, image: Tensor, maps: Tensor, batch: Batch) -> Scores:
        return Scores(torch.stack([image, -image], 1), maps)


class MapsWithChannel(Sound):
    def told(self, image: Tensor, maps: Tensor, batch: Batch) -> Scores:
        return Scores(image, maps[:, None])


# class, the gate that it fails, what is seen
BREAKING_OFF = [
    (RaisesInCapability, "capability", r"^WithoutText \(its text can't be read: RuntimeError\) \(.*\.py:\d+\)"),
    (ExitsInCapability, "capability", r"^SystemExit: 0 \(breaking_off\.py:\d+\)$"),
    (DeclaresADictionary, "capability", "came back, where a Capability is needed"),
    (BlockNames, "capability", r"blocks=\['2'\], where blocks 1 to 12"),
    (ExitsInPrepare, "fit", r"^SystemExit: 0 \(.*\.py:\d+\)$"),
    (ExitsInTraining, "fit", "^SystemExit: no licence"),
    (StepOfText, "fit", "training_step"),
    (EncodesATensor, "fit", "'Tensor' object has no attribute 'blocks'"),
    (ExitsInScore, "batch alone", "^SystemExit: 0"),
    (Interrupts, "batch alone", "^KeyboardInterrupt"),
    (SaysNothing, "shapes", r"score\(\) of SaysNothing returned None, where Scores\(image, maps\) is needed"),
    (BareTensor, "shapes", r"returned shape \(6,\), where Scores"),
    (Column, "shapes", r"image of shape \(6, 1\) for 6 images, where a tensor of shape \(6,\) is needed"),
    (BothStates, "shapes", r"image of shape \(6, 2\) for 6 images"),
    (MapsWithChannel, "shapes", r"maps of shape \(6, 1, \d, \d\) for 6 images"),
]
