"""Painter of optical coherence tomograms: retinal layers over choroid, in two looks (RESC and OCT2017)."""

import numpy as np

from .brushes import Field, Size, bell, curve, grid, noise
from .organs import Generator, Scene

# Depth within the retina (0 = inner surface, 1 = pigment epithelium) and its reflectivity.
DEPTHS = (-0.02, 0.0, 0.1, 0.16, 0.22, 0.34, 0.38, 0.46, 0.5, 0.55, 0.6, 0.77, 0.79, 0.81, 0.86, 0.89, 0.92, 0.95, 1.0)
BRIGHT = (0.0, 0.75, 0.85, 0.6, 0.5, 0.6, 0.34, 0.3, 0.58, 0.6, 0.27, 0.22, 0.42, 0.25, 0.55, 0.75, 0.5, 1.0, 0.95)


def retina(patient: Generator, slice_: Generator, size: Size, tall: float, bent: float, white_corners: bool) -> Scene:
    """One B-scan. `tall` is the retinal thickness in half heights, `bent` the typical tilt and curvature."""
    y, x = grid(size)
    line = x[0]
    reach = size[1] / size[0]
    thick = tall * patient.uniform(0.82, 1.18)
    pit, pit_width = patient.uniform(0.4, 0.7), reach * patient.uniform(0.14, 0.26)
    fovea = patient.normal(0, 0.2) * reach
    gain, grain, floor_ = patient.uniform(0.55, 0.9), patient.uniform(0.1, 0.3), patient.uniform(0.03, 0.14)
    choroid, nerve = patient.uniform(0.3, 0.6), patient.uniform(-0.4, 0.4)

    off = abs(slice_.normal(0, 0.8))  # distance of the scan line from the fovea
    dip = pit * np.exp(-(off**2)) * bell(line - fovea, pit_width)
    rim = 0.12 * bell(np.abs(line - fovea) - 1.6 * pit_width, 0.8 * pit_width)
    height = thick * (1 - dip + rim) * (1 + 0.03 * curve(slice_, size[1], 5))
    base = 0.25 + slice_.normal(0, 0.12) + bent * (slice_.normal(0, 0.5) * line / reach - 0.5 * (line / reach) ** 2)
    base = base + 0.012 * curve(slice_, size[1], 8) + 0.5 * bent * patient.uniform(0, 1)
    nerve_share = np.clip(1 + nerve * 2 * line / reach, 0.2, 1.9)

    shadows = np.ones(size[1])
    for _ in range(slice_.integers(2, 7)):
        shadows -= slice_.uniform(0.15, 0.5) * bell(line - slice_.uniform(-reach, reach), slice_.uniform(0.012, 0.035))
    shadows *= 1 + 0.1 * curve(slice_, size[1], 6)
    stroma = 1 + 0.35 * noise(slice_, size, 16) + 0.2 * noise(slice_, size, 40)
    grit = 1 + 0.05 * noise(slice_, size, 30, 12)
    vitreous = floor_ * (1 + 0.2 * noise(slice_, size, 5))
    foci = np.zeros(size)
    for _ in range(slice_.integers(0, 3)):  # vessels cut across: bright dots in healthy inner retina
        spot = slice_.uniform(-reach, reach)
        depth = np.interp(spot, line, base - 0.85 * height)
        foci += slice_.uniform(0.1, 0.3) * bell(y - depth, 0.022) * bell(x - spot, 0.026)

    def paint(lift: Field, bump: Field) -> Field:
        """The scan with the retina raised by `lift` off the epithelium and the epithelium by `bump`, both (W,)."""
        floor = base - bump
        outer = 0.47 * thick - 0.4 * bump  # inner layers thin out in the pit, outer ones do not
        above = floor - lift - y
        inner = np.maximum(height - outer, 0.02)
        depth = np.where(above < outer, 1 - 0.5 * above / outer, 0.5 * (outer + inner - above) / inner)
        depth = np.where(depth < 0.16, depth / nerve_share, depth)
        layers = np.interp(depth, DEPTHS, BRIGHT) * grit * gain
        image = np.where(depth < 0, vitreous, np.maximum(layers, floor_))
        below = y - floor
        image = np.where((above < 0) & (below < 0), 1.3 * floor_, image)
        depths = choroid * gain * np.exp(-np.clip(below, 0, None) / (0.5 * tall)) * np.clip(stroma, 0.2, 2)
        image = np.where(below > 0, np.maximum(depths, floor_), image)
        image = np.maximum(image, bell(below + 0.012, 0.02) * gain)
        image = np.where(depth > 0, image * shadows + foci, image)
        if white_corners:
            image = np.where(corner > 0, 1.0, image)
        return image

    corner = np.full(size, -1.0)
    if white_corners and patient.random() < 0.35:
        slope = patient.uniform(-0.25, 0.25)
        corner = np.maximum(y - 0.97 + slope * x, -y - 0.97 - slope * x)
    flat = np.zeros(size[1])
    image = paint(flat, flat)
    site = (y > base - 0.9 * height) & (y < base - 0.06) & (np.abs(x) < 0.92 * reach) & (corner < 0)
    marks = {"base": base, "height": height, "thick": np.asarray(thick), "fovea": np.asarray(fovea)}
    return Scene(image, site, gain * 0.5, grain, marks, paint)


def resc(patient: Generator, slice_: Generator, size: Size) -> Scene:
    """Wide macular scan, thin retina, moderate speckle."""
    return retina(patient, slice_, size, tall=0.62, bent=0.16, white_corners=False)


def oct17(patient: Generator, slice_: Generator, size: Size) -> Scene:
    """Nearly square clinical scan, thicker and more tilted retina, sometimes white padding at the border."""
    return retina(patient, slice_, size, tall=0.5, bent=0.35, white_corners=True)
