"""Patients: from file names by a pattern, and checks of how they are written."""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Sequence
from typing import Any

import regex

from adbench.data.items import DatasetConfig, Item
from adbench.errors import AdbenchError, DataError
from adbench.system.text import counted

WHOLE = re.compile(r"(\d+)[.,]0+$")
LEADING = re.compile(r"(?<![\d.])0+(?=\d)")
SECONDS = 10.0  # for all names of a dataset; 40,000 of them take a tenth of a second


class PatientPattern:
    """Finds the patient in a file's name by `dataset.patient_pattern`, and counts the names that the pattern fits.

    fits: how many names have a patient.
    others: the names that have none.
    """

    def __init__(self, pattern: str | None) -> None:
        self.pattern = pattern
        self.fits = 0
        self.others: list[str] = []
        self._left = SECONDS
        self._compiled: Any = None

    def of(self, name: str) -> str | None:
        """Return the group `patient` of the pattern matched at the start of a name; None without pattern or match.

        Raises AdbenchError for a pattern that takes too long: some, such as `(a+)+$`, never end.
        """
        if self.pattern is None:
            return None
        start = time.perf_counter()
        try:
            if self._compiled is None:
                self._compiled = regex.compile(self.pattern)  # Python's own re can't be stopped
            match = self._compiled.match(name, timeout=max(self._left, 0.001))
        except TimeoutError as error:
            raise AdbenchError(
                f"dataset.patient_pattern={self.pattern} takes more than {SECONDS:.0f} s on names such as {name}: a "
                "repetition inside a repetition, as in (a+)+, may never end. Write it without."
            ) from error
        except regex.error as error:
            raise AdbenchError(f"dataset.patient_pattern={self.pattern} is no regular expression: {error}.") from error
        self._left -= time.perf_counter() - start
        patient = (match["patient"] or None) if match else None
        if patient is None:
            self.others.append(name)
        else:
            self.fits += 1
        return patient


def check_fit(pattern: PatientPattern, config: DatasetConfig) -> list[str]:
    """Return a note where a pattern does not fit the names of all images.

    Raises DataError for the user's own images, unless a patient may be in two splits: an image without patient may
    show one of another split.
    """
    if not pattern.others:
        return []
    names, number = pattern.others, len(pattern.others)
    total = counted(pattern.fits + number, "image")
    examples = names[0] if number == 1 else f"{names[0]} and {names[1]}"
    sentence = (
        f"dataset.patient_pattern={pattern.pattern} fits {pattern.fits} of {total}: {examples} "
        f"{'has' if number == 1 else 'have'} no patient."
    )
    if config.own_images and not config.allow_patient_overlap:
        raise DataError(
            f"{sentence} (?i) at its start ignores letter case. To take such images for patients of their own: "
            "dataset.allow_patient_overlap=true"
        )
    return [sentence]


def check_spellings(items: Sequence[Item], config: DatasetConfig) -> list[str]:
    """Return a note where two patients may be one that is written in two ways, such as `001` and `1`.

    Raises DataError where two spellings of the user's own images are in different splits, unless a patient may be.
    """
    first: dict[str, Item] = {}
    for item in items:
        if item.patient is not None:
            first.setdefault(item.patient, item)
    alike: dict[str, list[str]] = {}
    for patient in first:
        alike.setdefault(plain(patient), []).append(patient)
    pairs = [patients for patients in alike.values() if len(patients) > 1]
    if not pairs:
        return []
    advice = "Write each patient in one way"
    if config.own_images and not config.allow_patient_overlap:
        splits: dict[str, dict[str, Item]] = {}
        for item in items:
            if item.patient is not None:
                other = next(iter(splits.setdefault(plain(item.patient), {item.split: item}).values()))
                if other.split != item.split and other.patient != item.patient:
                    raise DataError(
                        f"{item.path}: patient {item.patient} is in {item.split}, and {other.patient}, who may be the "
                        f"same, is in {other.split} by {other.path}. {advice}, or accept it with "
                        "dataset.allow_patient_overlap=true"
                    )
    more = f", and {counted(len(pairs) - 1, 'more patient')}" if len(pairs) > 1 else ""
    return [f"patients {pairs[0][0]} and {pairs[0][1]} are taken for two, and may be one{more}. {advice}."]


def plain(patient: str) -> str:
    """Return a patient without what spreadsheets change: letter case, leading zeros, blanks around, a decimal `.0`.

    >>> [plain(text) for text in ("P001", "p1", " 7", "007.0", "7,0", "1.05")]
    ['p1', 'p1', '7', '7', '7', '1.05']
    """
    text = unicodedata.normalize("NFKC", patient).strip().casefold()
    if whole := WHOLE.match(text):
        text = whole[1]
    return LEADING.sub("", text) if "0" in text else text
