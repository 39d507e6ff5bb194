"""The application `adbench`, its groups of commands, and the options of the command line itself."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from adbench._version import __version__
from adbench.commands.usage import PANELS, Group
from adbench.errors import StoppedError


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
            raise StoppedError("interrupted.") from None
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(141) from None


app = typer.Typer(cls=Root, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
data_app = typer.Typer(cls=Group, help="Datasets on disk.")
support_app = typer.Typer(cls=Group, help="The labelled images that a method learns from.")
weights_app = typer.Typer(cls=Group, help="The weights of backbones.")
plot_app = typer.Typer(cls=Group, help="Pictures of a record.")
for name, group in (("data", data_app), ("support", support_app), ("plot", plot_app), ("weights", weights_app)):
    app.add_typer(group, name=name)
RUNS, RESULTS, DATA, METHODS, ABOUT = PANELS
Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Such as shots=4; `adbench run --keys` shows every key."),
]
ListedWords = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Keys, listed above.")]


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
