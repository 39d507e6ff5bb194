"""The cells that repeat a figure: as published, clean, and on each rung of the ladder between them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from adbench.backbone.config import BackboneConfig
from adbench.backbone.weights import architecture
from adbench.board.leaderboard import unlike_published
from adbench.board.papers import DEPTH, Figure, Repetition, Words, repetition
from adbench.board.stand_ins import stand_ins
from adbench.config.layers import preset, section
from adbench.config.schema import RunConfig
from adbench.config.words import defaults, parse
from adbench.data.counts import differences
from adbench.records.record import Record
from adbench.reproduce.keys import CHANGES
from adbench.reproduce.listing import Repeat, texts
from adbench.reproduce.request import Request
from adbench.sweeps.sweep import Task, tasks_of

STAND_IN = "phantom-clip"  # the backbone of phantoms, unless another one is named
PARAMETERS = "parameters_millions"  # the metric that no seed changes
PHANTOMS = "phantoms in place of the data"
LEARNS_ALL = ("full_normal", "zero_shot")  # protocols without a draw of the support


@dataclass(frozen=True)
class Cells:
    """The cells of one figure, each as the words of its repeats.

    rungs: from the clean cell's settings with the first facet of the authors to those with all but the last one.
    """

    figure: Figure
    repetition: Repetition
    published: tuple[Repeat, ...]
    clean: tuple[Repeat, ...]
    rungs: tuple[tuple[Repeat, ...], ...]


def cells(figure: Figure, asked: Request) -> Cells:
    """Return the words of all cells of a figure that can be repeated.

    With a stand-in for a pretrained backbone, as on phantoms, the method's own sizes and precision of the paper are
    left out, and `schedule=short` is the default.
    """
    backbone = asked.keys.get("backbone", STAND_IN if asked.phantom else "")
    found = repetition(figure, depth_of(backbone) if backbone else DEPTH)

    def repeats(words: Words, runs: Iterable[Mapping[str, int]]) -> tuple[Repeat, ...]:
        placed = _placed(words, asked, backbone)
        return tuple(dict.fromkeys(texts({**placed, **{k: str(v) for k, v in run.items()}}) for run in runs))

    def of_authors(words: Words) -> tuple[Repeat, ...]:
        # Without a published list the support is one of those that the authors may have drawn.
        drawn = is_drawn(words) and "support" not in words
        return repeats(words, [{"draw": seed, "seed": seed} if drawn else {"seed": seed} for seed in seeds])

    seeds = asked.seeds[:1] if figure.metric == PARAMETERS else asked.seeds
    ladder = [*itertools.accumulate(found.theirs, lambda words, step: {**words, **step}, initial=found.cell)]
    # Each draw has the seed that the rungs above have: on the first rung with a list the support alone is another one.
    draws = [{"draw": draw, "seed": draw} for draw in asked.draws]
    clean = draws if is_drawn(found.cell) else [{"seed": seed} for seed in seeds]
    return Cells(
        figure, found, of_authors(found.published), repeats(found.cell, clean),
        tuple(of_authors(words) for words in ladder[1:-1]),
    )  # fmt: skip


def is_drawn(words: Words) -> bool:
    """Whether a cell learns from a drawn number of images, unless a list names them."""
    return words.get("protocol") not in LEARNS_ALL and words.get("shots") != "full"


def _placed(words: Words, asked: Request, backbone: str) -> Words:
    """Return the words with the keys that say where they run."""
    if is_stand_in(backbone):
        words = {"schedule": "short", **words, "backbone": backbone}
        words = {key: value for key, value in words.items() if key != "preset"}
    return {**words, **asked.keys}


@functools.cache
def is_stand_in(backbone: str) -> bool:
    """Whether a backbone has only ever seen drawings."""
    return backbone in stand_ins([backbone])


@functools.cache
def depth_of(backbone: str) -> int:
    """Return the number of blocks of a backbone's image tower."""
    return architecture(section(BackboneConfig, "backbone", backbone), backbone).depth


Planned = dict[Repeat, list[Task]]


def planned(repeats: Iterable[Repeat], offline: bool = False) -> Planned:
    """Resolve the cells of some repeats; a cell that several repeats have is one task.

    With `offline` nothing is drawn, fetched or written, as for `adbench plan`.
    """
    configs: dict[Repeat, list[RunConfig]] = {words: parse(words) for words in dict.fromkeys(repeats)}
    tasks = iter(tasks_of([config for some in configs.values() for config in some], offline))
    return {words: list(itertools.islice(tasks, len(some))) for words, some in configs.items()}


def _other_set(record: Record) -> str:
    """Say which sets of a record are not the published ones; empty where they are.

    Where a list names the support, the test split alone counts: the authors' own copies of BMAD have other images in
    `valid` than BMAD, which do not matter then.
    """
    about = record.content.get("dataset") or {}
    listed = str((record.content.get("support") or {}).get("source")).startswith("list:")
    tested = [{"test": (about.get(key) or {}).get("test")} for key in ("expected", "counts")]
    return "" if listed and not differences(*tested) else unlike_published(record)


def changes(some: Cells, asked: Request, tasks: Iterable[Task]) -> list[str]:
    """Say what the cells of a figure have that the paper's don't, in words; empty where they are the paper's.

    These are phantoms, a set that is not the published one, another backbone, and keys that change a result.
    """
    words, records = some.repetition.published, [task.record for task in tasks if task.record is not None]
    phantom = asked.phantom or any(record.content["data"] == "phantom" for record in records)
    texts = [PHANTOMS] if phantom else []
    texts += dict.fromkeys(filter(None, map(_other_set, records)))
    made = {key: text for word in some.published[0] for key, _, text in [word.partition("=")]}
    paper = defaults() | preset(words["method"], words.get("preset", "paper"))
    texts += [
        f"{key}={made[key]}" for key in CHANGES if key in made and key not in words and made[key] != str(paper[key])
    ]
    return texts + [f"{key}={value}" for key, value in made.items() if key.startswith("backbone.")]
