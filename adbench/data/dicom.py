"""DICOM files to 8-bit pixels: modality rescale, window, MONOCHROME1 and colour; one frame each.

Needs pydicom, an extra: `pip install 'adbench-medical[dicom]'`. Formulas: DICOM PS3.3, C.11.1 (modality) and C.11.2
(window).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adbench.errors import AdbenchError, DataError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

ENDINGS = (".dcm", ".dicom", ".ima")
_PILLOWS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, by its ending; with another or no ending, by `DICM` at byte 128."""
    ending = path.suffix.lower()
    if ending in ENDINGS or ending in _PILLOWS or not path.is_file():
        return ending in ENDINGS
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def read_pixels(path: Path) -> NDArray[np.uint8]:
    """Return one DICOM image as (H, W) grey or (H, W, 3) RGB, uint8, bright where the scanner's screen is bright.

    Grey: modality LUT or rescale slope and intercept, then the first window, else the VOI LUT; without either, 8-bit
    pixels stay as they are and deeper ones are stretched from their smallest to their largest value. MONOCHROME1 is
    inverted last. Raises DataError for no pixel data, several frames, or a compression that can't be decoded here.
    """
    header = _read(path, whole=True)
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
    from pydicom.pixels.utils import pixel_array

    try:
        pixels = pixel_array(header)  # YBR comes out as RGB
        photometric = str(header.PhotometricInterpretation)
        if photometric == "PALETTE COLOR":
            pixels = apply_color_lut(pixels, header)
        if pixels.ndim == 3:
            return np.asarray(pixels >> 8 if pixels.dtype == np.uint16 else pixels, np.uint8)
        values = np.asarray(apply_modality_lut(pixels, header), np.float64)
        grey = _to_grey(values, header)
    except (AttributeError, KeyError, ValueError, TypeError, NotImplementedError, RuntimeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(
            f"{path} cannot be decoded as DICOM: {reason}. Save it uncompressed, or install its decoders: "
            "pip install pylibjpeg[all]"
        ) from error
    return 255 - grey if photometric == "MONOCHROME1" else grey


def image_size(path: Path) -> tuple[int, int]:
    """Return (width, height) from the header."""
    header = _read(path, whole=False)
    return int(header.Columns), int(header.Rows)


def window(values: NDArray[np.float64], centre: float, width: float, function: str = "LINEAR") -> NDArray[np.float64]:
    """Map values to [0, 255] by a window (PS3.3, C.11.2.1.2 and C.11.2.1.3).

    >>> window(np.array([-100.0, 39.5, 300.0]), centre=40, width=80).tolist()
    [0.0, 127.5, 255.0]
    """
    if width <= 0 or (function == "LINEAR" and width < 1):
        raise ValueError(f"a window of width {width:g}")
    if function == "SIGMOID":
        return np.asarray(255 / (1 + np.exp(-4 * (values - centre) / width)))
    if function == "LINEAR" and width == 1:
        return np.where(values > centre - 0.5, 255.0, 0.0)
    # LINEAR counts grey levels, so n levels span n - 1 steps; LINEAR_EXACT is the plain line.
    share = (values - (centre - 0.5)) / (width - 1) if function == "LINEAR" else (values - centre) / width
    return np.clip((share + 0.5) * 255, 0, 255)


def _to_grey(values: NDArray[np.float64], header: Dataset) -> NDArray[np.uint8]:
    from pydicom.pixels.processing import apply_voi

    if "WindowCenter" in header and "WindowWidth" in header:
        function = str(header.get("VOILUTFunction") or "LINEAR")
        if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
            raise ValueError(f"the window function {function}")
        levels = window(values, _first(header.WindowCenter), _first(header.WindowWidth), function)
    elif "VOILUTSequence" in header:
        bits = int(header.VOILUTSequence[0].LUTDescriptor[2])
        levels = np.asarray(apply_voi(values.astype(np.int64), header), np.float64) * (255 / (2**bits - 1))
    elif header.BitsStored <= 8 and values.min() >= 0 and values.max() <= 255:
        levels = values
    else:
        low, high = values.min(), values.max()
        levels = (values - low) * (255 / (high - low)) if high > low else np.zeros_like(values)
    return np.asarray(np.rint(levels), np.uint8)


def _first(value: Any) -> float:
    return float(value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value)


def _read(path: Path, whole: bool) -> Dataset:
    try:
        from pydicom import dcmread
        from pydicom.errors import InvalidDicomError
    except ImportError as error:
        raise AdbenchError(
            f"reading the DICOM file {path} needs pydicom: pip install 'adbench-medical[dicom]'"
        ) from error
    try:
        header = dcmread(path, stop_before_pixels=not whole)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except (InvalidDicomError, OSError, EOFError, ValueError, KeyError, TypeError) as error:
        size = path.stat().st_size
        reason = "it has zero bytes" if size == 0 else "it is damaged or no DICOM file"
        raise DataError(f"{path} cannot be read as DICOM: {reason}. Replace or remove the file.") from error
    if "Rows" not in header or "Columns" not in header or (whole and "PixelData" not in header):
        raise DataError(f"{path} is a DICOM file without pixel data. Remove it from the images.")
    frames = int(header.get("NumberOfFrames") or 1)
    if frames > 1:
        raise DataError(f"{path} holds {frames} frames; save the right one as a separate file.")
    return header
