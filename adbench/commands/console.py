"""Consoles: where the commands print."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table


def plain_console() -> Console:
    """Return a console that doesn't wrap what is piped, and prints brackets and colons as they are."""
    return Console(highlight=False, soft_wrap=True, markup=False, emoji=False)  # what it prints holds paths


def table_console() -> Console:
    """Return a console that folds tables on a terminal and not in a pipe."""
    console = Console(highlight=False, markup=False)
    # Piped, a table would be folded to 80 columns.
    return console if console.is_terminal else Console(highlight=False, markup=False, width=120, soft_wrap=True)


def noted(sentence: str) -> str:
    """Return the line that prints a note of a cell; one that is a warning says so itself.

    >>> noted("draws 0, 1 choose the same images."), noted("warning: phantom-clip has random weights.")
    ('note: draws 0, 1 choose the same images.', 'warning: phantom-clip has random weights.')
    """
    return sentence if sentence.startswith("warning: ") else f"note: {sentence}"


def print_table(
    header: Iterable[str], rows: Iterable[Sequence[str]], title: str = "", after: Iterable[str] = ()
) -> None:
    """Print a table of results under its title, and lines after it; a file or another program gets whole lines."""
    table = Table(header_style="bold")
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    width = None if sys.stdout.isatty() else 10_000
    console = Console(highlight=False, markup=False, emoji=False, width=width)
    if title:
        console.print(title, style="bold", soft_wrap=True)  # no title of the table: that is folded to the table's width
    console.print(table)
    for line in after:
        console.print(line, soft_wrap=True)
