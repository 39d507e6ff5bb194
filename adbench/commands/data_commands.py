"""Commands about images: data phantom, check, describe, synthesise; support show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adbench.commands.app import DATA, ListedWords, data_app, support_app
from adbench.commands.usage import Command


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
    words: ListedWords = None,
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
    words: ListedWords = None,
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
    words: ListedWords = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The contact sheet, a PNG (default: anomalies-<dataset>.png).")
    ] = None,
) -> None:
    """Show the synthetic anomalies that MediCLIP trains on, with their masks, next to the normal images.

    Keys: shots=, draw=, support=FILE, seed= (other anomalies), method.X=… of mediclip (method.tasks, method.blend,
    method.ranges.X, method.grey), input_size=, backbone=, data_root=DIR, dataset.X=…, cache=DIR
    """
    from adbench.commands.synthesise import synthesise as draw_anomalies

    draw_anomalies(name, words or [], out)


@support_app.command(cls=Command, rich_help_panel=DATA)
def show(
    words: ListedWords = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The picture, a PNG (default: support-<dataset>-….png).")
    ] = None,
) -> None:
    """Print and draw the support of one draw, as a run takes it: adbench support show dataset=brainmri shots=4 draw=1.

    Keys: dataset=, shots=, draw=, support=FILE, method= (which classes; default both), data_root=DIR, dataset.X=…
    """
    from adbench.commands.show import show_support

    show_support(words or [], out)
