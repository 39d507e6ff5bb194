"""What unknown words are told: the name that was meant where one is near, and all that are allowed."""

from __future__ import annotations

import pytest

from adbench.config import words
from adbench.errors import AdbenchError, did_you_mean, nearest
from adbench.plugins import registry


@pytest.mark.parametrize(
    ("word", "kind", "meant"),
    [
        ("madclpi", "method", "madclip"), ("patchcor", "method", "patchcore"), ("clap", "method", "clip"),
        ("brainmir", "dataset", "brainmri"), ("brain", "dataset", "brainmri"), ("dinov2", "backbone", "dinov2-s"),
    ],
)  # fmt: skip
def test_a_typo_finds_its_name(word: str, kind: registry.Kind, meant: str) -> None:
    names = registry.entries(kind) if kind != "backbone" else registry.config_files(kind)
    assert (nearest(word, sorted(names))) == meant


@pytest.mark.parametrize(
    ("key", "value"),
    [("device", "gpu"), ("selection", "best"), ("backbone", "resnet50"), ("dataset", "nothere"), ("method", "knn")],
)
def test_another_word_is_no_typo(key: str, value: str) -> None:
    with pytest.raises(AdbenchError, match="llowed: ") as caught:
        words.parse([f"{key}={value}"])
    assert "did you mean" not in str(caught.value)


def test_a_gpu_is_called_cuda() -> None:
    with pytest.raises(AdbenchError) as caught:
        words.parse(["device=gpu"])
    assert str(caught.value) == "device=gpu is not possible: a GPU is device=cuda. Allowed: auto, cpu, cuda."


def test_what_is_allowed_ends_a_sentence() -> None:
    assert did_you_mean("x", []) == "allowed: none."
    assert did_you_mean("best", ["last", "oracle"]) == "allowed: last, oracle."
    assert did_you_mean("lsat", ["last", "oracle"]) == "did you mean 'last'? Allowed: last, oracle."
