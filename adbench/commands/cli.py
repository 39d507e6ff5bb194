"""The command line. Importing this file imports neither torch nor pandas: `adbench --help` answers at once."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from adbench._version import __version__
from adbench.commands.usage import PANELS, Command, Group
from adbench.errors import AdbenchError, StoppedError
from adbench.system.text import printable


class Root(Group):
    """The command `adbench`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options; a shell need not be named after --install-completion and --show-completion."""
        for place, word in enumerate(args):
            if word in ("--install-completion", "--show-completion") and place in (0, len(args) - 1):
                args = [*args[: place + 1], *(args[place + 1 :] or ["auto"])]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run a command. Ctrl-C, and a reader that closed its pipe, end it without a traceback."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise StoppedError("interrupted; finished records are kept, the running cell left no record.") from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(141) from None


app = typer.Typer(cls=Root, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
data_app = typer.Typer(cls=Group, help="Datasets on disk.")
support_app = typer.Typer(cls=Group, help="The labelled images that a method learns from.")
plot_app = typer.Typer(cls=Group, help="Pictures of a record.")
for name, group in (("data", data_app), ("support", support_app), ("plot", plot_app)):
    app.add_typer(group, name=name)
RUNS, RESULTS, DATA, METHODS, ABOUT = PANELS
Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Such as shots=4; `adbench run --keys` shows every key."),
]


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"adbench {__version__}")
        raise typer.Exit


def _show_completion(shell: str | None) -> None:
    if shell is not None:
        from adbench.commands.complete import script

        typer.echo(script(shell), nl=False)
        raise typer.Exit


def _install_completion(shell: str | None) -> None:
    if shell is not None:
        from adbench.commands.complete import install

        typer.echo(f"written: {', '.join(map(str, install(shell)))}. New shells complete the words of adbench.")
        raise typer.Exit


def _complete(line: str | None) -> None:
    if line is not None:
        from adbench.commands.complete import candidates

        for word in candidates(typer.main.get_command(app), line):
            typer.echo(word)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version in one line.")
    ] = False,
    install_completion: Annotated[
        str | None,
        typer.Option(
            metavar="[SHELL]",
            callback=_install_completion,
            is_eager=True,
            help="Install the completion of commands, keys and names: bash, zsh or fish (default: the running shell).",
        ),
    ] = None,
    show_completion: Annotated[
        str | None,
        typer.Option(
            metavar="[SHELL]",
            callback=_show_completion,
            is_eager=True,
            help="Print the script of that completion.",
        ),
    ] = None,
    complete: Annotated[str | None, typer.Option(hidden=True, callback=_complete, is_eager=True)] = None,
) -> None:
    """Few-shot and zero-shot anomaly detection in medical images, compared fairly."""


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
    words: Words = None,
    list_figures: Annotated[
        bool, typer.Option("--list", help="Print each published figure with its command, or why there is none.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show the cells, and their time, disk and memory; run none.")
    ] = False,
    why: Annotated[
        bool, typer.Option("--why", help="Run the ladder of every figure: one facet of the authors at a time.")
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
    """Apply a trained record to unlabelled images: scores.csv, heatmaps, and outlined pixels with map_threshold=.

    Keys: out=DIR (default scores/<time>), threshold=NUMBER (of images), map_threshold=NUMBER (of pixels), or
    specificity=0.95 (both from the record's held-out images), method.prompts.normal=[...],
    method.prompts.abnormal=[...], method=FILE.py:Class (of a record whose method is not a registered one), device=,
    precision=, cache=, backbone.weights=FILE.safetensors
    """
    from adbench.commands.score import score_words

    score_words(record, words)


@app.command(name="list", cls=Command, rich_help_panel=METHODS)
def list_(
    what: Annotated[str, typer.Argument(metavar="methods|datasets|backbones|groups|executors", help="What to list.")],
) -> None:
    """List what is registered, with a line each."""
    from adbench.commands.listing import listing

    for line in listing(what):
        typer.echo(line)


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

    with opened(runs or [Path("runs")]) as bundles:
        show_leaderboard(
            bundles.folders, csv=csv, markdown=markdown, json=json, published=published, costs=costs, latex=latex,
            html=html, method=method, dataset=dataset, metric=metric, intervals=intervals, predictions=predictions,
            problems=bundles.problems,
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

    with opened(runs or [Path("runs")]) as bundles:
        show_comparisons(
            bundles.folders, metrics=metric, against=against, method=method, dataset=dataset, shots=shots,
            margin=margin, level=level, power=power, csv=csv, json=json, markdown=markdown, latex=latex,
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
    whose method is not a registered one), device=, precision=, cache=, backbone.weights=FILE.safetensors
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

    write(records, html, method, dataset, specificity, prevalence, level)


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
    words: Words = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The picture, a PNG (default: features.png in the record).")
    ] = None,
) -> None:
    """Draw t-SNE of the test images' features, frozen and as the method adapts them, normal against abnormal.

    Keys: data_root=DIR, method=FILE.py:Class (of a record whose method is not a registered one), device=, precision=,
    cache=, backbone.weights=FILE.safetensors
    """
    from adbench.commands.plot_features import plot_features

    file, clean = plot_features(record, words or [], out)
    for name, share in clean.items():
        typer.echo(f"{name:<8} {100 * share:.1f} % of the nearest neighbours are of the same class")
    typer.echo(f"drawn: {file}")


@data_app.command(cls=Command, rich_help_panel=DATA)
def phantom(
    root: Annotated[Path, typer.Option(metavar="DIR", help="Folder to draw into; required.")],
    dataset: Annotated[str, typer.Option(metavar="NAMES", help="Names or groups with commas between, or all.")] = "all",
    train: Annotated[int, typer.Option(metavar="N", min=0, max=10**6, help="Normal images in train.")] = 60,
    valid: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=2, max=10**6, help="Images in valid, half of them abnormal (default 80; oct17: 8 + 24)."
        ),
    ] = None,
    test: Annotated[
        int, typer.Option(metavar="N", min=2, max=10**6, help="Images in test, half of them abnormal.")
    ] = 120,
) -> None:
    """Draw the phantoms of every dataset, in the real ones' layout: data_root=ROOT then reads them."""
    from adbench.commands.phantom import draw_phantoms

    draw_phantoms(root, dataset, {"train": train, "test": test} | ({} if valid is None else {"valid": valid}))


@data_app.command(cls=Command, rich_help_panel=DATA)
def check(
    name: Annotated[str, typer.Argument(metavar="DATASET", help="Its name; `adbench list datasets` shows them.")],
    words: Words = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the JSON into a file as well.")] = None,
) -> None:
    """Examine a dataset: counts, masks, duplicates, patients, shortcuts. Exit code 1: something makes results wrong.

    Keys: data_root=DIR, dataset.X=…, cache=DIR
    """
    from adbench.commands.data_check import check as examine

    good = examine(name, words or [], json, out)
    if not good:
        raise typer.Exit(1)


@data_app.command(cls=Command, rich_help_panel=DATA)
def describe(
    name: Annotated[str, typer.Argument(metavar="DATASET", help="Its name; `adbench list datasets` shows them.")],
    words: Words = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The contact sheet, a PNG (default: <dataset>.png).")
    ] = None,
) -> None:
    """Print what a dataset is and draw a contact sheet of it, masks outlined.

    Keys: data_root=DIR, dataset.X=…, cache=DIR
    """
    from adbench.commands.show import describe as show_dataset

    show_dataset(name, words or [], out)


@data_app.command(cls=Command, rich_help_panel=DATA)
def synthesise(
    name: Annotated[str, typer.Argument(metavar="DATASET", help="Its name; `adbench list datasets` shows them.")],
    words: Words = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The contact sheet, a PNG (default: anomalies-<dataset>.png).")
    ] = None,
) -> None:
    """Draw the synthetic anomalies from which MediCLIP learns, with their masks, next to the normal images.

    Keys: shots=, draw=, support=FILE, seed= (other anomalies), method.X=… of mediclip (method.tasks, method.blend,
    method.ranges.X, method.grey), input_size=, backbone=, data_root=DIR, dataset.X=…, cache=DIR
    """
    from adbench.commands.synthesise import synthesise as draw_anomalies

    draw_anomalies(name, words or [], out)


@support_app.command(cls=Command, rich_help_panel=DATA)
def show(
    words: Words = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The picture, a PNG (default: support-<dataset>-….png).")
    ] = None,
) -> None:
    """Print and draw the support of one draw, as a run takes it: adbench support show dataset=brainmri shots=4 draw=1.

    Keys: dataset=, shots=, draw=, support=FILE, method= (which classes; default both), data_root=DIR, dataset.X=…
    """
    from adbench.commands.show import show_support

    show_support(words or [], out)


@app.command(cls=Command, rich_help_panel=METHODS)
def new_method(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name: small letters, digits, underscores.")],
    into: Annotated[
        Path, typer.Option(metavar="DIR", help="The folder in which the folder NAME is made (default: this one).")
    ] = Path(),
    class_name: Annotated[
        str | None, typer.Option("--class", metavar="CLASS", help="The class, as in PaDiM (default: from NAME).")
    ] = None,
) -> None:
    """Write a package with a method that works: adbench new-method nearest. Then change it into yours."""
    from adbench.commands.new_method import new_method as write

    folder = write(name, into, class_name)
    typer.echo(
        f"{folder} is written. Next: pip install --no-build-isolation --no-deps -e {folder} && "
        f"adbench check-method {name}"
    )


@app.command(cls=Command, rich_help_panel=METHODS)
def check_method(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A registered name, FILE.py:Class or module:Class.")],
    words: Words = None,
) -> None:
    """Examine a method on phantoms: determinism, saving, batches, files, memory, ... Exit code 1: it fails a check.

    Keys: method.X=…
    """
    from adbench.conformance.report import check_method as examine

    good = examine(name, words or [])
    if not good:
        raise typer.Exit(1)


@app.command(cls=Command, rich_help_panel=ABOUT)
def version() -> None:
    """Show the version of adbench and of what it computes with."""
    from adbench.records import provenance

    code = provenance.code()
    commit = f" (commit {code['commit'][:12]}{', modified' if code['dirty'] else ''})" if code["commit"] else ""
    typer.echo(f"adbench {code['version']}{commit}")
    for name, number in provenance.packages().items():
        typer.echo(f"{name} {number}")


def _guard() -> None:
    """Warn where the tabular benchmark of the same import name is installed as well."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        other = distribution("adbench")
    except PackageNotFoundError:
        return
    typer.echo(
        f"adbench: the package 'adbench' {other.version} (tabular anomaly detection) uses the same import name and may "
        "shadow this one, 'adbench-medical'. Uninstall it or use another environment: pip uninstall adbench",
        err=True,
    )


def main() -> None:
    """Run the command line: what a user can fix becomes one line on standard error and an exit code."""
    _guard()
    try:
        code = app(prog_name="adbench", standalone_mode=False)
    except AdbenchError as error:
        _complain(printable(str(error)))
        code = error.exit_code
    except OSError as error:
        if error.filename is not None or error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        # Files that adbench writes are named in errors of their own: this one is a stream, or another package's file.
        _complain(f"cannot write standard output or a temporary file: {error.strerror}. Free some space there.")
        code = 2
    if unprinted := _unprinted():
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python would try once more at its end
        if isinstance(unprinted, BrokenPipeError):
            code = 141
        elif not code:
            _complain(f"cannot write standard output: {unprinted.strerror}.")
            code = 2
    sys.exit(code)


def _complain(text: str) -> None:
    with contextlib.suppress(OSError):  # the exit code is all that is left then
        typer.echo(f"adbench: {text}", err=True)


def _unprinted() -> OSError | None:
    """Return why standard output can't be written; none where all is printed."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        return error
    return None
