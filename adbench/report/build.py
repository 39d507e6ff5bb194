"""Writing the report: one page for each record, each one file without any other, and a summary of several draws."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup

from adbench.board.samples import Row, Samples, rows_of
from adbench.board.site.build import check, filler, listing
from adbench.board.site.records import SiteRecord, site_records
from adbench.errors import AdbenchError
from adbench.records.record import SITE, Record
from adbench.report import page as pages
from adbench.report.page import Options, title_of
from adbench.report.summary import summary
from adbench.statistics.thresholds import check_share
from adbench.system.files import replacing, write_text
from adbench.system.progress import counting
from adbench.system.session import Session

MARK = "`adbench report --html` wrote this folder, and replaces it as a whole the next time. Its files:"
INSTEAD = "folder with --html DIR"


def check_folder(folder: Path) -> None:
    """Raise AdbenchError where a report may not replace `folder`, see `site.build.check`."""
    check(folder, MARK)


def row_of(records: Sequence[Record]) -> Row:
    """Return the one row of a leaderboard that all records belong to.

    Raises AdbenchError where they are of several methods, datasets, settings or folds: a report is about one.
    """
    rows = rows_of(records)
    if len(rows) > 1:
        names = "; ".join(f"{row.name} on {row.dataset}" for row in rows[:6]) + ("; …" if len(rows) > 6 else "")
        raise AdbenchError(
            f"a report covers one method on one dataset; these records cover {len(rows)} ({names}). Choose with "
            "--method, --dataset, --shots. To compare methods: adbench compare."
        )
    if len(rows[0].folds) > 1:
        numbers = ", ".join(map(str, rows[0].folds))
        raise AdbenchError(
            f"a report is about one set of test images, and these records are of the folds {numbers}, which test other "
            "images each. Name the records of one fold."
        )
    return rows[0]


def write(records: Sequence[Record], folder: Path, options: Options | None = None) -> Path:
    """Write the report of the records of one row, and return its first page.

    Of one record `index.html` is its page; of several draws it is their summary, with a page for each.

    Args:
        records: draws of one row.
        folder: one that is new, empty or a report, which is replaced when the new one is complete.
        options: specificity, prevalence and level.

    Raises:
        AdbenchError: records of several rows, a share that is not between 0 and 1, or another folder.
        RecordError: a record's files can't be read.

    """
    options = options or Options()
    for name, value in options._asdict().items():
        if value is not None:
            check_share(name, value)
    row = row_of(records)
    check_folder(folder)
    entries = sorted(
        site_records([record for drawn in row.folds.values() for record in drawn.values()]),
        key=lambda entry: entry.order,
    )
    fill, samples, session = filler("adbench.report"), Samples(), Session()
    style = files("adbench.board.site.templates").joinpath("style.css").read_text(encoding="utf-8")
    style += files("adbench.report.templates").joinpath("report.css").read_text(encoding="utf-8")
    common = {"style": Markup(style)}  # of this package
    single = len(entries) == 1
    with replacing(folder.resolve(), INSTEAD) as new, counting("writing the report", len(entries) + 1) as count:
        for done, entry in enumerate(entries, 1):
            content = pages.page(entry, options, samples, session) | common | {"summary": not single}
            write_text(new / ("index.html" if single else _file(entry)), fill("report.html", content, ""))
            count(done)
        if not single:
            content = common | {
                "title": f"{title_of(entries[0])}, {len(entries)} draws", "options": options,
                "rows": summary(entries, samples, options.level), "sections": pages.SECTIONS,
                "pages": [(entry.which, _file(entry)) for entry in entries],
                "warnings": list(dict.fromkeys(
                    text for entry in entries for text in pages.warnings(entry, samples.images(entry.record))
                )),
                "patients": len(set(samples.images(entries[0].record).groups.tolist())),
                "images": len(samples.images(entries[0].record).groups),
            }  # fmt: skip
            write_text(new / "index.html", fill("summary.html", content, ""))
        write_text(new / SITE, listing(new, MARK))
        check_folder(folder)
    return folder / "index.html"


def _file(entry: SiteRecord) -> str:
    return f"{entry.name}.html"
