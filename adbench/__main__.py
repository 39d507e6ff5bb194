"""The program `adbench`, also as `python -m adbench`."""

from __future__ import annotations

import sys


def program() -> None:
    """Run the command line. Ctrl-C while it is being imported, or wherever no command hears of it, is one sentence."""
    try:
        from adbench.commands.cli import program as command_line

        command_line()
    except KeyboardInterrupt:
        print("adbench: interrupted.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    program()
