"""Prompts edited in place: the same backbone and the same trained parameters with other texts."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from adbench.backbone.contract import Backbone
from adbench.blocks.prompts import Prompts
from adbench.config import layers
from adbench.errors import AdbenchError, did_you_mean
from adbench.method import Method, naming_the_method
from adbench.running.apply import Fitted, nested

MOST_PHRASES, MOST_LETTERS = 64, 300


def editable(fitted: Fitted) -> dict[str, Any]:
    """Return what a method lets be edited after training, with its present values: lists of texts, and numbers.

    The phrases of both states are `prompts.normal` and `prompts.abnormal`; a list of another name, such as `templates`,
    has no point.
    """
    found: dict[str, Any] = {}
    for name in type(fitted.method).editable:
        value = getattr(fitted.method.params, name)
        if isinstance(value, Prompts):
            found |= {f"{name}.normal": list(value.normal), f"{name}.abnormal": list(value.abnormal)}
        elif isinstance(value, list) and all(isinstance(one, str) for one in value):
            found[name] = list(value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found[name] = value
    return found


def checked(fitted: Fitted, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return overrides that came from the browser, without those that change nothing.

    Raises AdbenchError for a key that can't be edited, and for texts that are too many or too long.
    """
    now, changed = editable(fitted), {}
    for key, value in overrides.items():
        if key not in now:
            raise AdbenchError(f"method.{key} can't be edited here: {did_you_mean(key, now)}")
        if isinstance(now[key], list):
            if not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
                raise AdbenchError(f"method.{key} is a list of phrases.")
            value = [one.strip() for one in value if one.strip()]
            if len(value) > MOST_PHRASES or any(len(one) > MOST_LETTERS for one in value):
                raise AdbenchError(f"method.{key}: at most {MOST_PHRASES} phrases of {MOST_LETTERS} letters are taken.")
        elif not isinstance(value, (int, float)) or isinstance(value, bool):
            raise AdbenchError(f"method.{key}={value} is not a number.")
        if value != now[key]:
            changed[key] = value
    return changed


def reworded(fitted: Fitted, overrides: Mapping[str, Any]) -> Method[Any]:
    """Return the method with other values of what it lets be edited; backbone and trained parameters are shared.

    Raises AdbenchError for values that the method refuses.
    """
    method, config = fitted.method, fitted.config
    values = dataclasses.asdict(method.params)
    params = layers.merge(type(method).Params, values, nested(overrides), f"method {config.method!r}")
    weights = fitted.record.content["backbone"]["weights_hash"]
    with naming_the_method(config.method_name):
        new = type(method).create(params, method.backbone, config.seed, weights=weights, precision=config.precision)
        _check_shapes(method, new)
        new.load_fitted(method.state_dict())
    return new.to(method.backbone.device).eval()


@contextlib.contextmanager
def texts_once(backbone: Backbone) -> Iterator[None]:
    """Encode equal lists of sentences once within the block: methods with one phrase changed share the others."""
    plain = backbone.encode_text
    kept: dict[tuple[str, ...], Tensor] = {}

    def encode_text(texts: Sequence[str]) -> Tensor:
        key = tuple(texts)
        if key not in kept:
            kept[key] = plain(list(texts))
        return kept[key]

    backbone.encode_text = encode_text  # type: ignore[method-assign]
    try:
        yield
    finally:
        del backbone.encode_text


def _check_shapes(old: Method[Any], new: Method[Any]) -> None:
    """Raise AdbenchError where trained parameters don't fit another number of phrases, as contexts of prompts don't."""
    trained = dict(old.named_parameters())
    for name, values in new.named_parameters():
        if name in trained and trained[name].shape != values.shape:
            raise AdbenchError(
                f"{name} was trained with the phrases of the record, one by one: keep their number, and change their "
                "words alone."
            )
