"""Consoles: where the commands print."""

from __future__ import annotations

from rich.console import Console


def plain_console() -> Console:
    """Return a console that doesn't wrap what is piped, and prints brackets and colons as they are."""
    return Console(highlight=False, soft_wrap=True, markup=False, emoji=False)  # what it prints holds paths


def table_console() -> Console:
    """Return a console that folds tables on a terminal and not in a pipe."""
    console = Console(highlight=False, markup=False)
    # Piped, a table would be folded to 80 columns.
    return console if console.is_terminal else Console(highlight=False, markup=False, width=120, soft_wrap=True)
