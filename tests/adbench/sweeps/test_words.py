"""The words that name many cells: groups, wildcards, and words that name nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from adbench.config import words as config
from adbench.errors import AdbenchError


def test_groups_and_wildcards_stand_for_names() -> None:
    def datasets(word: str) -> list[str]:
        return [c.dataset for c in config.parse(["method=clip", f"dataset={word}"])]

    assert datasets("bmad") == ["brainmri", "liverct", "resc", "oct17", "chestxray", "his"]
    assert datasets("bmad_masked") == ["brainmri", "liverct", "resc"]
    assert datasets("his,bmad") == ["his", "brainmri", "liverct", "resc", "oct17", "chestxray"], "each counts once"
    assert set(datasets("bmad")) <= set(datasets("*"))
    assert datasets("res?") == ["resc"]
    methods = {c.method for c in config.parse(["method=*clip"])}
    assert {"clip", "madclip"} <= methods
    assert "patchcore" not in methods


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("dataset=bmda", "did you mean the group 'bmad'"),
        ("dataset=x*", "dataset=x\\* matches nothing. Allowed: .*brainmri"),
        ("method=*clop", "matches nothing"),
        ("executor=slrm", "unknown executor 'slrm': did you mean 'slurm'.*Allowed: local, ray, slurm"),
        ("workers=0", "workers=0 is not possible: at least 1"),
    ],
)
def test_words_that_stand_for_nothing_are_one_sentence(word: str, says: str) -> None:
    with pytest.raises(AdbenchError, match=says):
        config.parse([word])


def test_a_bad_word_anywhere_stops_everything_before_the_first_cell(adbench, words, tmp_path: Path) -> None:
    for bad in (["method=clip,madclp"], ["method=patchcore,clip", "method.coreset=0.5"], ["precision=32-true,32"]):
        answer = adbench("run", *words, *bad)
        assert answer.code == 2
        assert answer.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()
