"""Volumes and DICOM files that tests write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from adbench.data.items import Item
from tests.datasets.sets import opened

SHAPE = (8, 10, 6)
LESION = {2: 1, 3: 2}  # of a mask, voxels by slice


def volume(path: Path, seed: int, lesion: bool = False, affine: np.ndarray | None = None) -> Path:
    """Write a block of noise in slices 1 to 4 of 6; with `lesion` bright voxels in slices 2 and 3."""
    voxels = np.zeros(SHAPE, np.int16)
    voxels[1:7, 1:9, 1:5] = np.random.default_rng(seed).integers(100, 200, (6, 8, 4))
    if lesion:
        voxels[lesions() > 0] = 400
    return nifti(path, voxels, affine)


def lesions() -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    for number, voxels in LESION.items():
        labels[3 : 3 + voxels, 4, number] = number
    return labels


def nifti(path: Path, voxels: np.ndarray, affine: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4) if affine is None else affine), path)
    return path


def dicom(path: Path, frames: np.ndarray, **values: Any) -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = MRImageStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = values.get("SOPInstanceUID", f"1.2.{abs(hash(path))}")
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.NumberOfFrames, data.Rows, data.Columns = frames.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.PixelData = frames.astype(np.uint8).tobytes()
    for name, value in values.items():
        setattr(data, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def random_frames(seed: int, frames: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 250, (frames, 6, 8)).astype(np.uint8)


def folder(root: Path, cache: Path | None = None, **changes: object) -> tuple[list[Item], Any]:
    dataset = opened(**changes)
    dataset.cache = cache
    return dataset.index(root), dataset
