"""Records that can't both be what they say: copies of one run, and other test images of the same data."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pandas as pd

from adbench.records.files import PREDICTIONS
from adbench.records.record import Record

OF_A_RUN = ("support", "seed", "held_out")  # facts in which the runs of one row differ
Pair = tuple[Record, Record]
FEW = 10  # different scores: with fewer, two runs may agree by chance


def copies(pairs: Iterable[Pair]) -> Iterator[str]:
    """Yield a sentence for each two cells of `alike` that learned from other images.

    One can only be a copy. A method whose parameters stay as they were created (`epochs=0`) may say the same of both.
    """
    for one, two in pairs:
        trained, epochs = one.content["parameters"]["trainable"], (one.content.get("capability") or {}).get("epochs")
        learned = one.content["support"]["normal"] or one.content["support"]["abnormal"] or _of(one, "train_on")
        if learned and _of(one, "support") != _of(two, "support") and not (trained and not epochs):
            yield (
                f"{one.path} and {two.path} have the same scores, bit for bit, though they learned from other images: "
                "one is a copy of the other, or the method makes no use of them"
            )


def equal_seeds(pairs: Iterable[Pair]) -> list[str]:
    """Return a sentence for each two cells of `alike` that differ in their seeds.

    A training can come out the same from any seed, as where one batch holds the whole support.
    """
    found = []
    for one, two in pairs:
        if _of(one, "support") == _of(two, "support"):
            seeds = f"seeds {_of(one, 'seed')} and {_of(two, 'seed')}"
            found.append(f"whether {one.path} and {two.path} are two runs: {seeds} have the same scores, bit for bit")
    return found


def other_tests(records: Sequence[Record]) -> Iterator[str]:
    """Yield a sentence for each record that tests more or fewer images than another one of the same data.

    Images leave the test split for `dataset.abnormal_support=test` alone.
    """
    first: dict[str, Record] = {}
    for record in records:
        facts, split = record.content["facts"], record.splitting
        if facts.get("abnormal_support"):
            continue
        other = first.setdefault(json.dumps([facts["data"], facts["dataset_facets"], split], sort_keys=True), record)
        one, two = (each.content["test_images"] for each in (other, record))
        if one != two:
            yield f"{other.path} tests {one} images and {record.path} {two}, and both say that it is the same data"


def alike(records: Sequence[Record]) -> Iterator[Pair]:
    """Yield each two records of one row, of other supports or seeds, whose images and scores are the same bits."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        facts = {key: value for key, value in record.content["facts"].items() if key not in OF_A_RUN}
        groups[json.dumps([facts, record.splitting], sort_keys=True)].append(record)
    for members in groups.values():
        first: dict[str, Record] = {}
        for record in members if len({one.key for one in members}) > 1 else ():
            other = first.setdefault(_scores(record) or record.key, record)
            if other.key != record.key:
                yield other, record


def _of(record: Record, fact: str) -> Any:
    return record.content["facts"].get(fact)


def _scores(record: Record) -> str:
    """Return a hash of a record's images and scores; empty where they can't be read or are too few to tell."""
    try:
        table = pd.read_parquet(record.path / PREDICTIONS, columns=["image", "score"])
    except (OSError, ValueError, KeyError):
        return ""  # what is wrong with the table is said of the record
    if table["score"].nunique() < FEW:
        return ""
    scores = table["score"].to_numpy()
    return hashlib.sha256("\n".join(map(str, table["image"])).encode("utf-8", "replace") + scores.tobytes()).hexdigest()
