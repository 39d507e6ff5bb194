"""A wrong Capability is the user's where it passes on what the user set, and else the method's."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from adbench.cells.resolve import check_config
from adbench.config.layers import standalone
from adbench.config.words import parse
from adbench.errors import AdbenchError, MethodError
from adbench.plugins import registry
from adbench.system.session import Session

WRONG = {
    "blocks": ("[13]", r"\[13\] is not possible: blocks 1 to 12 .* can each be named once\."),
    "block": ("13", r"13 is not possible: blocks 1 to 12 .* can each be named once\."),
    "levels": ("[3,3]", r"\[3, 3\] is not possible: give rising block numbers from 1 to 12\."),
    "normalisation": ("imagnet", r"imagnet is not possible: did you mean 'imagenet'\? Allowed: clip, .*, none\."),
    "activation": ("relu", r"relu is not possible: .*Allowed: gelu, native, quick_gelu\."),
}
METHOD = """
from dataclasses import dataclass
from adbench import Architecture, Batch, Capability, Method, Scores


@dataclass
class Params:
    epochs: float = 1
    block: int = 3


class Wrong(Method[Params]):
    @classmethod
    def capability(cls, params: Params, architecture: Architecture) -> Capability:
        return Capability("normal", {})

    def score(self, batch: Batch) -> Scores:
        return Scores(batch.features.pooled.mean(1))
"""


def refusal(*words: str) -> AdbenchError:
    """Return the error of a configuration that is refused."""
    with pytest.raises(AdbenchError) as caught:
        check_config(parse([*words, "backbone.weights=random"])[0], Session())
    return caught.value


def test_every_method_names_the_key_that_the_user_set() -> None:
    session = Session()
    for name in standalone():
        for field in dataclasses.fields(registry.find("method", name).load().Params):
            if field.name not in WRONG:
                continue
            value, why = WRONG[field.name]
            words = [f"method={name}", f"method.{field.name}={value}", "backbone.weights=random"]
            with pytest.raises(AdbenchError, match=rf"^method\.{field.name}={why}$") as caught:
                check_config(parse(words)[0], session)
            assert caught.value.exit_code == 2, (name, field.name)


def test_stages_that_a_cnn_does_not_have_name_the_key() -> None:
    for value in ("[9]", "[1,1]"):
        refused = refusal("method=patchcore", "backbone=resnet-18", f"method.stages={value}")
        assert refused.exit_code == 2
        assert f"method.stages={value.replace(',', ', ')} is not possible: stages 0, 1, 2, 3, 4 can each" in str(
            refused
        )


@pytest.mark.parametrize(
    ("fields", "word", "said"),
    [
        ("epochs=params.epochs", "method.epochs=1.5", "method.epochs=1.5 is not possible: a whole number of epochs"),
        ("blocks=(0, params.block)", "method.block=13", "method.block=13 is not possible: blocks 1 to 12"),
    ],
)
def test_what_a_method_passes_on_is_the_users(tmp_path: Path, fields: str, word: str, said: str) -> None:
    (tmp_path / "own.py").write_text(METHOD.format(fields))
    refused = refusal(f"method={tmp_path / 'own.py'}:Wrong", word)
    assert str(refused).startswith(said)
    assert refused.exit_code == 2


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("epochs=-1", "epochs=-1, where a whole number of epochs, 0 or more, is needed."),
        ("gpu_share=2", "gpu_share=2, where a share of one GPU, as in 0.5, is needed."),
        ("blocks=(13,)", "blocks=[13], where blocks 1 to 12"),
        ("blocks=(params.block + 10,)", "blocks=[13], where blocks 1 to 12"),
    ],
)
def test_what_a_method_makes_up_itself_names_the_method(tmp_path: Path, fields: str, said: str) -> None:
    (tmp_path / "own.py").write_text(METHOD.format(fields))
    refused = refusal(f"method={tmp_path / 'own.py'}:Wrong", "method.block=3")
    assert str(refused).startswith(f"capability() of the method Wrong is wrong on phantom-clip: {said}")
    assert isinstance(refused, MethodError)
    assert refused.exit_code == 1


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("normalisation=imagnet", "did you mean 'imagenet'? Allowed: clip, imagenet, none, own."),
        ("normalisation=native", "allowed: clip, imagenet, none, own."),
        ("activation=relu", "Allowed: gelu, quick_gelu."),
        ("activation=native", "allowed: gelu, quick_gelu."),
    ],
)
def test_what_a_backbone_was_trained_with_is_checked_before_anything_is_built(word: str, said: str) -> None:
    refused = refusal("method=patchcore", f"backbone.{word}")
    assert refused.exit_code == 2
    assert str(refused).startswith(f"backbone.{word} is not possible: ")
    assert str(refused).endswith(said)
