"""The lesion type. Functions that paint one take a healthy `Scene`, a stream, a size and a strength.

The size `bulk` and the contrast `vigour` lie in [0, 1].
"""

from collections.abc import Callable
from dataclasses import dataclass

from .brushes import Field, Mask
from .organs import Generator, Scene


@dataclass(frozen=True)
class Lesion:
    """A diseased image (as `Scene.image`), the lesion's mask (H, W), and the centre (y, x) of its largest focus."""

    image: Field
    mask: Mask
    centre: tuple[float, float]


Painter = Callable[[Scene, Generator, float, float], Lesion]


def covered(cover: Field) -> Mask:
    """What a lesion covers by half or more; of thinner ones the better part."""
    return (cover > 0) & (cover >= min(0.5, 0.6 * float(cover.max())))
