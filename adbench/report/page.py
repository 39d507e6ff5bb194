"""The page of one record: its sections as a template needs them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from adbench.board.leaderboard import unlike_published
from adbench.board.operating import OperatingReport, operating_points
from adbench.board.samples import Samples, ScoredImages
from adbench.board.site import charts
from adbench.board.site.command import again
from adbench.board.site.records import GALLERY_TITLES, SiteRecord, gallery, predictions, require_both_classes
from adbench.board.variants import flat
from adbench.metrics import by_patient
from adbench.records.standing import caveat
from adbench.report import checklists, groups, whom
from adbench.report.figures import Line, eval_size, has_patients, image_lines, pixel_lines
from adbench.statistics.figures import Figure, share
from adbench.system.session import Session

PICTURES = 6  # of a kind
SECTIONS = {
    "whom": "What was tested on whom", "figures": "Figures", "operating": "Operating point",
    "calibration": "Calibration", "groups": "Subgroups and lesion size", "lesions": "Lesions and false positives",
    "pictures": "Misses and false alarms", "seen": "What was seen in training", "software": "Software",
    "checklists": "Reporting checklists",
}  # fmt: skip


class Options(NamedTuple):
    """What a reader chose: specificity of the operating point, prevalence (None: not stated), level of intervals."""

    specificity: float = 0.95
    prevalence: float | None = None
    level: float = 0.95


class Matrix(NamedTuple):
    """A confusion matrix of images or patients, with its sensitivity and specificity."""

    of: str
    true_positive: int
    false_negative: int
    false_positive: int
    true_negative: int
    sensitivity: Figure
    specificity: Figure


def title_of(entry: SiteRecord) -> str:
    """Return the heading of a record's report."""
    return f"{entry.content['facts']['method']} on {entry.content['dataset']['title'] or entry.line['dataset']}"


def page(entry: SiteRecord, options: Options, samples: Samples, session: Session) -> dict[str, Any]:
    """Return the variables of the template of one record; raises RecordError for a file that can't be read."""
    record, content = entry.record, entry.content
    require_both_classes(record, record.predictions()["label"])
    test, level = samples.images(record), options.level
    point = operating_points(record, *options)
    threshold = point.image.threshold.value
    parts, sizes = (
        groups.subgroups(test, threshold, level),
        groups.thirds(test, eval_size(record), threshold, level) if eval_size(record) else [],
    )
    shown = list(_pictures(entry, threshold))
    images = [*image_lines(record, samples, level)]
    there = {"subgroups": bool(parts), "operating": threshold is not None, "pictures": bool(shown),
             "calibration": point.calibration.platt is not None}  # fmt: skip
    found = {name for name, yes in there.items() if yes}
    return {
        "title": title_of(entry), "which": entry.which, "key": record.key, "options": options, "sections": SECTIONS,
        "warnings": list(warnings(entry, test)), "notes": content["notes"],
        "headline": images[:1] + [
            Line("sensitivity", point.image.sensitivity), Line("specificity reached", point.image.specificity),
        ],
        "about": list(_about(entry)), "dataset": list(whom.dataset_lines(content)),
        "patients": list(whom.patient_lines(test)), "splits": list(whom.splits(content)),
        "left_out": whom.left_out(content, len(test.groups)), "masks": content.get("masks"),
        "images": images, "by_patient": has_patients(record, samples),
        "pixels": [*pixel_lines(record, samples, level)],
        "point": point, "matrices": list(_matrices(test, point, level)),
        "reliability": _reliability(point), "subgroups": parts, "sizes": sizes,
        "correlation": groups.size_correlation(test.table, test.groups, level),
        **_lesions(entry, test, level),
        "pictures": shown, "seen": list(whom.seen_lines(content)), "support": content["support"],
        "again": again(content, session), "software": list(_software(entry)),
        "checklists": [
            (name, source, list(checklists.answered(items, found)))
            for name, source, items in (
                ("TRIPOD+AI", "Collins et al., BMJ 385:e078378 (2024)", checklists.TRIPOD),
                ("CLAIM", "Mongan, Moy & Kahn, Radiol. Artif. Intell. 2:e200029 (2020)", checklists.CLAIM),
            )
        ],
    }  # fmt: skip


def warnings(entry: SiteRecord, test: ScoredImages) -> Iterator[str]:
    """Yield what a reader must know before any figure."""
    if entry.content["data"] == "phantom":
        yield "Phantom data: drawn pictures. Nothing here says anything of patients."
    if why := caveat(entry.line["standing"]):
        yield f"{why[:1].upper()}{why[1:]}. The figures are not those of a clean test."
    if unlike := unlike_published(entry.record):
        yield f"{unlike[:1].upper()}{unlike[1:]}."
    if test.table["patient"].isna().all():
        yield "Patients are unknown: images count as independent, and intervals may be too narrow."
    if entry.content["backbone"].get("stand_in"):
        yield f"{entry.line['backbone']} has only ever seen drawings: its figures say nothing of the full-size method."


def _about(entry: SiteRecord) -> Iterator[tuple[str, str]]:
    line = entry.line
    yield "method", line["method"] + (f", {line['variant']}" if line["variant"] else "")
    yield "protocol", line["protocol"] + (f", trained on {line['train_on']}" if line["train_on"] else "")
    yield "shots", line["shots"] if entry.draw else "0"
    yield "draw and seed", entry.which
    yield "backbone", line["backbone"]
    yield "finished", entry.content["finished"]
    yield "record", entry.record.key


def _matrices(test: ScoredImages, point: OperatingReport, level: float) -> Iterator[Matrix]:
    threshold, counts = point.image.threshold.value, point.image.confusion
    if threshold is None or counts is None:
        return
    yield Matrix("images", counts.true_positive, counts.false_negative, counts.false_positive, counts.true_negative,
                 point.image.sensitivity, point.image.specificity)  # fmt: skip
    labels, scores = test.table["label"].to_numpy() == 1, test.table["score"].to_numpy(np.float64)
    if len(np.unique(test.groups)) == len(test.groups):
        return
    one = by_patient(scores, labels, test.groups)
    called, ill, everyone = one.scores >= threshold, one.labels, np.arange(len(one.scores))
    found, cleared = (
        share(hits[some], everyone[some], level) if some.any() else Figure(None, why="there is no such patient")
        for hits, some in ((called, ill), (~called, ~ill))
    )
    yield Matrix("patients", int((called & ill).sum()), int((~called & ill).sum()), int((called & ~ill).sum()),
                 int((~called & ~ill).sum()), found, cleared)  # fmt: skip


def _reliability(point: OperatingReport) -> Any:
    bins = point.calibration.bins
    if not bins:
        return None
    spots = [(one.probability, one.observed, one.images) for one in bins]
    words = "; ".join(f"{100 * a:.0f} % predicted, {100 * b:.0f} % observed, {n} images" for a, b, n in spots)
    return charts.reliability(
        "reliability", "Reliability diagram of the test images", f"{words}.", spots,
        ("predicted probability", "observed share"),
    )  # fmt: skip


def _lesions(entry: SiteRecord, test: ScoredImages, level: float) -> dict[str, Any]:
    record = entry.record
    lesions, counts = record.lesions(), record.false_positives()
    if lesions is None:
        why = "There are none: lesions are counted where a dataset has masks and a method draws maps."
        if record.content["histogram"] is not None:
            why = "An older adbench wrote this record and counted no lesions. Run its cell again with force=true."
        return {"lesions": None, "lesions_why": why, "detections": []}
    ordered = test.table.sort_values("place")
    why = ""
    if counts is None:
        held = record.content.get("held_out") or {}
        why = held.get("why") or "its held-out images are too few for a map threshold"
        why = f"No map threshold was fixed before the test images were scored ({why}), so nothing was counted."
    area = lesions["area"].to_numpy()
    facts = {
        "number": len(lesions), "images": int(lesions["image"].nunique()),
        "area": f"{area.min()} to {area.max()} pixels, median {np.median(area):g}" if len(area) else "",
    }  # fmt: skip
    found = [] if counts is None else list(groups.detections(lesions, counts, ordered, test.groups_in_file, level))
    return {"lesions": facts, "lesions_why": why, "detections": found}


def _pictures(entry: SiteRecord, threshold: float | None) -> Iterator[dict[str, Any]]:
    """Yield the first misses and false alarms of the gallery, each as a data URI: the page is one file."""
    table = predictions(entry.record)
    ranks = table["score"].rank(ascending=False, method="min").astype(int)
    for kind in ("miss", "false_alarm"):
        chosen = [one for one in gallery(entry.record, table) if one.kind == kind][:PICTURES]
        if not chosen:
            continue
        panels = chosen[0].panels
        yield {"title": GALLERY_TITLES[kind], "panels": ", ".join(panels), "of": len(panels), "all": [
            {
                "src": "data:image/png;base64," + base64.b64encode(one.file.read_bytes()).decode("ascii"),
                "alt": f"{', '.join(panels)} of {table['image'][one.row]}", "image": table["image"][one.row],
                "caption": _caption(table, one.row, int(ranks[one.row]), threshold),
            }
            for one in chosen
        ]}  # fmt: skip


def _caption(table: pd.DataFrame, row: int, rank: int, threshold: float | None) -> str:
    score, above = float(table["score"][row]), 100 * table["share"][row]
    others = "normal images" if table["label"][row] else "other normal images"
    text = f"score {score:.4g}, rank {rank} of {len(table)}; above {above:.0f} % of the {others}"
    if threshold is None:
        return text
    return f"{text}; called {'abnormal' if score >= threshold else 'normal'}"


def _software(entry: SiteRecord) -> Iterator[tuple[str, str]]:
    content = entry.content
    code = content["code"]
    state = {True: ", modified", False: "", None: ""}[code["dirty"]]
    yield "adbench", f"{code['version']}" + (f", commit {code['commit']}{state}" if code["commit"] else "")
    yield "packages", ", ".join(f"{name} {version}" for name, version in content["packages"].items())
    device = content["device"]
    yield "machine", ", ".join(str(device[name]) for name in ("type", "model", "system") if device.get(name))
    yield "trainable parameters", f"{content['parameters']['trainable']:,}"
    facts = {name: value for name, value in content["facts"].items() if value is not None and name != "params"}
    for title, values in (("parameters of the method", content["facts"]["params"]), ("other facts of the key", facts)):
        yield title, ", ".join(f"{name}={text}" for name, text in flat(values)) or "none"
