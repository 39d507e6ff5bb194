"""What a verification finds, and what it did not check."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from adbench.system.text import printable

# The checks, in the order of the table, with what each compares.
CHECKS = {
    "record": "record.json can be read, has the keys of its version, and its key is the hash of its facts",
    "files": "each file has the SHA-256 that the record keeps, and the pictures are all there",
    "tables": "rows, labels, names and counts of the tables agree with the record and with one another",
    "figures": "each figure and half-width is what the tables give",
    "facts": "what the record says in two places is the same, and the method declares what the record says",
    "standing": "support, seen, overlap and selection agree, and no leak stands as clean",
    "data": "dataset content, support, test images, masks and overlap are those of the data on disk",
    "scores": "the saved parameters give the scores of the tables again",
    "training": "the cell, run from nothing, gives the scores of the tables again",
}


@dataclass(frozen=True)
class Finding:
    """Something that does not agree: the check that found it (a key of `CHECKS`), and one sentence."""

    check: str
    sentence: str


@dataclass
class Report:
    """What was found in one record.

    key: that of its record; empty where that can't be read. name: what it is, in words.
    done: the checks that were made. notes: in sentences, how they were made.
    unchecked: in sentences, what was not checked.
    """

    path: Path
    key: str = ""
    name: str = ""
    done: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, check: str, sentences: Iterable[str]) -> None:
        """Note that a check was made, and what it found."""
        if check not in self.done:
            self.done.append(check)
        for sentence in sentences:
            if (finding := Finding(check, sentence)) not in self.findings:  # two checks may need one damaged table
                self.findings.append(finding)

    def result(self, check: str) -> str:
        """Return `ok`, how many findings, or `not checked`."""
        found = sum(finding.check == check for finding in self.findings)
        if found:
            return f"{found} finding{'s' * (found > 1)}"
        return "ok" if check in self.done else "not checked"

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON can hold it."""
        return {
            "record": str(self.path),
            "key": self.key,
            "name": self.name,
            "checks": {check: self.result(check) for check in CHECKS},
            "findings": [{"check": one.check, "sentence": one.sentence} for one in self.findings],
            "notes": list(self.notes),
            "not_checked": list(self.unchecked),
        }


def named(table: pd.DataFrame, row: int) -> str:
    """Return the name of a row's image for a sentence."""
    return printable(str(table["image"].iloc[row]))
