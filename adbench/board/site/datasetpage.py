"""The page of a dataset: ranking, effect of the number of shots, and methods compared on the same test images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from adbench.board.sections import sections
from adbench.board.site.records import Picture, SiteRecord, gallery, predictions, shots_text
from adbench.board.site.shots import LINE_KEYS, WHISKERS, Key, LineStyle, chart, has_intervals, legend
from adbench.board.site.tables import ColumnHead, SiteTable, TableCell, TableRow, matrix, owners
from adbench.data.counts import differences
from adbench.records.standing import caveat
from adbench.system.text import inert, printable

MOST_METHODS = 8
MOST_IMAGES = 200
MOST_PICTURES = 16
SPECIFICITY = 0.95  # an abnormal image with a lower share is missed, a normal one with at least it a false alarm
PLOTTED = ("image_auroc", "pixel_auroc", "pixel_aupro")


def page(
    entries: Sequence[SiteRecord], long: pd.DataFrame, styles: dict[Key, LineStyle], figures: Sequence[str]
) -> dict[str, Any]:
    """Return the template's variables, and as `csv` the share of every test image.

    `entries` are all records of one dataset and one kind of data, `long` their rows on the leaderboard, with published
    ones where wanted.
    """
    first = entries[0]
    members = owners(entries)
    clean = long[(long["standing"] == "clean") & (long["data"] == first.line["data"])]
    drawn = [chart(clean, first.line["dataset"], metric, styles) for metric in PLOTTED]
    plots = [plot for plot in drawn if plot is not None]
    return {
        "title": first.line["dataset"],
        "data": first.content["data"],
        "facts": _facts(first),
        "tables": [
            {
                "title": "Published figures" if section.data == "published" else f"Ranking{section.caveat}",
                "caveat": caveat(section.standing),
                "table": matrix(section, members, "../", links=section.data != "published"),
            }
            for section in sections(long, figures)
        ],
        "plots": plots,
        "whiskers": WHISKERS[has_intervals(long)],
        "legend": legend(plots),
        "papers": any(plot["papers"] for plot in plots),
        **_comparison(representatives(entries), styles),
    }


def representatives(entries: Sequence[SiteRecord]) -> list[SiteRecord]:
    """Return one clean record per method: that with the most shots, then the lowest draw and seed.

    Test figures play no part in the choice. Records that differ in another setting than shots (variant, backbone,
    protocol, ...) count as different methods.
    """
    chosen: dict[tuple[str, ...], SiteRecord] = {}
    for entry in sorted(entries, key=lambda entry: entry.order):
        if entry.line["standing"] != "clean":
            continue
        key = tuple(str(entry.line[name]) for name in LINE_KEYS)
        if key not in chosen or _shots(entry) > _shots(chosen[key]):
            chosen[key] = entry
    return [chosen[key] for key in sorted(chosen)]


def _shots(entry: SiteRecord) -> float:
    shots = entry.line["shots"]
    return float(shots) if shots.isdecimal() else float("inf")


def _facts(entry: SiteRecord) -> list[tuple[str, str]]:
    about = entry.content["dataset"]
    lines = [(key, str(about[key])) for key in ("title", "modality", "organ", "source", "licence") if about.get(key)]
    if about.get("published") is False:
        lines.append(("published set", f"no: {differences(about.get('expected') or {}, about.get('counts') or {})}"))
    lines += [("test images", str(entry.content["test_images"]))]
    return [*lines, ("masks", "yes" if about["masks"] else "no"), ("content", str(about["fingerprint"])[:20])]


def _comparison(chosen: Sequence[SiteRecord], styles: dict[Key, LineStyle]) -> dict[str, Any]:
    """Compare records image by image; empty where there is only one."""
    if len(chosen) < 2:
        return {"compared": [], "left_out": 0, "images": None, "csv": None, "pictures": []}
    left_out = max(len(chosen) - MOST_METHODS, 0)
    names = {entry.name: styles[tuple(str(entry.line[key]) for key in LINE_KEYS)].name for entry in chosen}
    tables = {entry.name: predictions(entry.record) for entry in chosen}
    shares = pd.DataFrame({name: table.set_index("image")["share"] for name, table in tables.items()})
    labels = pd.concat([table.set_index("image")["label"] for table in tables.values()])
    labels = labels[~labels.index.duplicated()].reindex(shares.index)
    kept = list(chosen)[:MOST_METHODS]
    return {
        "compared": [
            {"name": names[entry.name], "which": _which_support(entry), "href": f"../cells/{entry.name}.html"}
            for entry in kept
        ],
        "left_out": left_out,
        "images": _images(kept, names, shares, labels),
        "many": max(len(shares) - MOST_IMAGES, 0),
        "csv": _csv(shares.rename(columns=names), labels),
        "pictures": _pictures(kept, tables, shares, labels),
    }


def _which_support(entry: SiteRecord) -> str:
    return f"{shots_text(entry.line['shots'])}, {entry.which}" if entry.draw else entry.which


def _csv(shares: pd.DataFrame, labels: pd.Series[int]) -> str:
    table = pd.concat([labels.rename("label"), shares], axis=1).sort_index().rename_axis("image").reset_index()
    table = table.assign(image=table["image"].map(lambda name: inert(printable(name)))).rename(columns=inert)
    return str(table.to_csv(index=False, float_format="%.4f", lineterminator="\n"))


def _images(
    kept: Sequence[SiteRecord], names: dict[str, str], shares: pd.DataFrame, labels: pd.Series[int]
) -> SiteTable:  # fmt: skip
    """Lay out the test images, those on which the methods differ most first."""
    shown = shares[[entry.name for entry in kept]]
    spread = (shown.max(axis=1) - shown.min(axis=1)).rename("spread").rename_axis("image").reset_index()
    order = spread.sort_values(["spread", "image"], ascending=[False, True]).head(MOST_IMAGES)
    heads = [
        ColumnHead("test image"),
        ColumnHead("label"),
        *(ColumnHead(names[entry.name], _which_support(entry), True) for entry in kept),
    ]
    heads.append(ColumnHead("spread", "", True))
    rows = []
    for image, width in zip(order["image"], order["spread"], strict=True):
        label = int(labels[image])
        cells = [TableCell(str(image)), TableCell("abnormal" if label else "normal")]
        cells += [_share(float(value), label) for value in shown.loc[image]]
        rows.append(TableRow([*cells, TableCell(f"{100 * width:.0f}", value=f"{width:.4f}")], {}))
    return SiteTable("Percentage of normal test images with a lower score.", heads, rows)


def _share(value: float, label: int) -> TableCell:
    if value != value:
        return TableCell("missing", value="")
    wrong = "" if (value >= SPECIFICITY) == bool(label) else ("missed" if label else "alarm")
    return TableCell(f"{100 * value:.0f}", value=f"{value:.4f}", mark=wrong)


def _pictures(
    kept: Sequence[SiteRecord], tables: dict[str, pd.DataFrame], shares: pd.DataFrame, labels: pd.Series[int]
) -> list[dict[str, Any]]:
    """Return the images shown in several galleries: image and outline once, then each method's map and share."""
    galleries: dict[str, dict[str, Picture]] = {}
    for entry in kept:
        images = tables[entry.name]["image"]
        for picture in gallery(entry.record, tables[entry.name]):
            galleries.setdefault(str(images.iloc[picture.row]), {}).setdefault(entry.name, picture)
    several = [image for image, pictures in galleries.items() if len(pictures) > 1]
    shown = []
    for image in sorted(several, key=lambda name: (-len(galleries[name]), -int(labels[name]), name))[:MOST_PICTURES]:
        pictures, label = galleries[image], int(labels[image])
        name, first = next(iter(pictures.items()))
        maps = []
        for entry in kept:
            strip = pictures.get(entry.name)
            panel = _panel(entry.name, strip, "map", image) if strip and "map" in strip.panels else None
            maps.append({"panel": panel, "share": _share(float(shares[entry.name][image]), label)})
        shown.append({
            "image": image,
            "label": "abnormal" if label else "normal",
            "common": [_panel(name, first, panel, image) for panel in first.panels if panel != "map"],
            "maps": maps,
        })  # fmt: skip
    return shown


def _panel(name: str, picture: Picture, panel: str, image: str) -> dict[str, Any]:
    """Return the file of a picture, and the place of one of its panels in it."""
    place, count = picture.panels.index(panel), len(picture.panels)
    src = f"../pictures/{name}/{picture.file.name}"
    return {"src": src, "of": count, "at": place, "panel": panel, "alt": f"{panel} of {image}"}
