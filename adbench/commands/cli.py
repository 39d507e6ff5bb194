"""The command line. Importing this file imports neither torch nor pandas: `adbench --help` answers at once."""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import sys

import typer

# Importing a file of commands registers them.
from adbench.commands import data_commands, method_commands, result_commands, run_commands
from adbench.commands.app import ABOUT, app
from adbench.commands.usage import Command
from adbench.errors import AdbenchError
from adbench.system.text import printable

COMMANDS = (run_commands, result_commands, data_commands, method_commands)


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


def program() -> None:
    """Be the program `adbench`: run the command line, and end the process with its exit code."""
    ended: list[int] = []
    atexit.register(_leave, ended)  # before all that commands register, so that it is called after it
    try:
        main()
    except SystemExit as end:
        ended.append(int(end.code or 0))
        raise


def _leave(ended: list[int]) -> None:
    """End a process whose exit code is known, without freeing what it imported.

    With torch that takes 0.2 to 0.5 s, and reads up to 180 MB of CUDA's libraries into memory.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or none at all
            stream.flush()
    if ended:
        os._exit(ended[0])


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
