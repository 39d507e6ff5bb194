"""Frames: single images of a file that holds several, such as the slices of a volume."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

NUMBERED = re.compile(r"(?P<file>.+)#(?P<number>\d+)")


@dataclass(frozen=True)
class Frame:
    """One image of a file that holds several: a slice of a volume, a frame of a DICOM file or a page of a TIFF.

    number: its place in the file, from 0; in a volume along `axis`.
    axis: of a volume: "axial", "coronal" or "sagittal".
    window: of a volume: the values that become black and white, the same for all of its slices.
    """

    number: int
    axis: str | None = None
    window: tuple[float, float] | None = None

    def __str__(self) -> str:
        return f"#{self.number:03d}"

    @property
    def content(self) -> str:
        """All that decides what the frame shows of its file, for content hashes."""
        volume = f" {self.axis} {self.window}" if self.axis is not None else ""
        return f"#{self.number}{volume}"


@dataclass(frozen=True)
class FramePath:
    """The path of one image in a file that holds several; its text is `a/scan.nii.gz#012`."""

    path: Path
    frame: Frame

    def __str__(self) -> str:
        return f"{self.path}{self.frame}"

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """The file's name and the frame."""
        return f"{self.path.name}{self.frame}"


ImagePath = Path | FramePath  # where an image is: a file, or a frame of it


def image_path(path: Path, frame: Frame | None) -> ImagePath:
    """Return where an image is."""
    return path if frame is None else FramePath(path, frame)


def located(image: ImagePath) -> tuple[Path, Frame | None]:
    """Return the file that an image is in, and its frame; none where the file is the image."""
    return (image, None) if isinstance(image, Path) else (image.path, image.frame)


def stem(path: Path) -> str:
    """Return a file's name without its ending, of `.nii.gz` without both.

    >>> stem(Path("a/sub-0.nii.gz")), stem(Path("a/b.c.png"))
    ('sub-0', 'b.c')
    """
    return path.name[:-7] if path.name.lower().endswith(".nii.gz") else path.stem


def split_name(name: str) -> tuple[str, int | None]:
    """Split the name of a frame into file and number.

    >>> split_name("sub-0.nii.gz#12"), split_name("a.png")
    (('sub-0.nii.gz', 12), ('a.png', None))
    """
    match = NUMBERED.fullmatch(name)
    return (match["file"], int(match["number"])) if match else (name, None)
