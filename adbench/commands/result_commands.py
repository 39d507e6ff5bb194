"""Commands that read records: leaderboard, compare, verify, bundle, report, show, plot features."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adbench.commands.app import RESULTS, ListedWords, app, plot_app
from adbench.commands.usage import Command
from adbench.errors import AdbenchError


def _check_layout(markdown: bool, latex: bool) -> None:
    if markdown and latex:
        raise AdbenchError("--markdown and --latex exclude each other. Keep one.")


@app.command(cls=Command, rich_help_panel=RESULTS)
def leaderboard(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FOLDER]...", help="Folders of records, and bundles (default: runs)."),
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the aggregated figures as CSV.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown instead of a terminal table.")] = False,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the aggregated figures as JSON.")] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Add the papers' figures; [+1.20] is ours minus theirs.")
    ] = False,
    costs: Annotated[bool, typer.Option("--costs", help="Add times, memory and FLOPs of this machine.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print LaTeX (booktabs) instead of a terminal table.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="DIR", help="Write a site that opens from disk.")] = None,
    method: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Only these methods: a,b, groups, wildcards in quotes.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(metavar="NAMES", help="Only these datasets.")] = None,
    protocol: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Only these protocols, as in full_normal,zero_shot.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Only these metrics, as in image_auroc,pixel_aupro_05.")
    ] = None,
    intervals: Annotated[
        bool | None,
        typer.Option(
            "--intervals/--no-intervals",
            help="95 % intervals, ranks and bold (default: for at most 200 records).",
        ),
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the score of every test image as CSV.")
    ] = None,
) -> None:
    """Aggregate records over draws, seeds, splits and folds: per cent, mean [95 % interval] (n), ranks."""
    from adbench.bundles.read import opened
    from adbench.commands.leaderboard import show_leaderboard

    _check_layout(markdown, latex)
    with opened(runs or [Path("runs")]) as bundles:
        show_leaderboard(
            bundles.folders, csv=csv, markdown=markdown, json=json, published=published, costs=costs, latex=latex,
            html=html, method=method, dataset=dataset, protocol=protocol, metric=metric, intervals=intervals,
            predictions=predictions, problems=bundles.problems,
        )  # fmt: skip


@app.command(cls=Command, rich_help_panel=RESULTS)
def compare(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FOLDER]...", help="Folders of records, and bundles (default: runs)."),
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="NAME", help="Compare this method with each other one, instead of all pairs.")
    ] = None,
    metric: Annotated[
        str, typer.Option(metavar="NAMES", help="Metrics, as in image_auroc,pixel_auroc.")
    ] = "image_auroc",
    method: Annotated[str | None, typer.Option(metavar="NAMES", help="Only these methods.")] = None,
    dataset: Annotated[str | None, typer.Option(metavar="NAMES", help="Only these datasets.")] = None,
    protocol: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Only these protocols, as in full_normal,zero_shot.")
    ] = None,
    shots: Annotated[str | None, typer.Option(metavar="K", help="Only this number of shots, and zero-shot.")] = None,
    margin: Annotated[float, typer.Option(metavar="POINTS", help="Differences within it are equivalent.")] = 1.0,
    level: Annotated[float, typer.Option(metavar="SHARE", help="Level of the intervals.")] = 0.95,
    power: Annotated[
        float | None, typer.Option(metavar="POINTS", help="Add the draws and patients that show such a difference.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the comparisons as CSV.")] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the comparisons as JSON.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown instead of a terminal table.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print LaTeX (booktabs) instead of a terminal table.")] = False,
) -> None:
    """Say by how much methods differ: difference, interval for new patients and new draws, verdict."""
    from adbench.bundles.read import opened
    from adbench.commands.compare import show_comparisons

    _check_layout(markdown, latex)
    with opened(runs or [Path("runs")]) as bundles:
        show_comparisons(
            bundles.folders, metrics=metric, against=against, method=method, dataset=dataset, protocol=protocol,
            shots=shots, margin=margin, level=level, power=power, csv=csv, json=json, markdown=markdown, latex=latex,
            problems=bundles.problems,
        )  # fmt: skip


@app.command(cls=Command, rich_help_panel=RESULTS)
def verify(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FOLDER or BUNDLE]... [KEY=VALUE]...",
            help="Folders of records and bundles of `adbench bundle` (default: runs), and keys.",
        ),
    ] = None,
    rescore: Annotated[
        str | None,
        typer.Option(metavar="N|all", help="Score so many test images again with the saved parameters of each record."),
    ] = None,
    retrain: Annotated[bool, typer.Option("--retrain", help="Run each cell from nothing, training included.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the JSON into a file as well.")] = None,
) -> None:
    """Check records that somebody else made: files, figures, facts, leaks, missing draws. Exit code 1: a finding.

    With data_root=DIR also content, support, labels and overlap. Keys: data_root=DIR, method=FILE.py:Class (of records
    whose method is not a registered one), device=, precision=, cache=, backbone.weights=FILE.safetensors,
    backbone.text=FOLDER
    """
    from adbench.commands.verify import verify_words

    if not verify_words(words or [], rescore, retrain, json, out):
        raise typer.Exit(1)


@app.command(cls=Command, rich_help_panel=RESULTS)
def bundle(
    out: Annotated[Path, typer.Option(metavar="FILE", help="The archive, as in board.zip; required.")],
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="[FOLDER]...", help="Folders of records (default: runs).")
    ] = None,
    anonymise: Annotated[
        bool, typer.Option("--anonymise", help="Replace the names of images and patients by keyed hashes.")
    ] = False,
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Add the pictures, which show images of the data sets.")
    ] = False,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The secret of --anonymise (default: bundle.key in the cache).")
    ] = None,
    method: Annotated[str | None, typer.Option(metavar="NAMES", help="Only these methods.")] = None,
    dataset: Annotated[str | None, typer.Option(metavar="NAMES", help="Only these datasets.")] = None,
) -> None:
    """Put records into one archive for others: with commands, licences and checksums, without paths and images."""
    from adbench.commands.bundle import write_bundle

    write_bundle(
        runs or [Path("runs")], out, anonymise=anonymise, pictures=pictures, key=key, method=method, dataset=dataset
    )


@app.command(cls=Command, rich_help_panel=RESULTS)
def report(
    records: Annotated[
        list[Path], typer.Argument(metavar="RECORD...", help="Records of one method on one dataset, or their folder.")
    ],
    html: Annotated[Path, typer.Option(metavar="DIR", help="Where the pages are written; required.")],
    method: Annotated[str | None, typer.Option(metavar="NAME", help="Only this method.")] = None,
    dataset: Annotated[str | None, typer.Option(metavar="NAME", help="Only this dataset.")] = None,
    shots: Annotated[str | None, typer.Option(metavar="K", help="Only this number of shots.")] = None,
    specificity: Annotated[
        float, typer.Option(metavar="SHARE", help="Of the operating point, on held-out images.")
    ] = 0.95,
    prevalence: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Of abnormal images in practice: adds PPV and NPV.")
    ] = None,
    level: Annotated[float, typer.Option(metavar="SHARE", help="Level of the intervals.")] = 0.95,
) -> None:
    """Write the page for a committee: what was tested on whom, figures with intervals, thresholds, failures."""
    from adbench.commands.report import report as write

    write(records, html, method, dataset, shots, specificity, prevalence, level)


@app.command(name="show", cls=Command, rich_help_panel=RESULTS)
def show_record(
    record: Annotated[Path, typer.Argument(metavar="RECORD", help="A record's folder, as in runs/<cell key>.")],
    specificity: Annotated[
        float, typer.Option(metavar="SHARE", help="Of held-out normal images below the threshold.")
    ] = 0.95,
    prevalence: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Of abnormal images, for PPV and NPV.")
    ] = None,
) -> None:
    """Show a record: its figures, and the operating point that its held-out images fix."""
    from adbench.commands.record import show

    show(record, specificity, prevalence)


@plot_app.command("features", cls=Command, rich_help_panel=RESULTS)
def plot_features(
    record: Annotated[Path, typer.Argument(metavar="RECORD", help="A record's folder, as in runs/<cell key>.")],
    words: ListedWords = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The picture, a PNG (default: features.png in the record).")
    ] = None,
) -> None:
    """Draw t-SNE of the test images' features, frozen and as the method adapts them, normal against abnormal.

    Keys: data_root=DIR, method=FILE.py:Class (of a record whose method is not a registered one), device=, precision=,
    cache=, backbone.weights=FILE.safetensors, backbone.text=FOLDER
    """
    from adbench.commands.plot_features import plot_features

    file, clean = plot_features(record, words or [], out)
    for name, share in clean.items():
        typer.echo(f"{name:<8} {100 * share:.1f} % of the nearest neighbours are of the same class")
    typer.echo(f"drawn: {file}")
