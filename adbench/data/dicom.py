"""DICOM files: which they are, their headers, and the stored pixels of one frame.

How stored values become grey levels: `dicom_grey`. Needs pydicom, an extra: `pip install 'adbench-medical[dicom]'`.
"""

from __future__ import annotations

import contextlib
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adbench.data.dicom_grey import display_of, palette, to_grey, without_unused_bits
from adbench.data.dicom_tags import UnreadableTagError, integer, named, number, text
from adbench.data.levels import IntensityRange, grey_levels
from adbench.errors import AdbenchError, DataError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

ENDINGS = (".dcm", ".dicom", ".ima")
MOST_PIXELS = 178_956_970  # of one frame, as of other images
_PILLOWS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_GREY, _COLOUR = ("MONOCHROME1", "MONOCHROME2"), ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
# A first element of these groups is what a DICOM file without preamble begins with: file meta, identification.
_FIRST_GROUPS = (0x0002, 0x0008)

# pydicom warns of values that it accepts; what it does not accept is an error here.
warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom\.")


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, by its ending; with another or no ending, by its first bytes.

    These are a preamble of 128 bytes and `DICM`, or in old files the first element of the header itself.
    """
    ending = path.suffix.lower()
    if ending in ENDINGS or ending in _PILLOWS or not path.is_file():
        return ending in ENDINGS
    with path.open("rb") as file:
        head = file.read(132)
    return head[128:] == b"DICM" or begins_plainly(head)


def begins_plainly(head: bytes) -> bool:
    """Whether the first bytes are an element of group 2 or 8, with a VR or a plausible length: DICOM sans preamble."""
    if len(head) < 12:
        return False
    for order in "<>":
        group, element, length = struct.unpack(f"{order}HHL", head[:8])
        explicit = head[4:6].isalpha() and head[4:6].isupper()
        if group in _FIRST_GROUPS and element <= 0x0100 and (explicit or length <= 1024):
            return True
    return False


def read_pixels(
    path: Path, intensity_range: IntensityRange | None = None, frame: int | None = None
) -> NDArray[np.uint8]:
    """Return one DICOM image as (H, W) grey or (H, W, 3) RGB, uint8, bright where the scanner's screen is bright.

    frame: its number from 0, in a file that holds several.
    Grey: see `to_grey`. Raises DataError, naming the file and the tag, for no pixel data, several frames, damaged
    values, or a compression that can't be decoded here.
    """
    return read_frame(_whole(path, frame), path, frame or 0, intensity_range)


def _whole(path: Path, frame: int | None) -> Dataset:
    """Return the header of a file that holds the frame asked for, or one image alone, with its pixel data."""
    header = read_header(path)
    frames = frame_count(header, path)
    if frame is None and frames > 1:
        raise DataError(f"{path} holds {frames} frames; save the right one as a separate file.")
    if frame is not None and frame >= frames:
        raise DataError(f"{path} holds {frames} frames, and no frame {frame}; they are numbered from 0.")
    return header


def read_frame(
    header: Dataset, path: Path, frame: int, intensity_range: IntensityRange | None = None
) -> NDArray[np.uint8]:
    """Return one frame (from 0) of a file that was read whole; see `read_pixels`."""
    with _damage(path, header):
        kind = _check(header)
        pixels = _pixels(header, frame, kind)
        if kind in _GREY:
            return to_grey(pixels, display_of(header, frame), intensity_range)
        return palette(pixels, header) if kind == "PALETTE COLOR" else _colour(pixels, header)


def read_stored(path: Path, frame: int | None = None) -> tuple[NDArray[Any], int | None]:
    """Return one image of labels as it is stored, (H, W), with its bits; colours as `read_pixels` does, with 8 bits.

    Windows, padding, rescaling and an inverted scale are for the screen, and have no part in a mask. Floating-point
    values have no number of bits. Raises DataError.
    """
    header = _whole(path, frame)
    with _damage(path, header):
        kind = _check(header)
        pixels = _pixels(header, frame or 0, kind)
        if kind in _GREY:
            display = display_of(header, frame or 0)
            return without_unused_bits(pixels, display), display.bits
        return (palette(pixels, header) if kind == "PALETTE COLOR" else _colour(pixels, header)), 8


def image_size(path: Path) -> tuple[int, int]:
    """Return (width, height) from the header."""
    header = read_header(path, whole=False)
    with _damage(path, header):
        return integer(header, "Columns"), integer(header, "Rows")


def is_deep(path: Path) -> bool:
    """Whether the image is grey with more than 8 bits and has no window or VOI LUT, by its header. Raises DataError."""
    header = read_header(path, whole=False)
    with _damage(path, header):
        if _check(header) not in _GREY:
            return False
        integer(header, "NumberOfFrames", 1)
        display = display_of(header, 0)
        return (display.bits is None or display.bits > 8) and display.window is None and display.voi is None


def frame_count(header: Dataset, path: Path) -> int:
    """Return the number of frames, 1 where the header doesn't say. Raises DataError."""
    with _damage(path, header):
        return integer(header, "NumberOfFrames", 1) or 1


def need_pydicom(path: Path) -> None:
    """Raise AdbenchError, naming the file and the extra, where pydicom is not installed."""
    try:
        import pydicom  # noqa: F401
    except ImportError as error:
        raise AdbenchError(
            f"reading the DICOM file {path} needs pydicom: pip install 'adbench-medical[dicom]'"
        ) from error


def opened(path: Path, **options: Any) -> Dataset:
    """Return `pydicom.dcmread` of a file, also of one without preamble; raises what pydicom raises."""
    from pydicom import dcmread

    with path.open("rb") as file:
        head = file.read(132)
    return dcmread(path, force=head[128:] != b"DICM" and begins_plainly(head), **options)


def read_header(path: Path, whole: bool = True) -> Dataset:
    """Return the header of a DICOM image, `whole` with its pixel data.

    Raises DataError for what is no DICOM file or holds no image, AdbenchError without pydicom.
    """
    need_pydicom(path)
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    try:
        header = opened(path, stop_before_pixels=not whole)
        if not ("Rows" in header or "Columns" in header) or (whole and not any(k in header for k in _PIXELS)):
            raise DataError(f"{path} is a DICOM file without pixel data. Remove it from the images.")
        if not hasattr(header, "file_meta"):
            header.file_meta = FileMetaDataset()
        if not header.file_meta.get("TransferSyntaxUID"):  # in a file without preamble
            implicit, little = header.original_encoding
            explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
            header.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except (DataError, MemoryError):
        raise
    except Exception as error:  # pydicom raises all kinds of errors for damaged files
        reason = "it has zero bytes" if path.stat().st_size == 0 else "it is damaged or no DICOM file"
        if isinstance(error, OSError) and error.strerror:
            reason = error.strerror
        raise DataError(f"{path} cannot be read as DICOM: {reason}. Replace or remove the file.") from error
    return header


def _check(header: Dataset) -> str:
    """Return the photometric interpretation; raises UnreadableTagError for values that describe no image."""
    syntax = header.file_meta.TransferSyntaxUID
    if not syntax.is_transfer_syntax or syntax.is_private:
        raise UnreadableTagError(f"{named('TransferSyntaxUID')} is {str(syntax)!r}, which is not known")
    height, width = integer(header, "Rows"), integer(header, "Columns")
    for keyword, side in (("Rows", height), ("Columns", width)):
        if side < 1:
            raise UnreadableTagError(f"{named(keyword)} is {side}")
    if height * width > MOST_PIXELS:
        raise UnreadableTagError(f"{named('Rows')} is {height}, with {width} columns, which is too many to be read")
    kind = text(header, "PhotometricInterpretation")
    if kind not in (*_GREY, "PALETTE COLOR", *_COLOUR):
        what = f"is {kind}" if kind else "is missing"
        known = ", ".join((*_GREY, "PALETTE COLOR", *_COLOUR))
        raise UnreadableTagError(f"{named('PhotometricInterpretation')} {what}; {known} are read")
    samples = integer(header, "SamplesPerPixel")
    if samples != (3 if kind in _COLOUR else 1):
        raise UnreadableTagError(f"{named('SamplesPerPixel')} is {samples}, which does not fit {kind}")
    for keyword in ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PlanarConfiguration"):
        number(header, keyword)
    if "PixelData" in header:
        bits, allocated = integer(header, "BitsStored"), integer(header, "BitsAllocated")
        if allocated not in (1, 8, 16, 32, 64):
            raise UnreadableTagError(f"{named('BitsAllocated')} is {allocated}; 1, 8, 16, 32 and 64 are possible")
        if not 1 <= bits <= allocated:
            raise UnreadableTagError(f"{named('BitsStored')} is {bits} of {allocated} allocated bits")
    return kind


def _pixels(header: Dataset, frame: int, kind: str) -> NDArray[Any]:
    """Return the decoded pixels of a frame: (H, W), or (H, W, 3) RGB; unused bits of grey are as in the file."""
    from pydicom.pixels.utils import get_expected_length, pixel_array

    if "PixelData" not in header and "BitsStored" not in header:
        header.BitsStored = header.BitsAllocated  # pydicom 3.0.0 asks for it where pixels are floating-point too
    native = not header.file_meta.TransferSyntaxUID.is_encapsulated
    expected = get_expected_length(header)
    if native and "PixelData" in header and len(header.PixelData) >= max(2 * expected, expected + 2):
        raise UnreadableTagError(
            f"{named('PixelData')} holds more than one image, and {named('NumberOfFrames')} says {frame + 1}"
        )
    return pixel_array(header, index=frame, correct_unused_bits=not (native and kind in _GREY))  # YBR comes out as RGB


def _colour(pixels: NDArray[Any], header: Dataset) -> NDArray[np.uint8]:
    """Return colours (H, W, 3) with 8 bits a channel."""
    bits = integer(header, "BitsStored")
    if integer(header, "PixelRepresentation", 0):
        raise UnreadableTagError(f"{named('PixelRepresentation')} is 1: colour has no sign")
    if bits < 8:
        return np.asarray(np.rint(grey_levels(pixels, 0, 2**bits - 1)), np.uint8)
    eight = np.minimum(pixels >> (bits - 8), 255)
    if bits > 8 and 0 < (highest := int(eight.max())) < 64:
        raise UnreadableTagError(
            f"{named('BitsStored')} is {bits}, of which colour of at most {(highest + 1) * 2 ** (bits - 8) - 1} uses "
            "less than a quarter"
        )
    return np.asarray(eight, np.uint8)


@contextlib.contextmanager
def _damage(path: Path, header: Dataset) -> Iterator[None]:
    """Turn what damaged values and decoders raise into DataError, which names the file and the tag."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except UnreadableTagError as error:
        raise DataError(f"{path} cannot be decoded as DICOM: {error}. Replace or remove the file.") from error
    except Exception as error:  # pydicom and its decoders raise all kinds of errors
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        advice = "Replace or remove the file."
        if header.file_meta.TransferSyntaxUID.is_compressed:
            advice = "Save it uncompressed, or install its decoders: pip install pylibjpeg[all]"
        where = "" if "(0028," in reason else f"{named('PixelData')}: "
        raise DataError(f"{path} cannot be decoded as DICOM: {where}{reason}. {advice}") from error
