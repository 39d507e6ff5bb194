"""DICOM headers: how many frames a file holds, its patient, and its place in a series."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adbench.data import dicom

TAGS = (
    "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "InstanceNumber", "ImagePositionPatient",
    "ImageOrientationPatient", "ImageType", "NumberOfFrames", "Modality",
)  # fmt: skip
NO_IMAGES = ("SEG", "RTDOSE", "RTSTRUCT", "RTPLAN", "REG", "SR", "PR", "KO")  # modalities of what belongs to an image
NO_PATIENT = ("", "0", "anon", "anonymous", "anonymized", "anonymised", "none", "unknown", "n/a", "na", "patient")


@dataclass(frozen=True)
class Header:
    """What a DICOM header says of an image besides its pixels; empty where it says nothing.

    frames: the number of images in the file.
    patient, study, series, image: PatientID, and the UIDs of study, series and image (SOP instance).
    height: millimetres along the normal of the slice, ImagePositionPatient projected on it; None without a position.
    number: InstanceNumber.
    scout: whether it is a localiser.
    modality: such as CT or MR; SEG is a segmentation.
    """

    frames: int = 1
    patient: str = ""
    study: str = ""
    series: str = ""
    image: str = ""
    height: float | None = None
    number: int | None = None
    scout: bool = False
    modality: str = ""


def read_header(path: Path) -> Header:
    """Read the header of a DICOM file, without its pixels; an empty one where it can't be read: decoding says why."""
    dicom.need_pydicom(path)
    try:
        data = dicom.opened(path, stop_before_pixels=True, specific_tags=list(TAGS))
        text = {name: str(data.get(name) or "").strip() for name in TAGS[:4]}
        kinds = [str(kind).upper() for kind in data.get("ImageType") or ()]
        number = data.get("InstanceNumber")
        return Header(
            max(int(data.get("NumberOfFrames") or 1), 1), text["PatientID"], text["StudyInstanceUID"],
            text["SeriesInstanceUID"], text["SOPInstanceUID"], _height(data), None if number is None else int(number),
            "LOCALIZER" in kinds, str(data.get("Modality") or "").strip().upper(),
        )  # fmt: skip
    except Exception:  # pydicom raises all kinds of errors for damaged files, and decoding will name the damage
        return Header()


def _height(data: Any) -> float | None:
    position, orientation = data.get("ImagePositionPatient"), data.get("ImageOrientationPatient")
    if position is None or orientation is None or len(position) != 3 or len(orientation) != 6:
        return None
    normal = np.cross(np.array(orientation[:3], float), np.array(orientation[3:], float))
    height = float(normal @ np.array(position, float))
    return height if np.isfinite(height) else None


def patients(headers: Mapping[Path, Header]) -> tuple[dict[Path, str], list[str]]:
    """Return the patient of each file where the headers say it, and notes.

    The patient is the PatientID; where it is empty or a placeholder, that of another file of the study, else the study
    and then the series stands for the patient. A PatientID that all files of several studies share is a placeholder
    too. Where all files that have a patient then have the same, none has.
    """
    notes = []
    ids = {header.patient for header in headers.values()}
    studies = {header.study for header in headers.values() if header.study}
    same = next(iter(ids)) if len(ids) == 1 and len(studies) > 1 else None
    if same and same.lower() not in NO_PATIENT:
        notes.append(
            f"PatientID is {same!r} in all DICOM files, which belong to {len(studies)} studies: it counts as a "
            "placeholder, and each study as a patient. Where that is wrong: dataset.patient_pattern"
        )
    known = {
        path: header.patient
        for path, header in headers.items()
        if header.patient != same and header.patient.lower() not in NO_PATIENT
    }
    of_study = {headers[path].study: patient for path, patient in known.items() if headers[path].study}
    found = {}
    for path, header in headers.items():
        if patient := known.get(path) or of_study.get(header.study) or header.study or header.series:
            found[path] = patient
    if len(found) > 1 and len(set(found.values())) == 1:
        notes.append(
            f"all {len(found)} DICOM files name one patient, {next(iter(found.values()))!r}, and so none is distinct: "
            "the patient of each image counts as unknown. To name patients: dataset.patient_pattern"
        )
        return {}, notes
    return found, notes


def positions(headers: Mapping[Path, Header]) -> dict[Path, int]:
    """Return the place, from 0, of each file in its series of two or more: by height, else by InstanceNumber."""
    series: dict[str, list[Path]] = defaultdict(list)
    for path, header in headers.items():
        if header.series and header.frames == 1:
            series[header.series].append(path)
    found: dict[Path, int] = {}
    for paths in series.values():
        heights = [headers[path].height for path in paths]
        if None in heights:
            heights = [headers[path].number for path in paths]
        if len(paths) > 1 and None not in heights:
            order = sorted(zip(heights, map(str, paths), paths, strict=True))
            found |= {path: place for place, (_, _, path) in enumerate(order)}
    return found


def oddities(headers: Mapping[Path, Header]) -> list[str]:
    """Return notes on localisers and on images that are there twice."""
    notes = []
    scouts = [path for path, header in headers.items() if header.scout]
    if scouts:
        notes.append(
            f"{scouts[0]} is a localiser (scout image), one of {len(scouts)} among the images. Remove them if they are "
            "none."
        )
    seen: dict[str, Path] = {}
    twice = [
        (seen[header.image], path)
        for path, header in headers.items()
        if header.image and seen.setdefault(header.image, path) != path
    ]
    if twice:
        first, second = twice[0]
        notes.append(
            f"{first} and {second} have the same SOPInstanceUID, so they should be the same image; "
            f"{len(twice)} {'file repeats' if len(twice) == 1 else 'files repeat'} another. Remove one of each."
        )
    return notes
