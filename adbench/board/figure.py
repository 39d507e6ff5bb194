"""Figures of a leaderboard as text: titles of metrics, means with their intervals, ranks."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any

import pandas as pd

HEADLINE = ("image_auroc", "pixel_auroc")
STANDARD = ("image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_ap", "pixel_aupro")
TITLES = {
    "image_auroc": "image AUROC",
    "image_ap": "image AP",
    "image_f1_max": "image F1-max",
    "image_accuracy": "image accuracy",
    "pixel_auroc": "pixel AUROC",
    "pixel_ap": "pixel AP",
    "pixel_f1_max": "pixel F1-max",
    "pixel_aupro": "pixel AUPRO",
    "pixel_aupro_05": "pixel AUPRO (FPR to 5 %)",
    "pixel_aupimo": "AUPIMO (FPR 1e-5 to 1e-4)",
    "pixel_aupimo_loose": "AUPIMO (FPR 1e-4 to 1e-2)",
}
TITLES |= {f"{name}_last": f"{title}, last epoch" for name, title in TITLES.items()} | {
    f"{name}_leak": f"{title}, leak" for name, title in TITLES.items()
}
BEST = (
    "{mark}: the best row of its protocol and number of shots, and all rows that it is not significantly better than "
    "(p >= 0.05 after Holm's correction)."
)
VISIBLE = 0.005  # percentage points: a smaller half-width is invisible in two decimals


def at_most(half: float) -> str:
    """Write a computation error, a fraction of 1, in points: rounded up, as it is a bound; "" where it is not visible.

    >>> at_most(0.11976), at_most(0.0055), at_most(1e-7)
    ('11.98', '0.55', '')
    """
    points = 100 * Decimal(half)
    return "" if points < VISIBLE else str(points.quantize(Decimal("0.01"), ROUND_CEILING))


def metric_title(metric: str) -> str:
    """Return the printed name of a metric or cost.

    >>> metric_title("pixel_auroc"), metric_title("fit_seconds")
    ('pixel AUROC', 'fit seconds')
    """
    return TITLES.get(metric, metric.replace("_", " "))


def decimals(value: float) -> str:
    """Write a number with two decimals."""
    return f"{value:.2f}"


def shown(row: Mapping[Any, Any]) -> str:
    """Write the mean of a figure: `90.00`, `≈90.00` (approximate), `missing` (never run) or `–` (does not apply)."""
    if pd.isna(row["mean"]):
        return "missing" if row["n"] == 0 else "–"
    return f"{'≈' * (row['half_width'] > VISIBLE)}{decimals(row['mean'])}"


def figure(row: Mapping[Any, Any], mark: str = "%s", uneven: bool = False) -> str:
    """Write one figure: mean ± std (n) [difference to the published one], `90.00 ± 1.20 (3) [+0.50]`.

    With an interval it is mean [low, high] (n): `90.00 [84.21, 93.90] (3)`. Parts without a value are left out, and so
    is an n of 1 except in a row that is `uneven`.
    """
    text = mark % shown(row)
    if between := between_of(row):
        text += f" [{between}]"
    elif not pd.isna(row["std"]):
        text += f" ± {row['std']:.2f}"
    if row["n"] > 1 or (uneven and row["n"] == 1):
        text += f" ({int(row['n'])})"
    difference = row.get("difference")
    return text if difference is None or pd.isna(difference) else f"{text} [{difference:+.2f}]"


def between_of(row: Mapping[Any, Any]) -> str:
    """Write the interval of a figure, `84.21, 93.90`; empty where it has none."""
    low, high = row.get("ci_low", float("nan")), row.get("ci_high", float("nan"))
    return "" if pd.isna(low) else f"{low:.2f}, {high:.2f}"


def rank(row: Mapping[Any, Any]) -> str:
    """Write the rank of a line and its interval, `2 (1-3)`; – where it has none.

    >>> rank({"rank": 2.0, "rank_low": 1.0, "rank_high": 3.0}), rank({"rank": float("nan")})
    ('2 (1-3)', '–')
    """
    if pd.isna(row.get("rank", float("nan"))):
        return "–"
    return f"{row['rank']:.0f} ({row['rank_low']:.0f}-{row['rank_high']:.0f})"


def marks_of(column: pd.DataFrame) -> list[str]:
    """Return "best" for the lines of a column that the best one is not better than, "" for others; see `ranks`."""
    best = column["best"].eq(True) if "best" in column else [False] * len(column)
    return ["best" if mark else "" for mark in best]
