"""Values of Python code: those of NumPy, pandas and torch are plain ones, and what is no value is one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from adbench.config.given import plain, plain_keys
from adbench.config.words import words_of
from adbench.errors import AdbenchError


@pytest.mark.parametrize("listed", [np.arange(2), pd.Series([0, 1]), pd.Index([0, 1]), torch.arange(2), range(2)])
def test_arrays_series_and_tensors_are_axes_as_lists_are(listed: Any) -> None:
    assert words_of({"draw": listed}) == ["draw=0,1"]
    assert words_of({"overrides": {"method.blocks": listed}}) == ["method.blocks=[0, 1]"]
    assert words_of({"overrides": {"dataset.fold": listed}}) == ["dataset.fold=0,1"]


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (np.int64(3), "3"), (np.array(3), "3"), (torch.tensor(3), "3"), (np.bool_(True), "true"), (None, "null"),
        (np.float64(0.1), "0.1"), (np.str_("a"), "a"), (Path("a/b"), "a/b"), ("a", "a"), ([np.int64(1), 2], "[1, 2]"),
        ({"a": np.int64(1)}, '{"a": 1}'),
    ],
)  # fmt: skip
def test_numbers_and_texts_of_any_library_are_written_as_those_of_python(value: Any, word: str) -> None:
    assert words_of({"overrides": {"method.x": value}}) == [f"method.x={word}"]
    kept = plain("x", value)
    assert type(kept) in (int, float, bool, str, type(None), list, dict)


def test_plain_values_stay_as_they_are() -> None:
    keys = {
        "method": "clip",
        "shots": [4, "full"],
        "cache_gb": 0.5,
        "overrides": {"method.prompts": {"a": ["x", None]}},
    }
    assert plain_keys(keys) == keys
    assert plain("device", torch.device("cuda")) == "cuda"


class Mine:
    """A class of somebody's own."""


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("draw", {0, 1}, r"draw= can't be of type set: give a list, as in draw=\[…\]"),
        ("draw", (n for n in range(2)), "draw= can't be of type generator: give a list"),
        ("draw", pd.DataFrame({"a": [1]}), "draw= can't be of type DataFrame: give a list"),
        ("draw", b"1", "draw= can't be of type bytes: give a text, a number"),
        ("draw", Mine(), "draw= can't be of type Mine: give a text, a number"),
        ("dataset", Mine, "dataset= can't be the class Mine: give a text"),
        ("draw", [[0, 1]], r"draw= can't hold the list \[0, 1\]: give one value, or a list of values"),
        ("draw", {"a": 0}, "draw= can't hold the dictionary {'a': 0}"),
        ("method", Mine, "the class Mine is given.*written into a file and named there: method=FILE.py:Mine"),
        ("method", [Mine], "the class Mine is given.*method=FILE.py:Mine"),
        ("method", Mine(), "an object of type Mine is given.*method=FILE.py:Class"),
        ("overrides", {"method.x": {1}}, "method.x= can't be of type set: give a list"),
    ],
)
def test_what_is_no_value_is_one_sentence_that_says_what_to_give(key: str, value: Any, message: str) -> None:
    with pytest.raises(AdbenchError, match=message) as caught:
        words_of({key: value})
    assert "\n" not in str(caught.value)
