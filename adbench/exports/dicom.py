"""DICOM about DICOM: a Segmentation of the pixels above a threshold, and a Secondary Capture of the heatmap.

Both belong to the patient and study of their source, refer to it, and say in the series description that they are for
research use. Needs highdicom, which comes with the extra: `pip install 'adbench-medical[dicom]'`.
"""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adbench.data.dicom import read_header
from adbench.errors import AdbenchError, DataError
from adbench.system.text import printable

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

NEEDED = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
# Of the patient and the study; each is written, and may be empty (type 2).
KEPT = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
# Where the pixels of a single image lie, and how large they are.
PLANE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
GEOMETRY = (
    *PLANE, "FrameOfReferenceUID", "SpacingBetweenSlices", "ImagerPixelSpacing",
    "NominalScannedPixelSpacing", "PixelSpacingCalibrationType", "PixelSpacingCalibrationDescription",
    "PixelAspectRatio",
)  # fmt: skip
FIRST_SERIES = 9001  # numbers of the new series in their study
LONGEST = 64  # characters of a DICOM text of type LO


@dataclass
class Series:
    """The new series of one call: one of Segmentations and one of captures for each series of sources.

    method, version: what made them. record: the key of the record.
    """

    method: str
    version: str
    record: str
    _uids: dict[tuple[str, str], str] = field(default_factory=dict)
    _counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def description(self, of: str) -> str:
        """Return the description of a series, at most 64 characters.

        >>> Series("PatchCore", "0.1", "1f").description("anomaly mask")
        'adbench PatchCore, anomaly mask, research use only'
        """
        end = f", {of}, research use only"
        return f"adbench {printable(self.method)}"[: LONGEST - len(end)].replace("\\", "/") + end

    def next(self, source: Dataset, kind: str) -> dict[str, Any]:
        """Return the attributes that place a new object of a kind about `source`."""
        from highdicom import UID

        key = source.SeriesInstanceUID, kind
        uid = self._uids.setdefault(key, UID())
        self._counts[key] += 1
        return {
            "series_instance_uid": uid, "series_number": FIRST_SERIES + [*self._uids].index(key),
            "sop_instance_uid": UID(), "instance_number": self._counts[key], "manufacturer": "adbench",
            "manufacturer_model_name": "adbench", "software_versions": self.version, "device_serial_number": "none",
        }  # fmt: skip


def need_highdicom() -> None:
    """Raise AdbenchError, naming the extra, where highdicom is not installed."""
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise AdbenchError(
            "a DICOM Segmentation and a Secondary Capture need highdicom: pip install 'adbench-medical[dicom]'"
        ) from error


def source_of(path: Path, notes: list[str]) -> Dataset:
    """Return the header of an image, without its pixels, as the new objects take it up: what may be empty is there.

    notes: gets a sentence on what had to be assumed. Raises DataError where it lacks what a reference needs.
    """
    source = read_header(path, whole=False)
    missing = [name for name in NEEDED if not source.get(name)]
    if missing:
        raise DataError(f"its header lacks {', '.join(missing)}, to which they would refer")
    source.decode()  # of any character set; what is written is in one
    source.SpecificCharacterSet = "ISO_IR 192"
    for name in KEPT:
        if (value := source.get(name)) is None or not _is_valid(source[name].VR, value):
            if value is not None:
                notes.append(f"{path} has a {name} that DICOM doesn't allow: the new objects leave it empty.")
            setattr(source, name, "")
    if source.get("SpacingBetweenSlices") is not None:
        source.SpacingBetweenSlices = abs(source.SpacingBetweenSlices)  # its sign only says in which direction
    alone = int(source.get("NumberOfFrames") or 1) == 1
    if "PerFrameFunctionalGroupsSequence" not in source and not (alone and all(source.get(name) for name in PLANE)):
        source.pop("FrameOfReferenceUID", None)  # it names a frame of reference, and no place of each frame in it
    elif "PerFrameFunctionalGroupsSequence" not in source and not source.get("SliceThickness"):
        # A Segmentation can't say that it is unknown: highdicom reads none without it, and dciodvfy wants a number.
        source.SliceThickness = source.get("SpacingBetweenSlices") or source.PixelSpacing[0]
        notes.append(f"{path} says no slice thickness: its Segmentation has {source.SliceThickness:g} mm.")
    return source


def _is_valid(vr: str, value: Any) -> bool:
    """Whether DICOM allows a value of a value representation."""
    from pydicom.config import RAISE
    from pydicom.valuerep import validate_value

    try:
        validate_value(vr, str(value), RAISE)
    except ValueError:
        return False
    return True


def write_segmentation(path: Path, source: Dataset, masks: NDArray[np.bool_], series: Series) -> None:
    """Write the masks (N, H, W) of an image's frames as a binary DICOM Segmentation; they may be empty.

    Position, orientation and spacing are those of the source, where it has them; without a frame of reference, frames
    are those of the source by their numbers. Raises DataError, with the reason, where the source's header can't be
    taken up.
    """
    import highdicom
    from pydicom.sr.codedict import codes

    by_number = "FrameOfReferenceUID" not in source and "NumberOfFrames" in source
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=f"adbench {series.method}"[:LONGEST], family=codes.DCM.ArtificialIntelligence, version=series.version,
        parameters={"record": series.record},
    )  # fmt: skip
    segment = highdicom.seg.SegmentDescription(
        1, "anomaly, research use only", codes.SCT.MorphologicallyAbnormalStructure,
        codes.SCT.MorphologicallyAbnormalStructure, highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC, algorithm,
        tracking_uid=highdicom.UID(), tracking_id="anomaly",
    )  # fmt: skip
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names with one part, of empty masks
            made = highdicom.seg.Segmentation(
                [_first_frame(source) if by_number else source], masks[:1] if by_number else masks,
                highdicom.seg.SegmentationTypeValues.BINARY, [segment],
                omit_empty_frames=False, content_label="ANOMALY",
                content_description="scores that reach a threshold, research use only",
                series_description=series.description("anomaly mask"), **series.next(source, "mask"),
            )  # fmt: skip
            if "FrameOfReferenceUID" not in source:
                made.PatientOrientation = source.get("PatientOrientation") or ""
            if by_number:
                _number_frames(made, source, masks)
            made.save_as(path)
    except OSError:
        raise
    except Exception as error:  # highdicom and pydicom raise all kinds of errors for odd headers
        raise DataError(_refused(error)) from error


def _first_frame(source: Dataset) -> Dataset:
    """Return the header of an image of one frame: highdicom takes no more where there is no frame of reference."""
    from pydicom.uid import SecondaryCaptureImageStorage

    first = copy.deepcopy(source)
    first.SOPClassUID = SecondaryCaptureImageStorage
    return first


def _number_frames(made: Dataset, source: Dataset, masks: NDArray[np.bool_]) -> None:
    """Make the Segmentation of `_first_frame` that of the source, with the masks (N, H, W) of its N frames.

    Where there is no frame of reference, the Derivation Image macro of a frame says which frame of the source it
    belongs to, pixel by pixel (DICOM PS3.3, A.51.5.1). The dimension that the standard asks for besides is the frame's
    number too (C.7.6.17).
    """
    from pydicom.datadict import tag_for_keyword
    from pydicom.dataset import Dataset
    from pydicom.pixels.utils import pack_bits

    made.NumberOfFrames, made.PixelData = len(masks), pack_bits(masks.astype(np.uint8).ravel())
    index = Dataset()
    index.DimensionOrganizationUID = made.DimensionOrganizationSequence[0].DimensionOrganizationUID
    index.DimensionIndexPointer = tag_for_keyword("InStackPositionNumber")
    index.FunctionalGroupPointer = tag_for_keyword("FrameContentSequence")
    index.DimensionDescriptionLabel = "Frame of the source"
    made.DimensionIndexSequence = [*made.DimensionIndexSequence, index]
    (series,), (derived,) = made.ReferencedSeriesSequence, made.SourceImageSequence
    for reference in (*series.ReferencedInstanceSequence, derived):
        reference.ReferencedSOPClassUID = source.SOPClassUID
    (one,), made.PerFrameFunctionalGroupsSequence = made.PerFrameFunctionalGroupsSequence, []
    for number in range(1, len(masks) + 1):
        group = copy.deepcopy(one)
        reference = group.DerivationImageSequence[0].SourceImageSequence[0]
        reference.ReferencedSOPClassUID = source.SOPClassUID
        if len(masks) > 1:  # one frame may be of a class that has no more
            reference.ReferencedFrameNumber = number
        content = group.FrameContentSequence[0]
        content.StackID, content.InStackPositionNumber = "1", number
        content.DimensionIndexValues = [1, number]  # of the segment, of the frame
        made.PerFrameFunctionalGroupsSequence.append(group)


def write_capture(
    path: Path, source: Dataset, picture: NDArray[np.uint8], words: str, series: Series, frame: int | None = None
) -> None:
    """Write a picture (H, W, 3) of an image as a DICOM Secondary Capture; `words` say what its colours mean.

    Position, orientation and spacing are those of the source (of its `frame`), where it has them. Raises DataError,
    with the reason, where the source's header can't be taken up.
    """
    import highdicom
    from pydicom.dataset import Dataset
    from pydicom.sr.codedict import codes
    from pydicom.uid import ExplicitVRLittleEndian

    place = series.next(source, "capture")
    for unused in ("manufacturer_model_name", "software_versions", "device_serial_number"):
        place.pop(unused)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = highdicom.sc.SCImage.from_ref_dataset(
                source, picture, "RGB", 8, "PATIENT", patient_orientation=("L", "P"),
                transfer_syntax_uid=ExplicitVRLittleEndian, series_description=series.description("heatmap"), **place,
            )  # fmt: skip
            geometry = _geometry(source, frame or 0)
            for name, value in geometry.items():
                setattr(made, name, value)
            made.PatientOrientation = source.get("PatientOrientation") or _orientation(geometry)
            side = str(source.get("Laterality") or source.get("ImageLaterality") or "")
            made.Laterality = side if side in ("R", "L") else ""
            for name in ("BodyPartExamined", "BurnedInAnnotation", "AnatomicRegionSequence", "ViewPosition"):
                if source.get(name):
                    setattr(made, name, source[name].value)
            made.SecondaryCaptureDeviceManufacturer = "adbench"
            made.SecondaryCaptureDeviceManufacturerModelName = f"adbench {series.method}"[:LONGEST]
            made.SecondaryCaptureDeviceSoftwareVersions = series.version
            made.DerivationDescription = words[:1024]
            made.ImageComments = "For research use only. Not a medical device."
            reference = Dataset()
            reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = (
                source.SOPClassUID, source.SOPInstanceUID,
            )  # fmt: skip
            if frame is not None:
                reference.ReferencedFrameNumber = frame + 1
            purpose = highdicom.sr.CodedConcept.from_code(codes.DCM.SourceImageForImageProcessingOperation)
            reference.PurposeOfReferenceCodeSequence = [purpose]
            made.SourceImageSequence = [reference]
            made.save_as(path)
    except OSError:
        raise
    except Exception as error:  # as above
        raise DataError(_refused(error)) from error


def _geometry(source: Dataset, frame: int) -> dict[str, Any]:
    """Return where one frame lies: attributes of the header, or of its functional groups."""
    groups: list[Any] = [source]
    for keyword, place in (("SharedFunctionalGroupsSequence", 0), ("PerFrameFunctionalGroupsSequence", frame)):
        for group in list(source.get(keyword) or ())[place : place + 1]:
            for macro in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence"):
                groups += list(group.get(macro) or ())[:1]
    return {name: group[name].value for group in groups for name in GEOMETRY if group.get(name) is not None}


def _orientation(geometry: dict[str, Any]) -> Any:
    """Return the directions of rows and columns in letters, as in ["L", "P"]; "" where they are unknown."""
    cosines = geometry.get("ImageOrientationPatient")
    if not cosines:
        return ""
    letters = []
    for direction in (cosines[:3], cosines[3:]):
        strength = sorted(
            ((abs(float(x)), pair[float(x) < 0]) for x, pair in zip(direction, ("LR", "PA", "HF"), strict=True)),
            reverse=True,
        )
        letters.append("".join(letter for weight, letter in strength if weight > 0.2))
    return letters


def _refused(error: Exception) -> str:
    reason = printable(" ".join(str(error).split())).rstrip(".") or type(error).__name__
    return f"its header can't be taken up ({type(error).__name__}: {reason[:200]})"
