"""DICOM headers: how many frames a file holds, its patient, and its place in a series."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adbench.data import dicom


def _text(value: Any) -> str:
    return str(value or "").strip()


def _number(value: Any) -> int | None:
    if not _text(value):
        return None
    if float(value) != int(value):
        raise ValueError(value)
    return int(value)


def _numbers(value: Any) -> list[float]:
    return [float(each) for each in value or ()]


def _words(value: Any) -> list[str]:
    return [_text(word).upper() for word in ([value] if isinstance(value, str) else value or ())]


TAGS: Mapping[str, Callable[[Any], Any]] = {  # how the value of each is read
    "PatientID": _text,
    "StudyInstanceUID": _text,
    "SeriesInstanceUID": _text,
    "SOPInstanceUID": _text,
    "InstanceNumber": _number,
    "ImagePositionPatient": _numbers,
    "ImageOrientationPatient": _numbers,
    "ImageType": _words,
    "NumberOfFrames": _number,
    "Modality": _text,
}
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
    unread: the tags whose values can't be read, such as an InstanceNumber of `1A`.
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
    unread: tuple[str, ...] = ()


def read_header(path: Path) -> Header:
    """Read the header of a DICOM file, without its pixels; an empty one where it can't be read: decoding says why.

    A tag whose value can't be read is as good as absent, and named in `unread`: decoding needs none of these.
    """
    dicom.need_pydicom(path)
    try:
        data = dicom.opened(path, stop_before_pixels=True, specific_tags=list(TAGS))
    except Exception:  # pydicom raises all kinds of errors for damaged files
        return Header()
    values, unread = {}, []
    for name, read in TAGS.items():
        try:
            values[name] = read(data.get(name))
        except Exception:  # also for a damaged value
            values[name] = read(None)
            unread.append(name)
    return Header(
        frames=max(values["NumberOfFrames"] or 1, 1),
        patient=values["PatientID"],
        study=values["StudyInstanceUID"],
        series=values["SeriesInstanceUID"],
        image=values["SOPInstanceUID"],
        height=_height(values["ImagePositionPatient"], values["ImageOrientationPatient"]),
        number=values["InstanceNumber"],
        scout="LOCALIZER" in values["ImageType"],
        modality=values["Modality"].upper(),
        unread=tuple(unread),
    )


def _height(position: Sequence[float], orientation: Sequence[float]) -> float | None:
    if len(position) != 3 or len(orientation) != 6:
        return None
    normal = np.cross(np.array(orientation[:3]), np.array(orientation[3:]))
    height = float(normal @ np.array(position))
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
    """Return notes on tags that can't be read, on localisers and on images that are there twice."""
    notes = []
    damaged = [(path, header.unread) for path, header in headers.items() if header.unread]
    if damaged:
        path, tags = damaged[0]
        notes.append(
            f"{path} has values that can't be read and count as absent: {', '.join(tags)}. {len(damaged)} of "
            f"{len(headers)} DICOM files {'has' if len(damaged) == 1 else 'have'} such."
        )
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
