"""Commands that run cells: run, plan, reproduce, score, serve."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from adbench.commands.app import RUNS, ListedWords, Words, app
from adbench.commands.usage import Command
from adbench.errors import AdbenchError, StoppedError


@contextmanager
def _records_kept() -> Iterator[None]:
    """Say after Ctrl-C what became of the cells."""
    try:
        yield
    except KeyboardInterrupt:
        raise StoppedError("interrupted; finished records are kept, the running cell left no record.") from None


@app.command(cls=Command, rich_help_panel=RUNS)
def run(
    words: Words = None, keys: Annotated[bool, typer.Option("--keys", help="Show every key and its default.")] = False
) -> None:
    """Fit, score and record one cell, or with a,b,c one per combination: adbench run method=madclip shots=4,16."""
    if keys and words:
        raise AdbenchError(f"--keys shows every key and runs nothing: leave out {' '.join(words)}, or --keys.")
    if keys:
        from importlib.resources import files

        typer.echo((files("adbench.configs") / "run.yaml").read_text(encoding="utf-8"), nl=False)
        return
    from adbench.commands.run import run_words

    with _records_kept():
        run_words(words or [])


@app.command(cls=Command, rich_help_panel=RUNS)
def plan(words: Words = None) -> None:
    """Show what `adbench run` with the same words would do, and its time, disk and memory; changes nothing."""
    from adbench.commands.run import plan_words

    plan_words(words or [])


@app.command(cls=Command, rich_help_panel=RUNS)
def reproduce(
    paper: Annotated[
        str | None, typer.Argument(metavar="[PAPER]", help="Such as madclip; --list takes all papers without it.")
    ] = None,
    words: ListedWords = None,
    list_figures: Annotated[
        bool, typer.Option("--list", help="Print each published figure with its command, or why there is none.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show the cells, and their time, disk and memory; run none.")
    ] = False,
    why: Annotated[
        bool,
        typer.Option(
            "--why",
            help="Run an ablation of every figure, from the clean setting to the published one, changing one of the "
            "authors' choices at a time.",
        ),
    ] = False,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the certificate, or the list, as CSV.")
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the certificate as a page.")] = None,
    latex: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the certificate as LaTeX (booktabs).")
    ] = None,
) -> None:
    """Repeat a paper's figures and certify what came out: adbench reproduce madclip table=1 data_root=DIR.

    Keys: table=, dataset=, method=, shots=, metric= (which figures), seed=, draw= (how often), data_root=DIR, runs=DIR,
    workers=, executor=, and the other keys of `adbench run` that say where a cell runs; backbone=, schedule=,
    precision=, batch_size= make other cells than the paper's
    """
    from adbench.commands import reproduce as command

    if paper is not None and "=" in paper:
        words, paper = [paper, *(words or [])], None
    if not list_figures:
        with _records_kept():
            command.reproduce(paper, words or [], command.Files(csv, html, latex), why, plan)
        return
    if given := [
        name for name, value in (("--plan", plan), ("--why", why), ("--html", html), ("--latex", latex)) if value
    ]:
        raise AdbenchError(f"--list runs nothing: leave out {given[0]}, or --list.")
    command.list_figures(paper, words or [], csv)


@app.command(cls=Command, rich_help_panel=RUNS)
def score(
    record: Annotated[Path, typer.Argument(metavar="RECORD", help="A record's folder, as in runs/<cell key>.")],
    words: Annotated[
        list[str], typer.Argument(metavar="IMAGES... [KEY=VALUE]...", help="Image files and folders, and keys.")
    ],
) -> None:
    """Apply a trained record to unlabelled images: scores, a page, heatmaps, and masks with map_threshold=.

    Writes index.html, scores.csv, results.json and a heatmap for each image; of DICOM files also a Secondary Capture
    and, with map_threshold=, a DICOM Segmentation, of NIfTI volumes a volume of the map.

    Keys: out=DIR (default scores/<time>), force=true (replace results that are there), threshold=NUMBER (of images),
    map_threshold=NUMBER (of pixels), or specificity=0.95 (both from the record's held-out images), maps=npy or
    maps=tiff (raw maps), method.prompts.normal=[...], method.prompts.abnormal=[...], method=FILE.py:Class (of a record
    whose method is not a registered one), device=, precision=, cache=, backbone.weights=FILE.safetensors,
    backbone.text=FOLDER
    """
    from adbench.commands.score import score_words

    score_words(record, words)


@app.command(cls=Command, rich_help_panel=RUNS)
def serve(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUNS... [KEY=VALUE]...", help="Records, or folders of records, and keys."),
    ],
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A folder of images to step through, at any depth.")
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where saved cases and the review list go (default: cases).")
    ] = Path("cases"),
    port: Annotated[int, typer.Option(metavar="N", help="Of 127.0.0.1; 0: any free one.")] = 0,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Show records at work on a page of this machine: heatmaps, thresholds, prompts, masks, a reviewed list of cases.

    Keys: data_root=DIR (the images of the cells' test sets and supports), method=FILE.py:Class (of a record whose
    method is not a registered one), device=, precision=, cache=, backbone.weights=FILE.safetensors,
    backbone.text=FOLDER
    """
    from adbench.commands.serve import serve_words

    serve_words(runs, images, out, port, open_browser)
