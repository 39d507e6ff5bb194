"""`adbench show RECORD`: figures of one record, and its operating point."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from adbench.board.figure import at_most
from adbench.board.operating import OperatingReport, operating_points
from adbench.commands.console import plain_console
from adbench.errors import AdbenchError
from adbench.metrics import patient_metrics
from adbench.records.record import Record, read
from adbench.records.standing import caveat, standing
from adbench.statistics.figures import Figure
from adbench.system.text import counted, printable


def show(path: Path, specificity: float, prevalence: float | None) -> None:
    """Print what a record is, its figures, and its operating point at a specificity."""
    record = read(path.expanduser())
    report = operating_points(record, specificity, prevalence)
    console = plain_console()
    for line in (*_head(record), *patient_lines(record), "", *operating_lines(report)):
        console.print(line)


def _head(record: Record) -> Iterator[str]:
    resolved, support = record.content["resolved"], record.content["support"]
    yield (
        f"{record.content['facts']['method']} on {resolved['dataset']} ({record.content['data']} data), "
        f"{record.content['protocol']}, {support['shots']} shots, {support['source']}, seed {resolved['seed']}"
    )
    if why := caveat(standing(record)):
        yield _line("caveat", why)
    halves = record.content["half_widths"] or {}
    for name, value in record.metrics.items():
        if value is not None:
            most = at_most(halves.get(name) or 0.0)
            error = f" (computation error at most {most})" if most else ""
            yield _line(printable(name), f"{100 * value:.2f} %{error}")
    for name, value in (record.content["selection"]["last"] or {}).items():
        if value is not None:
            yield _line(f"{printable(name)}_last", f"{100 * value:.2f} %")


def patient_lines(record: Record) -> Iterator[str]:
    """Yield the figures by patient, or why there are none."""
    try:
        patients = record.patients()
        if (patients["images"] == 1).all():
            raise AdbenchError("each test image is of a patient of its own, so they are the image figures.")
        figures = patient_metrics(patients["score"], patients["label"], np.arange(len(patients)))
    except AdbenchError as error:
        yield _line("by patient", f"none: {str(error).rstrip('.')}")
        return
    yield from (_line(name, f"{100 * value:.2f} %") for name, value in figures.items())


def operating_lines(report: OperatingReport) -> Iterator[str]:
    """Yield the operating point of a record in lines of text: where its thresholds are from, and what they reach."""
    held, image, pixel, fitted = report.held_out, report.image, report.pixel, report.calibration
    fixed = "at an epoch that the test split chose" if report.oracle else "fixed without the test split"
    yield f"operating point at specificity {report.specificity:g}, {fixed}"
    yield _line("held out", held.why or (
        f"{held.images} of {counted(held.of, 'image')} ({held.normal} normal, {held.abnormal} abnormal) of "
        f"{counted(held.patients, 'patient')}, from {'a cross-validation of ' * (held.source == 'support_cv')}"
        f"{held.split}" + (f"; {held.in_test} more are in the test split" if held.in_test else "")
    ))  # fmt: skip
    for name, of, point in (
        ("image threshold", "the held-out normal images", image.threshold),
        ("map threshold", "their pixels", pixel.threshold),
    ):
        if point.value is None:
            yield _line(name, f"none: {point.why}")
        else:
            yield _line(name, f"{point.value:.9g}, above {100 * (point.reached or 0):.2f} % of {of}")
    figures = {"specificity": image.specificity, "sensitivity": image.sensitivity}
    if report.prevalence is not None:
        figures |= {f"PPV at {report.prevalence:g}": image.ppv, f"NPV at {report.prevalence:g}": image.npv}
    if image.threshold.value is not None:
        yield from (_line(name, percent(one)) for name, one in figures.items())
    if pixel.threshold.value is not None:
        yield _line("pixel specificity", percent(pixel.specificity))
        yield _line("pixel sensitivity", percent(pixel.sensitivity))
        yield _line("Dice", percent(pixel.dice))
    if fitted.platt is None:
        yield _line("probabilities", f"none: {fitted.why}")
    else:
        yield _line("Brier score", plain(fitted.brier))
        yield _line("calibration in the large", f"{plain(fitted.in_the_large)}; ideal 0")
        yield _line("calibration slope", f"{plain(fitted.slope)}; ideal 1")
        yield _line("ECE", plain(fitted.expected_error))
    for note in report.notes:
        yield f"  note: {note}"


def percent(one: Figure) -> str:
    """Write a share in per cent with its interval, or why one of them is missing."""
    if one.value is None:
        return f"none: {one.why}"
    said = one.why
    if one.low is not None and one.high is not None:
        said = f"{100 * one.low:.1f} to {100 * one.high:.1f}, {counted(one.patients, 'patient')}"
    if most := at_most(one.half_width):
        said += f"; computation error at most {most}"
    return f"{100 * one.value:.2f} % ({said})"


def plain(one: Figure) -> str:
    """Write a figure with its interval, or why one of them is missing."""
    if one.value is None:
        return f"none: {one.why}"
    if one.low is None or one.high is None:
        return f"{one.value:.3f} ({one.why})"
    return f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})"


def _line(name: str, text: str) -> str:
    return f"  {name:<26}{text}"
