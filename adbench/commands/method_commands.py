"""Commands about what is installed: list, new-method, check-method, weights convert."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adbench.commands.app import METHODS, ListedWords, app, weights_app
from adbench.commands.usage import Command


@app.command(name="list", cls=Command, rich_help_panel=METHODS)
def list_(
    what: Annotated[str, typer.Argument(metavar="methods|datasets|backbones|groups|executors", help="What to list.")],
) -> None:
    """List what is registered, with a line each; of backbones a table."""
    if what == "backbones":
        from adbench.commands.backbones import HEADER, backbone_rows
        from adbench.commands.console import print_table

        return print_table(HEADER, list(backbone_rows()))
    from adbench.commands.listing import listing

    for line in listing(what):
        typer.echo(line)


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
    """Write a package with a method that works, to be made yours: adbench new-method nearest."""
    from adbench.commands.new_method import new_method as write

    folder = write(name, into, class_name)
    typer.echo(
        f"{folder} is written. Next: pip install --no-build-isolation --no-deps -e {folder} && "
        f"adbench check-method {name}"
    )


@app.command(cls=Command, rich_help_panel=METHODS)
def check_method(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A registered name, FILE.py:Class or module:Class.")],
    words: ListedWords = None,
) -> None:
    """Examine a method on phantoms: determinism, saving, batches, files, memory, ... Exit code 1: it fails a check.

    Keys: method.X=…, backbone=, backbone.X=…
    """
    from adbench.conformance.report import check_method as examine
    from adbench.conformance.strays import leave, newer

    left = newer()
    good = examine(name, words or [])
    if left():
        leave(0 if good else 1)
    if not good:
        raise typer.Exit(1)


@weights_app.command(cls=Command, rich_help_panel=METHODS)
def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .bin, .pth, .pt or .ckpt of torch.save.")],
    backbone: Annotated[str, typer.Option(metavar="NAME", help="The backbone whose weights they are.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The new file (default: next to it, ending in .safetensors).")
    ] = None,
) -> None:
    """Turn a published file of tensors into safetensors without running it: weights convert x.pth --backbone mae-b."""
    from adbench.commands.weights import convert as write

    written, sha256 = write(file, backbone, out)
    typer.echo(f"written: {written} (SHA-256 {sha256}). Next: backbone={backbone} backbone.weights={written}")
