"""DICOM's stored values to grey levels as the scanner's screen shows them: what the header says, and how it is applied.

Formulas: DICOM PS3.3, C.7.5.1.1.2 (padding), C.7.6.16 (functional groups), C.11.1 (modality), C.11.2 (window, VOI LUT),
C.11.6 (presentation LUT).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from adbench.data.dicom_tags import (
    Table,
    UnreadableTagError,
    first_number,
    integer,
    items,
    lookup_table,
    named,
    numbers,
    text,
    value,
)  # fmt: skip
from adbench.data.levels import IntensityRange, grey_levels, own_range

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


@dataclass(frozen=True)
class Display:
    """What a header says about the grey levels of one frame.

    bits: of a stored value; None for floating-point pixels. shift: unused bits below it.
    signed: whether stored values are.
    modality, slope, intercept: stored to modality values, such as HU; the table takes the place of the line.
    window: centre and width of modality values, with its function; None without one.
    voi: a table of modality values in the place of a window.
    inverted: whether the lowest level is white.
    padding: lowest and highest stored value that mean "no image here".
    """

    bits: int | None = None
    shift: int = 0
    signed: bool = False
    modality: Table | None = None
    slope: float = 1.0
    intercept: float = 0.0
    window: tuple[float, float, str] | None = None
    voi: Table | None = None
    inverted: bool = False
    padding: tuple[float, float] | None = None

    def values(self, stored: NDArray[Any]) -> NDArray[np.float64]:
        """Turn stored values into modality values."""
        if self.modality is not None:
            return self.modality.of(stored).astype(np.float64)
        return stored.astype(np.float64) * self.slope + self.intercept

    @property
    def stored_range(self) -> tuple[int, int]:
        """The lowest and the highest value that the bits can hold."""
        bits = self.bits or 0
        return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if self.signed else (0, 2**bits - 1)


def to_grey(pixels: NDArray[Any], display: Display, intensity_range: IntensityRange | None = None) -> NDArray[np.uint8]:
    """Return grey levels (H, W), uint8, of the pixels (H, W) of one frame, which may have anything in unused bits.

    Modality LUT, or rescale slope and intercept; then the values of `intensity_range`, by default the window, else the
    VOI LUT, become 0 to 255. Without any of these, pixels of 8 bits stay as they are, fewer bits are spread over the
    whole range, and more are stretched from the lowest to the highest value. Padding and what is not a number have no
    part in that, and are black.
    """
    stored = without_unused_bits(pixels, display)
    values = display.values(stored)
    known = np.isfinite(values)
    if display.padding is not None:
        known &= ~(_within(pixels, *display.padding) | _within(stored, *display.padding))
    values = np.where(known, values, 0.0)
    grey = np.asarray(np.rint(_levels(values, known, display, intensity_range)), np.uint8)
    return np.where(known, 255 - grey if display.inverted else grey, np.uint8(0))


def _levels(
    values: NDArray[np.float64], known: NDArray[np.bool_], display: Display, intensity_range: IntensityRange | None
) -> NDArray[np.float64]:
    if intensity_range is not None:
        return grey_levels(values, *intensity_range)
    if display.window is not None:
        return window(values, *display.window)
    if display.voi is not None:
        return display.voi.of(values) * (255 / (2**display.voi.bits - 1))
    if display.bits is not None and display.bits < 8 and display.modality is None:
        return grey_levels(values, *sorted(display.values(np.array(display.stored_range)).tolist()))
    low, high = own_range(values, known)
    if display.bits is not None and display.bits <= 8 and low >= 0 and high <= 255:
        return values
    return grey_levels(values, low, high)


def window(values: NDArray[np.float64], centre: float, width: float, function: str = "LINEAR") -> NDArray[np.float64]:
    """Map values to [0, 255] by a window (PS3.3, C.11.2.1.2 and C.11.2.1.3).

    LINEAR counts whole values, so n of them span n - 1 steps; a LINEAR window of width below 1 is of values that are
    not whole, and is taken as LINEAR_EXACT, the plain line.

    >>> window(np.array([-100.0, 39.5, 300.0]), centre=40, width=80).tolist()
    [0.0, 127.5, 255.0]
    """
    if width <= 0:
        raise ValueError(f"a window of width {width:g}")
    if function == "SIGMOID":
        return np.asarray(255 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700))))
    if function == "LINEAR" and width == 1:
        return np.where(values > centre - 0.5, 255.0, 0.0)
    linear = function == "LINEAR" and width > 1
    share = (values - (centre - 0.5)) / (width - 1) if linear else (values - centre) / width
    return np.clip((share + 0.5) * 255, 0, 255)


def without_unused_bits(pixels: NDArray[Any], display: Display) -> NDArray[Any]:
    """Return stored values: unused bits, where old files keep overlays, are cut off; the sign is extended."""
    if display.bits is None or pixels.dtype.kind == "f":
        return pixels
    low, high = display.stored_range
    if display.shift and (pixels.min() < low or pixels.max() > high):
        pixels = pixels >> display.shift  # else they lie in the lower bits, whatever HighBit says
    unused = pixels.dtype.itemsize * 8 - display.bits
    return (pixels << unused) >> unused if unused > 0 else pixels


def _within(stored: NDArray[Any], low: float, high: float) -> NDArray[np.bool_]:
    if stored.dtype.kind == "f":
        return np.asarray((stored >= low) & (stored <= high))
    # A value that the type can't hold was written with the other sign: 63536 is -2000 in 16 bits.
    ends = np.array([int(low), int(high)]).astype(stored.dtype)
    return np.asarray((stored >= ends.min()) & (stored <= ends.max()))


def display_of(header: Dataset, frame: int) -> Display:
    """Read from the header how one frame (from 0) is shown; its functional groups come before the header's values.

    Raises UnreadableTagError for a value that can't be used.
    """
    sources = [*_functional_groups(header, frame), header]
    floats = "PixelData" not in header and ("FloatPixelData" in header or "DoubleFloatPixelData" in header)
    bits = None if floats else integer(header, "BitsStored")
    slope, intercept = first_number(sources, "RescaleSlope"), first_number(sources, "RescaleIntercept")
    if slope == 0:
        raise UnreadableTagError(f"{named('RescaleSlope')} is 0, which leaves one value")
    tables = (lookup_table(item, "LUTDescriptor", "LUTData", header) for item in items(sources, "ModalityLUTSequence"))
    lut = next((table for table in tables if table), None)
    vois = (lookup_table(item, "LUTDescriptor", "LUTData", header) for item in items(sources, "VOILUTSequence"))
    keyword = "PixelPaddingValue" if "PixelPaddingValue" in header or not floats else "FloatPixelPaddingValue"
    padding = first_number(sources, keyword)
    limit = first_number(sources, keyword.replace("Value", "RangeLimit"))
    return Display(
        bits=bits,
        shift=max(integer(header, "HighBit", (bits or 1) - 1) + 1 - (bits or 1), 0) if bits else 0,
        signed=not floats and integer(header, "PixelRepresentation", 0) == 1,
        modality=lut,
        slope=1.0 if slope is None else slope,
        intercept=intercept or 0.0,
        window=_window(sources),
        voi=next((table for table in vois if table), None),
        inverted=text(header, "PhotometricInterpretation") == "MONOCHROME1"
        or text(header, "PresentationLUTShape") == "INVERSE",
        padding=None if padding is None else (padding, padding if limit is None else limit),
    )


def _functional_groups(header: Dataset, frame: int) -> list[Dataset]:
    found: list[Dataset] = []
    for keyword, place in (("PerFrameFunctionalGroupsSequence", frame), ("SharedFunctionalGroupsSequence", 0)):
        groups = value(header, keyword)
        if groups is None:
            continue
        if place >= len(groups):
            raise UnreadableTagError(f"{named(keyword)} has {len(groups)} items, none for frame {frame + 1}")
        found.append(groups[place])
        for macro in ("FrameVOILUTSequence", "PixelValueTransformationSequence"):
            found += list(value(groups[place], macro) or ())[:1]
    return found


def _window(sources: Iterable[Dataset]) -> tuple[float, float, str] | None:
    """Return the first window; an empty value, or a width of 0, is no window."""
    for source in sources:
        pairs = zip(numbers(source, "WindowCenter"), numbers(source, "WindowWidth"), strict=False)
        for centre, width in pairs:
            if centre is None or not width:
                continue
            if width < 0:
                raise UnreadableTagError(f"{named('WindowWidth')} is {width:g}, and above 0 is possible")
            function = text(source, "VOILUTFunction") or "LINEAR"
            if function not in FUNCTIONS:
                raise UnreadableTagError(
                    f"{named('VOILUTFunction')} is {function}; {', '.join(FUNCTIONS)} are possible"
                )
            return centre, width, function
    return None


def palette(pixels: NDArray[Any], header: Dataset) -> NDArray[np.uint8]:
    """Return the colours (H, W, 3), uint8, of PALETTE COLOR pixels (H, W)."""
    names = [f"{colour}PaletteColorLookupTable" for colour in ("Red", "Green", "Blue")]
    tables = [lookup_table(header, f"{name}Descriptor", f"{name}Data", header) for name in names]
    whole = [table for table in tables if table]
    if len(whole) == 3:
        colours = np.stack([table.of(pixels) for table in whole], axis=-1)
        highest = max(int(table.entries.max()) for table in whole)
    else:
        from pydicom.pixels.processing import apply_color_lut

        colours = apply_color_lut(pixels, header)[..., :3]  # segmented tables
        highest = 65535 if colours.dtype == np.uint16 else 255
    return np.asarray(colours >> 8 if highest > 255 else colours, np.uint8)
