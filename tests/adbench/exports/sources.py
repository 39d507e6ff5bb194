"""DICOM files of four kinds, and dciodvfy."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
    UltrasoundMultiFrameImageStorage,
    XRayAngiographicImageStorage,
    generate_uid,
)

KINDS = {
    "CT": CTImageStorage, "MR": MRImageStorage, "DX": DigitalXRayImageStorageForPresentation,
    "OT": SecondaryCaptureImageStorage,
}  # fmt: skip
PATIENT = {
    "PatientName": "Yamada^Tarou=山田^太郎", "PatientID": "p1", "PatientBirthDate": "19700101", "PatientSex": "M",
    "StudyDate": "20260101", "StudyTime": "101010", "StudyID": "1", "AccessionNumber": "a1",
    "ReferringPhysicianName": "R^A",
}  # fmt: skip
DCIODVFY = shutil.which("dciodvfy")
with_dciodvfy = pytest.mark.skipif(
    DCIODVFY is None, reason="no dciodvfy here: `apt-get install dicom3tools`, as .ci/run does"
)


def source(kind: str, rows: int = 20, columns: int = 30, bare: bool = False, **values: Any) -> FileDataset:
    """Return a DICOM image; a `bare` one has no attribute of patient and study that may be empty."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = KINDS[kind], generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SpecificCharacterSet = "ISO_IR 192"
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = KINDS[kind], meta.MediaStorageSOPInstanceUID, kind
    data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
    if kind in ("CT", "MR"):
        data.FrameOfReferenceUID, data.PositionReferenceIndicator = generate_uid(), ""
        data.ImagePositionPatient, data.ImageOrientationPatient = [-10, -20, 30], [0, 1, 0, 0, 0, -1]
        data.PixelSpacing = [0.5, 0.75]
        if not bare:
            data.SliceThickness = 3
    elif kind == "DX" and not bare:
        data.PatientOrientation, data.ImagerPixelSpacing, data.ImageLaterality = ["L", "F"], [0.2, 0.2], "U"
    elif not bare:
        data.ConversionType, data.Laterality = "WSD", "L"
    for name, value in ({} if bare else PATIENT | {"SeriesNumber": 3, "InstanceNumber": 7}).items():
        setattr(data, name, value)
    data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = rows, columns, 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.PixelData = np.random.default_rng(0).integers(0, 4000, (rows, columns)).astype(np.uint16).tobytes()
    for name, value in values.items():
        setattr(data, name, value)
    return data


def saved(data: FileDataset, path: Path) -> Path:
    data.save_as(path)
    return path


def enhanced(frames: int = 3) -> FileDataset:
    """Return an enhanced CT whose frames lie 3 mm apart."""
    data = source("CT", NumberOfFrames=frames)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    data.PixelData *= frames
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = data.PixelSpacing, 3
    orientation.ImageOrientationPatient = data.ImageOrientationPatient
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    data.SharedFunctionalGroupsSequence, data.PerFrameFunctionalGroupsSequence = [shared], []
    for number in range(frames):
        group, position = Dataset(), Dataset()
        position.ImagePositionPatient = [-10 + 3 * number, -20, 30]
        group.PlanePositionSequence = [position]
        data.PerFrameFunctionalGroupsSequence.append(group)
    for name in ("PixelSpacing", "SliceThickness", "ImageOrientationPatient", "ImagePositionPatient"):
        delattr(data, name)
    return data


def film(kind: str, frames: int) -> FileDataset:
    """Return an image of several frames without a frame of reference, or with one position for all of them."""
    data = source("CT" if kind == "placed once" else "OT", NumberOfFrames=frames)
    data.Modality = kind if kind in ("US", "XA") else "OT"
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = {
        "US": UltrasoundMultiFrameImageStorage,
        "XA": XRayAngiographicImageStorage,
    }.get(kind, MultiFrameGrayscaleWordSecondaryCaptureImageStorage)
    data.PixelData *= frames
    return data


def errors(path: Path) -> list[str]:
    """Return what dciodvfy calls an error in a file."""
    assert DCIODVFY
    done = subprocess.run([DCIODVFY, str(path)], capture_output=True, text=True, timeout=60)
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]
