"""The page of one record: figures, curves, gallery, provenance, and the command that reproduces it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from adbench.board.figure import at_most, metric_title
from adbench.board.leaderboard import figures, unlike_published
from adbench.board.operating import image_point
from adbench.board.site import charts, curves
from adbench.board.site.command import again
from adbench.board.site.records import (
    GALLERY_TITLES,
    Picture,
    SiteRecord,
    dataset_page,
    gallery,
    histogram,
    predictions,
    require_both_classes,
    shots_text,
)
from adbench.board.variants import flat
from adbench.records.standing import caveat
from adbench.statistics.figures import Figure
from adbench.system.session import Session
from adbench.system.text import counted

# Fields of record.json that have a place on the page; all others are listed under "Other fields".
SHOWN_ELSEWHERE = {
    "schema", "key", "status", "data", "overlap", "given", "resolved", "facts", "dataset", "support", "seen",
    "protocol", "backbone", "capability", "notes", "metrics", "half_widths", "histogram", "image_histograms",
    "lesions", "held_out", "test_images", "parameters", "selection", "gflops_per_image", "images_per_second", "seconds",
    "peak_memory", "code", "packages", "device", "finished",
}  # fmt: skip
CUT = 0.001  # share of the pixels of a class that may lie beyond the ends of the score axis


def page(
    entry: SiteRecord, others: Sequence[SiteRecord], session: Session, alone: pd.DataFrame | None = None
) -> tuple[dict[str, Any], list[Picture]]:
    """Return the template's variables and the pictures of the page.

    `others` are the records that are averaged with this one, itself included. `alone`: the intervals of its figures,
    columns metric, low, high and note; None where none were computed.
    """
    content, line = entry.content, entry.line
    table = predictions(entry.record)
    require_both_classes(entry.record, table["label"])
    shown = gallery(entry.record, table)
    variables = {
        "title": f"{content['facts']['method']} on {line['dataset']}",
        "data": content["data"],
        "caveat": caveat(line["standing"]),
        "summary": list(_summary(entry)),
        "dataset": (line["dataset"], f"../datasets/{dataset_page(line)}.html"),
        "key": entry.record.key,
        "figures": list(_figures(entry, alone)),
        "intervals": alone is not None,
        "remarks": [] if alone is None else _remarks(alone),
        "counts": {"abnormal": int((table["label"] == 1).sum()), "normal": int((table["label"] == 0).sum())},
        "point": _operating_point(entry, table),
        "charts": list(_charts(entry, table)),
        "gallery": _gallery(entry, table, shown),
        "again": again(content, session),
        "given": shlex.join(["adbench", "run", *content["given"]]),
        "notes": content["notes"],
        "others": [(other.which, f"{other.name}.html") for other in others if other is not entry],
        "support": content["support"] | {"title": _support(content["support"])},
        "provenance": list(_provenance(content)),
    }
    return variables, shown


def _support(support: dict[str, Any]) -> str:
    """Write where a support comes from and how many shots it has.

    >>> _support({"source": "draw:0", "shots": 1}), _support({"source": "list:16-shot.txt", "shots": 16})
    ('Draw 0, 1 shot', 'List 16-shot.txt, 16 shots')
    """
    text = f"{str(support['source']).replace(':', ' ', 1)}, {shots_text(support['shots'])}"
    return text[:1].upper() + text[1:]


def _summary(entry: SiteRecord) -> Iterator[tuple[str, str]]:
    line = entry.line
    yield "data", line["data"]
    if unlike := unlike_published(entry.record):
        yield "content", unlike
    yield "protocol", line["protocol"]
    if line["train_on"]:
        yield "trained on", line["train_on"]
    if entry.draw:
        yield "shots", line["shots"]
        yield ("draw" if entry.draw.isdecimal() else "support"), entry.draw
    yield "seed", entry.seed
    yield "backbone", line["backbone"]
    yield "schedule", line["schedule"]
    yield "selection", line["selection"]
    if line["variant"]:
        yield "variant", line["variant"]


def _figures(entry: SiteRecord, alone: pd.DataFrame | None) -> Iterator[tuple[str, str, str, str]]:
    """Yield (name, per cent, interval, computation error) of the figures, and of an oracle's last epoch and leak."""
    between = {}
    if alone is not None:
        between = {name: f"{low:.2f} to {high:.2f}" for name, low, high in _known(alone)}
    metrics = {name: 100 * value for name, value in entry.record.metrics.items() if value is not None}
    for name, value in (metrics | figures(entry.record)).items():
        half = entry.content["half_widths"].get(name)
        width = "" if name not in metrics else half_width(half) if half else "none"
        yield metric_title(name), f"{value:.2f}", between.get(name, "–"), width


def _known(alone: pd.DataFrame) -> Iterator[tuple[str, float, float]]:
    yield from alone.loc[alone["low"].notna(), ["metric", "low", "high"]].itertuples(index=False, name=None)


def _remarks(alone: pd.DataFrame) -> list[str]:
    """Say why figures have no interval, each reason once with its figures."""
    reasons: dict[str, list[str]] = {}
    for metric, note in alone.loc[alone["note"] != "", ["metric", "note"]].itertuples(index=False, name=None):
        reasons.setdefault(note, []).append(metric_title(metric))
    return [f"No interval of {', '.join(names)}: {note}" for note, names in reasons.items()]


def _operating_point(entry: SiteRecord, table: pd.DataFrame) -> dict[str, Any]:
    """Return the image threshold and what it reaches, in words and as (figure, per cent, interval); or why not."""
    held, point, notes = image_point(entry.record, table)
    threshold, counts = point.threshold, point.confusion
    if threshold.value is None or counts is None:
        return {"why": threshold.why}
    reached = {"sensitivity": point.sensitivity, "specificity reached": point.specificity}
    abnormal = counts.true_positive + counts.false_negative
    normal = counts.false_positive + counts.true_negative
    return {
        "why": "",
        "threshold": f"{threshold.value:.6g}",
        "fixed": f"{counted(threshold.images, 'normal image')} of {held.split}",
        "lines": [(name, _per_cent(one.value), _between(one)) for name, one in reached.items()],
        "remarks": [*(f"{name}: {one.why}" for name, one in reached.items() if one.why), *notes],
        "counts": f"{counts.true_positive} of {counted(abnormal, 'abnormal image')} called abnormal, and "
        f"{counts.false_positive} of {counted(normal, 'normal image')}",
    }


def _between(one: Figure) -> str:
    return "–" if one.low is None or one.high is None else f"{100 * one.low:.2f} to {100 * one.high:.2f}"


def half_width(half: float) -> str:
    """Write a half-width, a fraction of 1, in per cent.

    >>> half_width(0.11976), half_width(1e-7)
    ('± 11.98', '< 0.01')
    """
    return f"± {most}" if (most := at_most(half)) else "< 0.01"


def _charts(entry: SiteRecord, table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    metrics = entry.record.metrics
    yield _chart_set("image", "images", curves.of_images(table["score"], table["label"]), metrics, 0.0)
    arrays = histogram(entry.record)
    if arrays is not None:
        yield _chart_set("pixel", "pixels", curves.of_pixels(arrays), metrics, CUT)


def _chart_set(
    name: str, unit: str, counts: curves.Counts, metrics: dict[str, float | None], cut: float
) -> dict[str, Any]:
    """Draw the ROC curve, the precision-recall curve and the score distribution."""
    positives, negatives = float(counts.positive.sum()), float(counts.negative.sum())
    x, y = curves.roc(counts)
    hits = ", ".join(f"{100 * curves.at(x, y, at):.0f} % at {at:g}" for at in (0.05, 0.1, 0.2))
    auroc, ap = (_per_cent(metrics.get(f"{name}_{metric}")) for metric in ("auroc", "ap"))
    roc = charts.curve(
        f"{name}-roc", f"ROC curve of {unit}", f"AUROC {auroc}. True positive rate by false positive rate: {hits}.",
        *curves.thin(x, y), ("false positive rate", "true positive rate"), "diagonal",
    )  # fmt: skip
    base = positives / (positives + negatives)
    recall, precision = curves.precision_recall(counts)
    description = f"Average precision {ap}; chance level {100 * base:.3g} %, the dotted line."
    pr = charts.curve(
        f"{name}-pr", f"Precision-recall curve of {unit}", description, *curves.thin(recall, precision),
        ("recall", "precision"), repr(base), steps=True,
    )  # fmt: skip
    edges, normal, abnormal = curves.distribution(counts, cut=cut)
    middle = [curves.quantile(counts, column, 0.5) for column in (counts.negative, counts.positive)]
    low, high = charts.apart(middle)
    description = f"Median score {low} of the normal {unit}, {high} of the abnormal ones."
    spread = charts.distribution(
        f"{name}-scores", f"Scores of normal and abnormal {unit}", description, edges, normal, abnormal, unit
    )
    beyond = f" Each outermost bin includes up to {100 * cut:g} % of a class from beyond the axis." if cut else ""
    return {
        "title": unit.capitalize(),
        "about": f"{positives:,.0f} abnormal, {negatives:,.0f} normal",
        "charts": [
            ("ROC", f"AUROC {auroc}", roc, False),
            ("Precision-recall", f"AP {ap}; chance level {100 * base:.3g} %", pr, False),
            ("Scores", f"median {low} normal, {high} abnormal.{beyond}", spread, True),
        ],
    }


def _per_cent(value: float | None) -> str:
    return "missing" if value is None else f"{100 * value:.2f} %"


def _gallery(entry: SiteRecord, table: pd.DataFrame, shown: Sequence[Picture]) -> list[dict[str, Any]]:
    ranks = table["score"].rank(ascending=False, method="min").astype(int)
    groups: dict[str, dict[str, Any]] = {}
    for picture in shown:
        row = table.iloc[picture.row]
        image = str(row["image"])
        start = {"title": GALLERY_TITLES[picture.kind], "panels": len(picture.panels), "pictures": []}
        group = groups.setdefault(picture.kind, start)
        group["pictures"].append({
            "src": f"../pictures/{entry.name}/{picture.file.name}",
            "alt": f"{', '.join(picture.panels)} of {image}",
            "image": image,
            "caption": f"score {row['score']:.4g}, rank {ranks.iloc[picture.row]} of {len(table)}",
        })  # fmt: skip
    return list(groups.values())


def _provenance(content: dict[str, Any]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield (heading, lines of key and text): all fields of record.json that have no other place on the page."""
    code = content["code"]
    state = {True: "modified", False: "clean", None: "unknown"}[code["dirty"]]
    made: dict[str, Any] = {"finished": content["finished"], "adbench": code["version"], "commit": code["commit"]}
    made |= {"checkout": state, **content["packages"]}
    yield "Code and packages", list(flat(made))
    machine = {
        "device": content["device"],
        "seconds": content["seconds"],
        "peak memory": {name: f"{value / 1e9:.2f} GB" for name, value in content["peak_memory"].items()},
        "images per second": _rounded(content["images_per_second"]),
        "GFLOP per image": _rounded(content["gflops_per_image"]),
    }
    yield "Machine, time and memory", list(flat(machine))
    yield "Key (facts that determine the result)", list(flat(content["facts"]))
    yield "Resolved configuration", list(flat(content["resolved"]))
    yield "Backbone as built", list(flat(content["backbone"] | {"parameters": content["parameters"]}))
    yield "Dataset", list(flat(content["dataset"] | {"test_images": content["test_images"]}))
    chosen = {"selection": content.get("selection") or {}, "seen": content.get("seen") or []}
    yield "Training and selection", list(flat(chosen | {"overlap": content["overlap"]}))
    yield "Capability of the method", list(flat(content["capability"]))
    if rest := {key: value for key, value in content.items() if key not in SHOWN_ELSEWHERE and value}:
        yield "Other fields", list(flat(rest))


def _rounded(value: float | None) -> str:
    return "missing" if value is None else f"{value:.4g}"
