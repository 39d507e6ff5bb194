"""What the functions of a method return, checked against the contract before anything is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import torch
from torch import Tensor

from adbench.errors import ReturnError
from adbench.method import Batch, Method, Scores, naming_the_method


def scores_of(method: Method[Any], batch: Batch) -> Scores:
    """Return what `score` says of a batch, without gradient; MethodError where it fails or says something else."""
    name, n = type(method).__name__, len(batch.images)
    with naming_the_method(name, "score"):
        scores = method.score(batch)
    if not isinstance(scores, Scores):
        _refuse(name, "score", _kind(scores), "Scores(image, maps)")
    image, maps = scores.image, scores.maps
    if not isinstance(image, Tensor) or image.shape != (n,):
        _refuse(name, "score", f"image of {_kind(image)} for {n} images", f"a tensor of shape ({n},)")
    if (maps is None) == method.declared.maps:
        there, needed = ("no maps", "Scores(image, maps)") if maps is None else ("maps", "Scores(image)")
        _refuse(name, "score", f"{there} though its capability declares maps={method.declared.maps}", needed)
    if maps is not None:
        _check_maps(name, "score", maps, n)
    if not image.is_floating_point():
        _refuse(name, "score", f"image of type {image.dtype}", "floating-point scores")
    return Scores(image.detach(), None if maps is None else maps.detach())


def levels_of(method: Method[Any], batch: Batch) -> dict[int, Tensor]:
    """Return the maps (B, h, w) of each block, by `level_maps`; raises MethodError as `scores_of` does."""
    name, shape = type(method).__name__, method.backbone.architecture
    with naming_the_method(name, "level_maps"):
        levels = method.level_maps(batch)
    if not isinstance(levels, Mapping):
        _refuse(name, "level_maps", _kind(levels), "a dictionary of maps by block")
    for block, maps in levels.items():
        if type(block) is not int or block not in shape.numbers:
            _refuse(name, "level_maps", f"the key {block!r}", shape.named)
        _check_maps(name, "level_maps", maps, len(batch.images))
    return dict(levels)


def adapted_of(method: Method[Any], batch: Batch) -> Tensor:
    """Return the vectors (B, C) of `adapted_features`; raises MethodError as `scores_of` does."""
    name, n = type(method).__name__, len(batch.images)
    with naming_the_method(name, "adapted_features"):
        vectors = method.adapted_features(batch)
    if not isinstance(vectors, Tensor) or vectors.ndim != 2 or len(vectors) != n or not vectors.is_floating_point():
        _refuse(name, "adapted_features", f"{_kind(vectors)} for {n} images", f"floats of shape ({n}, C)")
    return vectors.detach()


def _check_maps(name: str, function: str, maps: object, n: int) -> None:
    if not isinstance(maps, Tensor) or maps.ndim != 3 or len(maps) != n or not maps.numel():
        _refuse(name, function, f"maps of {_kind(maps)} for {n} images", f"a tensor of shape ({n}, h, w)")
    if not maps.is_floating_point():
        _refuse(name, function, f"maps of type {maps.dtype}", "floating-point maps")


def _kind(thing: object) -> str:
    if isinstance(thing, Tensor):
        where = " without data" if thing.device == torch.device("meta") else ""
        return f"shape {tuple(thing.shape)}{where}"
    return "None" if thing is None else f"class {type(thing).__name__}"


def _refuse(name: str, function: str, came: str, needed: str) -> NoReturn:
    raise ReturnError(f"{function}() of {name} returned {came}, where {needed} is needed.")
