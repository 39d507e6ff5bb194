"""Keys that a record of its version has: a key that is left out would be a check that is left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from adbench.records.files import HELD_OUT, IMAGE_HISTOGRAMS, LESIONS
from adbench.records.record import Record

# Keys that came one after the other: a record that has one of them, or of `TOGETHER`, has those before it.
ONE_BY_ONE = ("seen", "image_histograms", "masks")
TOGETHER = ("held_out", "lesions", "files")  # of these a record of that time may have any
TABLES = {"image_histograms": IMAGE_HISTOGRAMS, "held_out": HELD_OUT, "lesions": LESIONS}
# What every record has whose facts hold no `threads`, besides what reading a record asks for.
NEEDED = (
    "dataset.counts", "dataset.published", "dataset.split", "capability.support", "capability.epochs",
    "capability.transductive", "backbone.weights_hash", "backbone.built_activation", "backbone.built_normalisation",
    "backbone.built_input_size", "resolved.operating", "selection.epoch", "selection.curve", "facts.schema",
    "facts.method_version", "facts.protocol", "facts.backbone", "facts.activation", "facts.normalisation",
    "facts.input_size", "facts.eval_size", "facts.precision", "facts.batch_size", "facts.selection", "facts.trainer",
)  # fmt: skip
WITH_THREADS = 2  # the last `decoding` whose facts can hold `threads`


def is_recent(content: Mapping[str, Any]) -> bool:
    """Whether a record's facts, of which its key is the hash, are those of a version that writes all these keys."""
    decoding = content["facts"].get("decoding")
    return "threads" not in content["facts"] or (type(decoding) is int and decoding > WITH_THREADS)


def check_keys(record: Record) -> Iterator[str]:
    """Yield a sentence for the keys that record.json lacks, though whatever wrote it writes them.

    A record is as old as its newest key or table says: one of an older adbench lacks what came later, and nothing else.
    """
    content = record.content
    if is_recent(content):
        missing = [key for key in (*ONE_BY_ONE, *TOGETHER) if key not in content]
        missing += [place for place in NEEDED if not _has(content, place)]
        if missing:
            yield f"record.json lacks {_listed(missing)}, which the adbench that wrote its facts keeps"
    elif shown := _shown(record):
        before = ONE_BY_ONE if shown[-1] in TOGETHER else ONE_BY_ONE[: ONE_BY_ONE.index(shown[-1])]
        if missing := [key for key in (*ONE_BY_ONE, *TOGETHER) if key in {*before, *shown} and key not in content]:
            yield f"record.json lacks {_listed(missing)}, which the adbench that wrote {shown[-1]} keeps"
    yield from _check_together(content)


def _shown(record: Record) -> list[str]:
    """Return the keys that an older record has, by themselves or by their tables, the newest last."""
    shown = [key for key in (*ONE_BY_ONE, *TOGETHER) if key in record.content or _has_table(record, key)]
    return [key for key in shown if key != "files" or not record.content.get("bundled")]  # bundles hash what they hold


def _has(content: Mapping[str, Any], place: str) -> bool:
    section, _, key = place.partition(".")
    return key in content[section]


def _has_table(record: Record, key: str) -> bool:
    return key in TABLES and (record.path / TABLES[key]).is_file()


def _check_together(content: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence where one of the tables of a pixel histogram is there without another."""
    pixels = content["histogram"] is not None
    for key in ("image_histograms", "lesions"):
        if key in content and (content[key] is not None) != pixels:
            stated, other = ("null", "there") if pixels else ("there", "null")
            yield f"{key} is {stated}, and histogram is {other}"
    if "held_out" in content and content["held_out"] is None:
        yield "held_out is null, and adbench says why no image is held out"


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
