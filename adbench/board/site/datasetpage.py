"""The page of a dataset: its ranking, what shots bring, and the methods on the same test images side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from adbench.board.leaderboard import meaning
from adbench.board.render import sections
from adbench.board.site.entries import Entry, Picture, gallery, predictions
from adbench.board.site.shots import KEYS, Key, Look, chart, legend
from adbench.board.site.tables import Cell, Head, Row, Table, matrix, owners

MOST_METHODS = 8
MOST_IMAGES = 200
MOST_PICTURES = 16
WRONG = 0.95  # abnormal images below this share of the normal ones are missed, normal ones above it false alarms
PLOTTED = ("image_auroc", "pixel_auroc", "pixel_aupro")


def page(entries: Sequence[Entry], long: pd.DataFrame, look: dict[Key, Look], figures: Sequence[str]) -> dict[str, Any]:
    """Return what the template needs, with `csv`, every share of every test image.

    `entries` are all of one dataset and one kind of data, `long` the leaderboard's rows of both, with the papers' rows
    where those are to stand beside them.
    """
    first = entries[0]
    own = owners(entries)
    clean = long[(long["standing"] == "clean") & (long["data"] == first.line["data"])]
    drawn = [chart(clean, first.line["dataset"], metric, look) for metric in PLOTTED]
    plots = [one for one in drawn if one is not None]
    return {
        "title": first.line["dataset"],
        "data": first.content["data"],
        "facts": _facts(first),
        "tables": [
            {
                "title": "Published figures" if section.data == "published" else f"Ranking{section.mark}",
                "marked": meaning(section.standing),
                "table": matrix(section, own, "../", links=section.data != "published"),
            }
            for section in sections(long, figures)
        ],
        "plots": plots,
        "legend": legend(plots),
        "papers": any(one["papers"] for one in plots),
        **_side_by_side(representatives(entries), look),
    }


def representatives(entries: Sequence[Entry]) -> list[Entry]:
    """Return one clean cell per method: the most shots, then the lowest draw and seed; test figures have no say.

    Settings other than shots that differ (variant, backbone, protocol, ...) count as methods of their own.
    """
    chosen: dict[tuple[str, ...], Entry] = {}
    for entry in sorted(entries, key=lambda one: one.order):
        if entry.line["standing"] != "clean":
            continue
        key = tuple(str(entry.line[name]) for name in KEYS)
        if key not in chosen or _shots(entry) > _shots(chosen[key]):
            chosen[key] = entry
    return [chosen[key] for key in sorted(chosen)]


def _shots(entry: Entry) -> float:
    shots = entry.line["shots"]
    return float(shots) if shots.isdecimal() else float("inf")


def _facts(entry: Entry) -> list[tuple[str, str]]:
    about = entry.content["dataset"]
    told = [(key, str(about[key])) for key in ("title", "modality", "organ", "source", "licence") if about.get(key)]
    told += [("test images", str(entry.content["test_images"]))]
    return [*told, ("masks", "yes" if about["masks"] else "no"), ("content", str(about["fingerprint"])[:20])]


def _side_by_side(chosen: Sequence[Entry], look: dict[Key, Look]) -> dict[str, Any]:
    """Compare cells image by image; nothing where there is but one."""
    if len(chosen) < 2:
        return {"compared": [], "left_out": 0, "images": None, "csv": None, "pictures": []}
    left_out = max(len(chosen) - MOST_METHODS, 0)
    names = {entry.name: look[tuple(str(entry.line[key]) for key in KEYS)].name for entry in chosen}
    tables = {entry.name: predictions(entry.record) for entry in chosen}
    shares = pd.DataFrame({name: table.set_index("image")["share"] for name, table in tables.items()})
    labels = pd.concat([table.set_index("image")["label"] for table in tables.values()])
    labels = labels[~labels.index.duplicated()].reindex(shares.index)
    kept = list(chosen)[:MOST_METHODS]
    return {
        "compared": [
            {"name": names[entry.name], "which": _which(entry), "href": f"../cells/{entry.name}.html"} for entry in kept
        ],
        "left_out": left_out,
        "images": _images(kept, names, shares, labels),
        "many": max(len(shares) - MOST_IMAGES, 0),
        "csv": _csv(shares.rename(columns=names), labels),
        "pictures": _pictures(kept, tables, shares, labels),
    }


def _which(entry: Entry) -> str:
    return f"{entry.line['shots']} shots, {entry.which}" if entry.draw else entry.which


def _csv(shares: pd.DataFrame, labels: pd.Series[int]) -> str:
    whole = pd.concat([labels.rename("label"), shares], axis=1).sort_index().rename_axis("image").reset_index()
    return str(whole.to_csv(index=False, float_format="%.4f", lineterminator="\n"))


def _images(
    kept: Sequence[Entry], names: dict[str, str], shares: pd.DataFrame, labels: pd.Series[int]
) -> Table:  # fmt: skip
    """Lay out the test images, those first on which the methods differ most."""
    own = shares[[entry.name for entry in kept]]
    spread = (own.max(axis=1) - own.min(axis=1)).rename("spread").rename_axis("image").reset_index()
    order = spread.sort_values(["spread", "image"], ascending=[False, True]).head(MOST_IMAGES)
    heads = [Head("test image"), Head("label"), *(Head(names[entry.name], _which(entry), True) for entry in kept)]
    heads.append(Head("spread", "", True))
    rows = []
    for image, width in zip(order["image"], order["spread"], strict=True):
        label = int(labels[image])
        cells = [Cell(str(image)), Cell("abnormal" if label else "normal")]
        cells += [_share(float(value), label) for value in own.loc[image]]
        rows.append(Row([*cells, Cell(f"{100 * width:.0f}", value=f"{width:.4f}")], {}))
    return Table("Share of the normal test images that score lower, in per cent.", heads, rows)


def _share(value: float, label: int) -> Cell:
    if value != value:
        return Cell("missing", value="")
    wrong = "" if (value >= WRONG) == bool(label) else ("missed" if label else "alarm")
    return Cell(f"{100 * value:.0f}", value=f"{value:.4f}", mark=wrong)


def _pictures(
    kept: Sequence[Entry], tables: dict[str, pd.DataFrame], shares: pd.DataFrame, labels: pd.Series[int]
) -> list[dict[str, Any]]:
    """Return the images that stand in several galleries: image and outline once, then each method's map and share."""
    found: dict[str, dict[str, Picture]] = {}
    for entry in kept:
        images = tables[entry.name]["image"]
        for picture in gallery(entry.record, tables[entry.name]):
            found.setdefault(str(images.iloc[picture.row]), {}).setdefault(entry.name, picture)
    several = [image for image, own in found.items() if len(own) > 1]
    shown = []
    for image in sorted(several, key=lambda name: (-len(found[name]), -int(labels[name]), name))[:MOST_PICTURES]:
        own, label = found[image], int(labels[image])
        name, first = next(iter(own.items()))
        maps = []
        for entry in kept:
            there = own.get(entry.name)
            panel = _panel(entry.name, there, "map", image) if there and "map" in there.panels else None
            maps.append({"panel": panel, "share": _share(float(shares[entry.name][image]), label)})
        shown.append({
            "image": image,
            "label": "abnormal" if label else "normal",
            "common": [_panel(name, first, panel, image) for panel in first.panels if panel != "map"],
            "maps": maps,
        })  # fmt: skip
    return shown


def _panel(name: str, picture: Picture, panel: str, image: str) -> dict[str, Any]:
    """Say which part of which strip shows a panel."""
    place, count = picture.panels.index(panel), len(picture.panels)
    src = f"../pictures/{name}/{picture.file.name}"
    return {"src": src, "of": count, "at": place, "panel": panel, "alt": f"{panel} of {image}"}
