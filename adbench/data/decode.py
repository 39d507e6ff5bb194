"""Image files to 8-bit arrays: PNG, JPEG, TIFF, BMP, DICOM and NIfTI, upright; 1-bit, palette, grey, RGB(A), 16-bit."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from adbench.data import dicom, volumes
from adbench.data.frames import ImagePath, located
from adbench.data.levels import IntensityRange, grey_levels, own_range
from adbench.errors import AdbenchError, DataError

Filter = Literal["bicubic", "bilinear"]
_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", *dicom.ENDINGS, *volumes.ENDINGS)
PAGED = (".tif", ".tiff")
DECODING = 3  # raised when pixels of a file come out otherwise: part of the keys of cells and of decoded arrays
_DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I")
# By EXIF orientation, as ImageOps.exif_transpose, which fails where it can't write the rest of a damaged block again.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PNG_TEXTS = (b"Raw profile type exif", b"XML:com.adobe.xmp")  # keywords of text that may hold an orientation


@dataclass(frozen=True)
class ImageFormat:
    """How images are decoded: squares of `input_size` pixels, of masks `eval_size`; `grey` drops the colour."""

    input_size: int = 224
    resize: Filter = "bicubic"
    grey: bool = False
    eval_size: int = 240


# PIL refuses an image at twice the number of pixels at which it warns; below that, the warning is of no use here. Its
# other warnings are about tags and palettes that leave the pixels as they are.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def read_image(
    image: ImagePath, size: int, resize: Filter = "bicubic", grey: bool = False,
    intensity_range: IntensityRange | None = None,
) -> NDArray[np.uint8]:  # fmt: skip
    """Read one image as RGB and squash it to (size, size, 3), uint8; `grey` drops the colour first."""
    return squashed(open_image(image, intensity_range), size, resize, grey)


def squashed(image: Image.Image, size: int, resize: Filter = "bicubic", grey: bool = False) -> NDArray[np.uint8]:
    """Squash a decoded image to (size, size, 3) RGB, uint8; `grey` drops the colour first."""
    image = image.convert("L").convert("RGB") if grey else image.convert("RGB")
    if image.size != (size, size):
        image = image.resize((size, size), _FILTERS[resize])
    return np.asarray(image, dtype=np.uint8)


def open_image(image: ImagePath, intensity_range: IntensityRange | None = None) -> Image.Image:
    """Decode one image at its own size and in its own mode, upright, with 8 bits a channel, as for every run.

    A slice of a volume has the window of its frame, whatever `intensity_range` is.
    """
    path, frame = located(image)
    if volumes.is_volume(path):
        return Image.fromarray(volumes.read_slice(path, frame))
    if dicom.is_dicom(path):
        return Image.fromarray(dicom.read_pixels(path, intensity_range, frame.number if frame else None))
    with _opened(image) as file:
        return decoded(file, str(image), intensity_range)


def open_raw(mask: ImagePath) -> tuple[Image.Image, str]:
    """Decode one mask upright, at its own mode and depth, with Pillow's name of its format.

    DICOM has its stored values, whose highest possible one is `info["top"]`, and the format "DICOM". Of a volume every
    label above 0 is 255, and the format "NIfTI".
    """
    path, frame = located(mask)
    if volumes.is_volume(path):
        return Image.fromarray(volumes.read_mask_slice(path, frame)), "NIfTI"
    if dicom.is_dicom(path):
        stored, bits = dicom.read_stored(path, frame.number if frame else None)
        deep = np.float32 if bits is None else np.int32
        image = Image.fromarray(stored if stored.dtype == np.uint8 else stored.astype(deep))
        image.info["top"] = 1 if bits is None else 2**bits - 1
        return image, "DICOM"
    with _opened(mask) as file:
        form = str(file.format)
        turn = _loaded(file)
        image = file.copy() if turn is None else file.transpose(turn)
    for orientation in ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"):
        image.info.pop(orientation, None)  # it is upright now
    return image, form


def image_size(image: ImagePath) -> tuple[int, int]:
    """Return (width, height) of the upright image, from the file's header."""
    path, frame = located(image)
    if volumes.is_volume(path):
        return volumes.slice_size(path, frame)
    if dicom.is_dicom(path):
        return dicom.image_size(path)
    with _opened(image) as file:
        tags = getattr(file, "tag_v2", None)
        width, height = file.size if tags is None else (tags[256], tags[257])
        if file.format == "PNG" and not _png_may_be_turned(path):
            return width, height  # PIL looks for an orientation behind the pixels, and so would decode them
        return (height, width) if _orientation(file) >= 5 else (width, height)


def is_read(path: Path) -> bool:
    """Whether a file is taken for an image: by its ending, or else as DICOM or by Pillow, by its first bytes.

    What Pillow opens may still be damaged, or hold several images. Raises DataError for a file that may not be read.
    """
    if path.name.lower().endswith(IMAGES):
        return True
    try:
        if dicom.is_dicom(path):
            return True
        with Image.open(path) as file:
            return not isinstance(file, ImageFile.StubImageFile)  # of a format that Pillow knows and does not decode
    except PermissionError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    except Image.DecompressionBombError:
        return True  # decoding names the error
    except Exception:  # PIL raises all kinds of errors for what it does not know
        return False


def page_count(path: Path) -> int:
    """Return the number of pages of a TIFF file, 1 for any other and for one that can't be read.

    Raises DataError where the pages differ in size: they are no frames of one examination.
    """
    if path.suffix.lower() not in PAGED:
        return 1
    try:
        with Image.open(path) as file:
            number = int(getattr(file, "n_frames", 1))
            sizes = set()
            for page in range(number if number > 1 else 0):
                file.seek(page)
                sizes.add(file.size)
    except Exception:  # PIL raises all kinds of errors for damaged files, and decoding names them
        return 1
    if len(sizes) > 1:
        raise DataError(f"{path} holds {number} pages of different sizes; save the right one as a separate file.")
    return number


def is_deep(image: ImagePath) -> bool:
    """Whether an image has more than 8 bits, and no window of its own, by its header. Raises DataError."""
    path, _ = located(image)
    if volumes.is_volume(path):
        return False  # its slices share a window
    if dicom.is_dicom(path):
        return dicom.is_deep(path)
    with _opened(image) as file:
        return file.mode in (*_DEEP, "F")


def decoded(image: Image.Image, name: str, intensity_range: IntensityRange | None = None) -> Image.Image:
    """Return a Pillow image, which may still lie in its file, upright and with 8 bits a channel; `name` is for errors.

    Grey of more than 8 bits: `intensity_range`, by default the image's own range, becomes 0 to 255. Raises DataError
    for colour of 16 bits that uses less than a quarter of its range, and for floating-point pixels without a range.
    """
    tags = getattr(image, "tag_v2", {})
    layout = [str(tile[3][0] if isinstance(tile[3], tuple) else tile[3]) for tile in getattr(image, "tile", ())]
    turn = _loaded(image)
    deep = _deep_values(image, tags)
    if deep is None:
        _check_colour(image, name, layout, tags)
    else:
        if image.mode == "F" and not (intensity_range and np.isfinite(deep).all()):
            raise DataError(
                f"{name} holds floating-point pixels that are not a number. Replace or remove it."
                if not np.isfinite(deep).all()
                else f"{name} holds floating-point pixels, whose range is unknown. Save it with 8 or 16 bit, or "
                "say in the run which values are black and white, as in dataset.intensity_range=[0,1]."
            )
        levels = np.asarray(np.rint(grey_levels(deep, *(intensity_range or own_range(deep)))), np.uint8)
        white_is_zero = tags.get(262) == 0
        image = Image.fromarray(255 - levels if white_is_zero else levels)
    return image.copy() if turn is None else image.transpose(turn)


def _loaded(image: Image.Image) -> Image.Transpose | None:
    """Load an image, and return how it is still to be turned: PIL turns every TIFF while it loads it."""
    is_tiff = hasattr(image, "tag_v2")
    if is_tiff and isinstance(image, ImageFile.ImageFile) and image.tile:
        image.filename = ""  # PIL maps a raw TIFF by its turned size, and garbles it; without a name it reads it
    image.load()
    return None if is_tiff else _UPRIGHT.get(_orientation(image))


def _deep_values(image: Image.Image, tags: Any) -> NDArray[Any] | None:
    """Return the values of a loaded image with one channel of more than 8 bits, or of signed ones; none for others."""
    unsigned = tags.get(339, (1,))[0] == 1
    if image.mode == "L" and tags.get(339, (1,))[0] == 2:
        return np.asarray(image).view(np.int8)
    if image.mode not in (*_DEEP, "F"):
        return None
    values = np.asarray(image)
    return values.view(np.uint32) if tags and unsigned and values.dtype == np.int32 else values


def _check_colour(image: Image.Image, name: str, layout: list[str], tags: Any) -> None:
    """Raise DataError for colour that would not come out as it is meant."""
    if image.mode == "LAB":
        raise DataError(f"{name} holds CIELab colour, which is not read. Save it as RGB.")
    if tags.get(284, 1) == 2 and max(tags.get(258, (8,))) > 8:
        raise DataError(f"{name} holds 16-bit colour in separate planes, which is not read. Save it with 8 bit.")
    if any(";16" in raw for raw in layout):
        # PIL keeps the high byte of 16-bit colour: right where the whole range is used, nearly black where it isn't.
        highest = int(np.asarray(image if image.mode == "CMYK" else image.convert("RGB")).max())
        if 0 < highest < 64:
            raise DataError(
                f"{name} holds 16-bit colour up to {256 * highest + 255} of 65535 at most. Save it with 8 bit, "
                "stretched to the range that it uses."
            )


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1, upright, where there is none or it is damaged."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
        return int(found) if found in range(1, 9) else 1
    except Exception:  # a damaged EXIF block raises all kinds of errors, and is no reason to lose the image
        return 1


def _png_may_be_turned(path: Path) -> bool:
    """Whether a PNG has a chunk that may hold an orientation."""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
            length = int.from_bytes(head[:4], "big")
            start = file.read(min(length, 24)) if head[4:] in (b"eXIf", b"tEXt", b"zTXt", b"iTXt") else b""
            if head[4:] == b"eXIf" or start.startswith(_PNG_TEXTS):
                return True
            file.seek(length - len(start) + 4, 1)
    return False


@contextlib.contextmanager
def _opened(image: ImagePath) -> Iterator[ImageFile.ImageFile]:
    """Open an image file at its only image, or at the frame asked for; errors, also of decoding, become DataError."""
    path, frame = located(image)
    try:
        with path.open("rb") as content, Image.open(content) as file:
            pages = getattr(file, "n_frames", 1)
            if frame is not None:
                file.seek(frame.number)
            elif pages > 1 and file.format != "MPO":  # the first of a camera's MPO is the photograph
                what = "pages" if file.format == "TIFF" else "frames"
                raise DataError(f"{path} holds {pages} {what}; save the right one as a separate file.")
            yield file
    except (AdbenchError, MemoryError):
        raise
    except Exception as error:  # PIL raises all kinds of errors for damaged files
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    if not path.exists():
        return DataError(f"{path} does not exist.")
    if isinstance(error, Image.DecompressionBombError):
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        return DataError(f"{path} has more than {most:,} pixels, the most that is read. Save it smaller.")
    size = path.stat().st_size
    reason = str(error).rstrip(".") or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        with path.open("rb") as file:
            is_tiff = file.read(4) in (b"II*\0", b"MM\0*")
        reason = "Pillow cannot identify its format"
        if is_tiff:
            reason = "a TIFF of other than 8-, 16- or 32-bit grey, or 8- or 16-bit colour, is not read"
    reason = "it has zero bytes" if size == 0 else reason
    return DataError(f"{path} cannot be read as an image: {reason}. Replace or remove the file.")
