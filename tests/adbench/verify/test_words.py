"""Words and overrides that contradict what was run, and the claims of a dataset."""

from __future__ import annotations

from typing import Any

import pytest

from adbench.verify.words import _agrees, _may_mean
from tests.adbench.verify.conftest import Tampered, findings


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["method=madclip", "shots=2"], 'given has method=madclip, and facts.method is "patchcore"'),
        (["method=madclip,clip", "shots=2"], 'given has method=madclip,clip, and facts.method is "patchcore"'),
        (["method=mine.py:Other"], 'given has method=mine.py:Other, and facts.method is "patchcore"'),
        (["dataset=bmad_masked,chestxray"], ""),
        (["dataset=chestxray"], 'given has dataset=chestxray, and facts.dataset is "brainmri"'),
        (["method=patchcore", "shots=4,8"], "given has shots=4,8, and resolved.shots is 2"),
        (["method=patchcore", "shots=full,002"], ""),
        (["method=patchcore", "method.levels=[6]"], "given has method.levels, and resolved.overrides doesn't"),
        (["method=pa*", "dataset=brain*", "seed=0,1"], ""),
        (["method=their_group", "draw=3"], ""),
        ([], ""),
    ],
)
def test_words_name_the_cell_that_was_run(tampered: Tampered, words: list[str], said: str) -> None:
    tampered.edit("given", words)
    assert findings(tampered) == ([said] if said else [])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"method": {"coreset_ratio": 0.77}}, "resolved.overrides.method has coreset_ratio 0.77, and facts.params has"),
        ({"method": {"no.such": 1}}, "resolved.overrides.method has no.such 1, and facts.params has missing"),
        ({"backbone": {"input_size": 77}}, "resolved.overrides.backbone has input_size 77, and backbone has"),
        ({"dataset": {"support_split": "train"}}, 'has support_split "train", and dataset has "valid"'),
        ({"method": {}, "trainer": {"max_steps": 3}}, "resolved.overrides has trainer.max_steps, and given doesn't"),
    ],
)
def test_overrides_are_what_was_run(tampered: Tampered, overrides: dict[str, Any], said: str) -> None:
    tampered.edit("resolved.overrides", overrides)
    assert any(said in sentence for sentence in findings(tampered))


def test_reproduce_adds_keys_of_the_paper(tampered: Tampered) -> None:
    tampered.edit("resolved.overrides", {"trainer": {"max_steps": 3}})
    tampered.edit("given", ["madclip", "table=1", "method=patchcore", "shots=2"])
    assert findings(tampered) == []


@pytest.mark.parametrize(
    ("typed", "recorded"),
    [
        (1, 1.0), ("1e-3", 0.001), ("true", True), (0, False), (5, "5"), (None, None), ([1, "2"], [1.0, 2]),
        ("/folder", "sha256:ab"), ({"a": 1}, {"a": 1, "b": 2}),
    ],
)  # fmt: skip
def test_a_value_is_the_same_in_another_spelling(typed: Any, recorded: Any) -> None:
    assert _agrees(typed, recorded, bundled=False)


@pytest.mark.parametrize(
    ("typed", "recorded"), [(1, 2), ("a", "b"), ([1], [1, 2]), ({"c": 1}, {"a": 1}), (True, False)]
)
def test_another_value_is_not(typed: Any, recorded: Any) -> None:
    assert not _agrees(typed, recorded, bundled=False)


def test_a_text_with_paths_may_differ_in_a_bundle() -> None:
    assert _agrees("normal or odd", "normal /or odd", bundled=True)
    assert not _agrees("normal or odd", "normal /or odd", bundled=False)


def test_a_word_may_be_a_wildcard_or_a_group_of_another_machine() -> None:
    assert _may_mean("method", "p*", "madclip")
    assert _may_mean("dataset", "bmad", "oct17")
    assert not _may_mean("dataset", "bmad_masked", "oct17")


@pytest.mark.parametrize(("key", "value"), [("title", "BraTS 2021 official"), ("licence", "CC0")])
def test_title_and_licence_are_those_of_the_dataset(tampered: Tampered, key: str, value: str) -> None:
    tampered.edit(f"dataset.{key}", value)
    (sentence,) = findings(tampered)
    assert sentence.startswith(f'dataset.{key} is "{value}", and brainmri.yaml gives "')


def test_a_title_that_was_typed_is_no_contradiction(tampered: Tampered) -> None:
    tampered.edit("dataset.title", "Ours")
    tampered.edit("resolved.overrides", {"dataset": {"title": "Ours"}})
    tampered.edit("given", lambda words: [*words, "dataset.title=Ours"])
    assert findings(tampered) == []


def test_images_that_are_not_the_published_ones_claim_nothing(tampered: Tampered) -> None:
    """A title alone is not enough: `published` is what the counts say."""
    tampered.edit("data", "real")
    tampered.edit("resolved.data_root", "DATA")
    tampered.edit("dataset.published", False)
    tampered.edit("seen", lambda seen: [one | {"data": "real", "published": False} for one in seen])
    found = findings(tampered)
    assert any('brainmri.yaml gives "Images in the layout of BMAD Brain MRI' in one for one in found)
    assert any(one.startswith('dataset.licence is "CC BY-NC-SA 4.0') for one in found)
