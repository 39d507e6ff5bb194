"""Charts as inline SVG. Lines differ in colour, shape and dash; each chart has a description in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

WIDTH, HEIGHT = 320.0, 236.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 8.0, 10.0, 36.0
LOOKS = 8  # colours, shapes and dashes in the style sheet
SHAPES = (
    "M-3.4 0a3.4 3.4 0 1 0 6.8 0a3.4 3.4 0 1 0 -6.8 0z",  # disc
    "M-3 -3h6v6h-6z",
    "M0 -4L3.8 3h-7.6z",
    "M0 -4.4L4.4 0L0 4.4L-4.4 0z",
    "M0 4L3.8 -3h-7.6z",
    "M-1.2 -4h2.4v2.8h2.8v2.4h-2.8v2.8h-2.4v-2.8h-2.8v-2.4h2.8z",  # plus
    "M-4.2 -1.8h8.4v3.6h-8.4z",
    "M-1.8 -4.2h3.6v8.4h-3.6z",
)
DASHES = ("none", "7 3", "9 3 2 3", "2 2.5", "4 2", "13 3", "6 2 1 2 1 2", "1 2")


class Axis(NamedTuple):
    """An axis from `low` to `high`, its ticks as (place, label) and its title."""

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    title: str


class Series(NamedTuple):
    """One line of a chart: points (place, mean, lower and upper end of the whisker or NaN), published (place, mean).

    The single point of a `level`, a zero-shot method, is drawn as a line across all numbers of shots.
    """

    name: str
    look: int
    points: Sequence[tuple[float, float, float, float]]
    published: Sequence[tuple[float, float]] = ()
    level: bool = False


SHARE = [(place, f"{place:g}") for place in (0, 0.25, 0.5, 0.75, 1)]


def ticks(low: float, high: float, least: int = 3) -> list[tuple[float, str]]:
    """Return round numbers between two bounds, with labels: as few as possible, at least `least`.

    >>> [label for _, label in ticks(0.13, 0.92)]
    ['0.2', '0.4', '0.6', '0.8']
    >>> [label for _, label in ticks(0.49995, 0.50015)]
    ['0.49995', '0.5', '0.50005', '0.5001', '0.50015']
    """
    most = (high - low) / least * 1.001
    unit = 10.0 ** math.floor(math.log10(most))
    step = max(unit * factor for factor in (1, 2, 5) if unit * factor <= most)
    first = math.ceil(low / step - 1e-9)
    places = [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]
    digits = max(0, -math.floor(math.log10(step)))
    if digits < 5:
        return [(place, f"{place:.{digits}f}") for place in places]
    largest = max(map(abs, places))  # labels need enough digits to show one step at this size
    digits = math.floor(math.log10(largest)) - math.floor(math.log10(step)) + 1
    return [(place, f"{place:.{digits}g}") for place in places]


def apart(values: Sequence[float]) -> list[str]:
    """Write numbers with three significant digits, or more where different numbers would look the same.

    >>> apart([0.5, 0.25]), apart([0.50001, 0.50002])
    (['0.5', '0.25'], ['0.50001', '0.50002'])
    """
    candidates = ([f"{value:.{digits}g}" for value in values] for digits in range(3, 18))
    return next(texts for texts in candidates if len(set(texts)) == len(set(values)))


def curve(
    name: str, title: str, description: str, x: NDArray[Any], y: NDArray[Any], titles: tuple[str, str], base: str,
    steps: bool = False,
) -> Markup:  # fmt: skip
    """Draw a curve in the unit square above a dotted `base`: `diagonal`, or the height of a level line as a number."""
    across, up = Axis(0, 1, SHARE, titles[0]), Axis(0, 1, SHARE, titles[1])
    if steps:  # a precision applies from the previous recall to its own
        x, y = np.repeat(x, 2), np.repeat(y, 2)
        x = np.append(0, x[:-1])
    ends = [(0.0, 0.0), (1.0, 1.0)] if base == "diagonal" else [(0.0, float(base)), (1.0, float(base))]
    inside = Markup('<path class="base" d="{}"/><path class="curve" d="{}"/>').format(
        _path([(_x(a, across), _y(b, up)) for a, b in ends]),
        _path([(_x(a, across), _y(b, up)) for a, b in zip(x.tolist(), y.tolist(), strict=True)]),
    )
    return _svg(name, title, description, Markup("").join([_axes(across, up), inside]))


def reliability(
    name: str, title: str, description: str, points: Sequence[tuple[float, float, int]], names: tuple[str, str]
) -> Markup:
    """Draw a reliability diagram: (probability, observed share, images) by bin; the area of a disc is the images'."""
    across, up = Axis(0, 1, SHARE, names[0]), Axis(0, 1, SHARE, names[1])
    most = max((images for *_, images in points), default=1)
    spots = [(_x(probability, across), _y(observed, up)) for probability, observed, _ in points]
    drawn = [
        _axes(across, up),
        Markup('<path class="base" d="{}"/>').format(_path([(_x(a, across), _y(a, up)) for a in (0.0, 1.0)])),
    ]
    if len(spots) > 1:
        drawn.append(Markup('<path class="curve" d="{}"/>').format(_path(spots)))
    for (x, y), (*_, images) in zip(spots, points, strict=True):
        radius = max(5.5 * math.sqrt(images / most), 1.5)
        drawn.append(Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="{:.1f}"/>').format(x, y, radius))
    return _svg(name, title, description, Markup("").join(drawn))


def distribution(
    name: str,
    title: str,
    description: str,
    edges: NDArray[Any],
    normal: NDArray[Any],
    abnormal: NDArray[Any],
    unit: str,
) -> Markup:  # fmt: skip
    """Draw two histograms on the same axes as outlines: (bins + 1,) edges, (bins,) shares of each class."""
    top = float(max(normal.max(), abnormal.max()))
    across = Axis(float(edges[0]), float(edges[-1]), ticks(float(edges[0]), float(edges[-1])), "score")
    up = Axis(0, top * 1.02, [(at, f"{100 * at:g}") for at, _ in ticks(0, top)], f"% of the {unit} of each class")
    drawn = []
    for kind, shares in (("normal", normal), ("abnormal", abnormal)):
        heights = [_y(0, up), *(height for share in shares.tolist() for height in [_y(share, up)] * 2), _y(0, up)]
        places = [place for edge in edges.tolist() for place in [_x(edge, across)] * 2]
        outline = _path(list(zip(places, heights, strict=True)))
        drawn.append(Markup('<path class="{}" d="{}"/>').format(kind, outline))
    return _svg(name, title, description, Markup("").join([_axes(across, up), *drawn]))


def shots(
    name: str, title: str, description: str, series: Sequence[Series], places: Sequence[str], height: float = HEIGHT
) -> Markup:
    """Draw means over `places` on the x axis, with their whiskers; published figures are hollow."""
    spread = [value for line in series for _, *values in line.points for value in values if not math.isnan(value)]
    spread += [mean for line in series for _, mean in line.published]
    low, high = _round(min(spread), max(spread))
    across = Axis(-0.4, len(places) - 0.6, list(enumerate(places)), "shots per class")
    up = Axis(low, high, ticks(low, high), "per cent")
    drawn = [_axes(across, up, height)]
    for number, line in enumerate(series):
        shift = 0.0 if len(series) == 1 else (number / (len(series) - 1) - 0.5) * min(0.3, 0.08 * len(series))
        drawn.append(_line(line, across, up, shift, height))
    return _svg(name, title, description, Markup("").join(drawn), height)


def swatch(look: int) -> Markup:
    """Draw the sample of a series for a legend."""
    return Markup(
        '<svg class="swatch" viewBox="0 0 34 12" aria-hidden="true"><g class="s{}" transform="translate(17 6)">'
        '<path class="line" stroke-dasharray="{}" d="M-16 0H16"/><path class="mark" d="{}"/></g></svg>'
    ).format(look % LOOKS, _dash(look), _shape(look))


def _line(line: Series, across: Axis, up: Axis, shift: float, height: float) -> Markup:
    parts = []
    spots = [(_x(at + shift, across), _y(mean, up, height)) for at, mean, *_ in line.points]
    if len(spots) > 1:
        parts.append(Markup('<path class="line" stroke-dasharray="{}" d="{}"/>').format(_dash(line.look), _path(spots)))
    elif line.level:
        level = _path([(LEFT, spots[0][1]), (WIDTH - RIGHT, spots[0][1])])
        parts.append(Markup('<path class="line level" stroke-dasharray="1.5 3" d="{}"/>').format(level))
    for (x, y), (_, _, low, high) in zip(spots, line.points, strict=True):
        if high > low:
            ends = (_y(min(high, up.high), up, height), _y(max(low, up.low), up, height))
            parts.append(Markup('<path class="bar" d="M{:.1f} {:.1f}V{:.1f}"/>').format(x, *ends))
            caps = [Markup('<path class="bar" d="M{:.1f} {:.1f}h5"/>').format(x - 2.5, end) for end in ends]
            parts += caps
        parts.append(
            Markup('<path class="mark" transform="translate({:.1f} {:.1f})" d="{}"/>').format(x, y, _shape(line.look))
        )
    for at, mean in line.published:
        parts.append(
            Markup('<path class="mark hollow" transform="translate({:.1f} {:.1f})" d="{}"/>').format(
                _x(at + shift, across), _y(mean, up, height), _shape(line.look)
            )
        )
    return Markup('<g class="s{}">{}</g>').format(line.look % LOOKS, Markup("").join(parts))


def _axes(across: Axis, up: Axis, height: float = HEIGHT) -> Markup:
    right, floor = WIDTH - RIGHT, height - BOTTOM
    parts = []
    for place, label in up.ticks:
        y = _y(place, up, height)
        parts.append(
            Markup('<path class="grid" d="M{:.1f} {:.1f}H{:.1f}"/><text class="y" x="{:.1f}" y="{:.1f}">{}</text>')
            .format(LEFT, y, right, LEFT - 5, y + 3.5, label)
        )  # fmt: skip
    for place, label in across.ticks:
        x = _x(place, across)
        parts.append(
            Markup('<path class="tick" d="M{:.1f} {:.1f}v3"/><text class="x" x="{:.1f}" y="{:.1f}">{}</text>')
            .format(x, floor, x, floor + 14, label)
        )  # fmt: skip
    middle = (TOP + floor) / 2
    parts.append(
        Markup(
            '<path class="axis" d="M{:.1f} {:.1f}H{:.1f}"/><text class="x title" x="{:.1f}" y="{:.1f}">{}</text>'
            '<text class="x title" transform="translate(11 {:.1f}) rotate(-90)">{}</text>'
        ).format(LEFT, floor, right, (LEFT + right) / 2, floor + 30, across.title, middle, up.title)
    )
    return Markup("").join(parts)


def _svg(name: str, title: str, description: str, inside: Markup, height: float = HEIGHT) -> Markup:
    return Markup(
        '<svg class="plot" viewBox="0 0 {:g} {:g}" role="img" aria-labelledby="{name}-t {name}-d">'
        '<title id="{name}-t">{}</title><desc id="{name}-d">{}</desc>{}</svg>'
    ).format(WIDTH, height, title, description, inside, name=name)


def _x(value: float, axis: Axis) -> float:
    return LEFT + (value - axis.low) / (axis.high - axis.low) * (WIDTH - RIGHT - LEFT)


def _y(value: float, axis: Axis, height: float = HEIGHT) -> float:
    return height - BOTTOM - (value - axis.low) / (axis.high - axis.low) * (height - BOTTOM - TOP)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _shape(look: int) -> str:
    return SHAPES[(look + look // LOOKS) % LOOKS]


def _dash(look: int) -> str:
    return DASHES[(look + 2 * (look // LOOKS)) % LOOKS]  # a larger shift, so that no two looks share shape and dash


def _round(low: float, high: float) -> tuple[float, float]:
    """Widen a range of per cents a little, to whole steps, within 0 and 100."""
    gap = max(high - low, 2.0)
    step = next(size for size in (1, 2, 5, 10, 20, 25) if size * 5 >= gap or size == 25)
    return max(0.0, math.floor((low - 0.02 * gap) / step) * step), min(
        100.0, math.ceil((high + 0.02 * gap) / step) * step
    )
