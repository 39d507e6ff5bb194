"""What `adbench reproduce` is asked for: which figures of a paper, run on what."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from adbench.board.papers import Figure, Words, all_figures, names, paper
from adbench.config.groups import groups
from adbench.config.layers import executor_sections
from adbench.config.words import defaults
from adbench.errors import AdbenchError, did_you_mean
from adbench.reproduce.keys import FILTERS, KEYS, REPEATS

SEEDS = 5  # from which number of seeds there is a verdict


@dataclass(frozen=True)
class Request:
    """Some figures of papers and how to run them.

    filters: values of `FILTERS` that a figure must have one of. seeds: of the cells as published. draws: of the clean
    cells. keys: those of `PLACES` and `CHANGES`, and of executors and `backbone.X=`, as they were given.
    """

    papers: tuple[str, ...]
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    seeds: tuple[int, ...] = tuple(range(SEEDS))
    draws: tuple[int, ...] = tuple(range(SEEDS))
    keys: Words = field(default_factory=dict)

    @property
    def phantom(self) -> bool:
        """Whether the cells run on phantoms."""
        return self.keys.get("data_root", defaults()["data_root"]) == "phantom"


def request(papers: Sequence[str], words: Sequence[str]) -> Request:
    """Read the words of `adbench reproduce`.

    On phantoms, from which no verdict follows, one seed and two draws are the default.
    Raises AdbenchError for an unknown paper or key, and for what `adbench run` takes and a paper's cell fixes.
    """
    for name in papers:
        paper(name)
    given = _split(words)
    numbers = {key: _numbers(key, given.pop(key)) for key in REPEATS if key in given}
    filters = {key: tuple(_filter(key, given.pop(key))) for key in FILTERS if key in given}
    asked = Request(tuple(papers) or tuple(names()), filters, keys=given)
    seeds, draws = ((0,), (0, 1)) if asked.phantom else (asked.seeds, asked.draws)
    return Request(asked.papers, filters, numbers.get("seed", seeds), numbers.get("draw", draws), given)


def _split(words: Sequence[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for word in words:
        key, equals, text = word.partition("=")
        section, dot, _ = key.partition(".")
        if not equals or not text:
            raise AdbenchError(
                f"{word!r} is not key=value. Example: adbench reproduce madclip table=1 dataset=brainmri"
            )
        if dot and section in (*executor_sections(), "backbone"):
            pass
        elif dot or key in set(defaults()) - set(KEYS):
            raise AdbenchError(
                f"{key}= is fixed by the paper's cell. adbench reproduce takes {', '.join(KEYS)}, and backbone.X= and "
                "the keys of executors; `adbench reproduce --list` prints the command of each cell, to change in it "
                "what you like."
            )
        elif key not in KEYS:
            raise AdbenchError(f"unknown key {key!r} for adbench reproduce: {did_you_mean(key, KEYS)}")
        if key in given:
            raise AdbenchError(f"{key!r} is given twice, as {given[key]!r} and {text!r}. Keep one.")
        given[key] = text
    return given


def _numbers(key: str, text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() for part in parts):
        raise AdbenchError(
            f"{key}={text} is not possible: whole numbers from 0, with commas between, as in {key}=0,1,2."
        )
    return tuple(dict.fromkeys(map(int, parts)))


def _filter(key: str, text: str) -> Iterator[str]:
    for part in filter(None, text.split(",")):
        yield from groups().get(part, {}).get("dataset", [part]) if key == "dataset" else (part,)


def chosen(asked: Request) -> list[Figure]:
    """Return the figures that are asked for, in the order of the papers' files.

    A value of a filter may be a wildcard. An ablation, such as `mvfa:layer1`, is of the method before the colon too.
    Raises AdbenchError for a value that no figure has.
    """
    figures = [one for one in all_figures() if one.source in asked.papers]
    for key, values in asked.filters.items():
        known = {value for one in figures for value in _values(one, key)}
        for value in values:
            if not fnmatch.filter(known, value):
                raise AdbenchError(
                    f"{key}={value}: no such figure in {', '.join(asked.papers)}"
                    f"{' with the other words' if len(asked.filters) > 1 else ''}: {did_you_mean(value, sorted(known))}"
                )
        figures = [one for one in figures if any(fnmatch.filter(_values(one, key), value) for value in values)]
    return figures


def _values(one: Figure, key: str) -> list[str]:
    if key == "method":
        return list(dict.fromkeys([one.method, one.method.partition(":")[0]]))
    return [{"table": one.table, "dataset": one.test_dataset, "shots": one.shots, "metric": one.metric}[key]]
