"""Help pages and usage errors: whole descriptions, commands in groups, one sentence for what can't be typed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from adbench.commands.spelling import as_key, as_option
from adbench.errors import AdbenchError, did_you_mean

UsageError: type[Exception] = typer.BadParameter.__bases__[0]  # typer exports the subclass alone
PANELS = ("Experiments", "Results", "Data", "Methods", "About")  # groups of commands, in the order of the help page
WHOLE = "\u2011"  # a hyphen at which no line ends, so that commands can be copied
WIDTH = 100  # columns of a help page, where the terminal has them


class Command(TyperCommand):
    """A command whose help shows each metavar as it is declared."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the usage line, the description, arguments and options."""
        _write_usage(self, ctx, formatter, [_metavar(param) for param in self.params if not _is_option(param)])
        for paragraph in (self.help or "").split("\n\n"):
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(_whole(" ".join(paragraph.split())))
        _write_params(self, ctx, formatter)
        _with_hyphens(formatter)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read options and arguments; AdbenchError for what the command doesn't take."""
        if not ctx.resilient_parsing and (written := as_option(" ".join(_words(ctx)), _options(ctx), args)):
            raise AdbenchError(written)
        with in_one_sentence(ctx, args):
            return super().parse_args(ctx, args)


class Group(TyperGroup):
    """Commands under one name. Its help lists every command below it, under the titles of their `rich_help_panel`."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the usage line, the description, the commands by group, and the options."""
        _write_usage(self, ctx, formatter, ["COMMAND", "..."])
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(self.help or "")
        panels: dict[str, list[tuple[str, str]]] = {}
        for name, command in leaves(self):
            panels.setdefault(str(command.rich_help_panel), []).append((name, _description(command)))
        longest = max(len(name) for rows in panels.values() for name, _ in rows)
        for title, rows in sorted(panels.items(), key=lambda panel: PANELS.index(panel[0])):
            with formatter.section(title):
                formatter.write_dl([(name.ljust(longest), _whole(text)) for name, text in rows])
        _write_params(self, ctx, formatter)
        _with_hyphens(formatter)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options before the command; without any word, print the help page."""
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help(), err=True)
            raise typer.Exit(2)
        with in_one_sentence(ctx, args):
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that the first word names; AdbenchError where there is none."""
        word, resilient = args[0], ctx.resilient_parsing
        if not resilient and word not in self.commands and not word.startswith("-"):
            raise AdbenchError(
                f"unknown command {' '.join([*_words(ctx), word])!r}: {did_you_mean(word, self.commands)} "
                f"`{' '.join(['adbench', *_words(ctx), '--help'])}` shows them with a line each."
            )
        return super().resolve_command(ctx, args)


def leaves(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every command below a group with its words, such as "data check"."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, f"{before}{name} ")
        else:
            yield before + name, command


@contextmanager
def in_one_sentence(ctx: Any, args: Sequence[str]) -> Iterator[None]:
    """Turn a usage error of typer's into an AdbenchError in adbench's own words."""
    given = list(args)
    try:
        yield
    except UsageError as error:
        raise AdbenchError(_sentence(error, ctx, given)) from None


def _sentence(error: Any, ctx: Any, args: Sequence[str]) -> str:
    """Name the command, the word that can't be used, what is allowed, and the help page."""
    command = " ".join(["adbench", *_words(ctx)])
    more = f"`{command} --help` shows what it takes."
    options = _options(ctx)
    option, param = getattr(error, "option_name", None), getattr(error, "param", None)
    if option in options:
        need = "no value" if options[option].is_flag else f"a value: {option} {_metavar(options[option])}"
        return f"{option} of `{command}` takes {need}. {more}"
    if option is not None:
        if written := as_key(" ".join(_words(ctx)), option, args):
            return written
        return f"`{command}` has no option {option!r}: {did_you_mean(option, options)} {more}"
    if param is not None:
        if not error.message or not _is_option(param):
            needed = [_metavar(p) if not _is_option(p) else f"{p.opts[0]} {_metavar(p)}" for p in _needed(ctx)]
            name = param.opts[0] if _is_option(param) else _metavar(param).partition("...")[0]
            return f"{name} is missing in `{' '.join([command, *needed])}`. {more}"
        if "valid number" in str(error.message):
            return f"{_given(param, args)} is not possible: a number is needed, as in 0.5. {more}"
        least, most = getattr(param, "min", None) or 0, getattr(param, "max", None)
        end = "" if most is None else f", and at most {most}"
        return f"{_given(param, args)} is not possible: a whole number of at least {least} is needed{end}. {more}"
    if extra := re.search(r"extra arguments?(?:\(s\))? \((.*)\)$", str(error.message)):
        return f"`{command}` takes no {extra[1]!r} here. {more}"
    return f"`{command}`: {str(error.message).rstrip('.')}. {more}"


def _options(ctx: Any) -> dict[str, Any]:
    """Return the options of a command by their words, such as --markdown."""
    return {name: param for param in ctx.command.get_params(ctx) if _is_option(param) for name in param.opts}


def _needed(ctx: Any) -> list[Any]:
    return [param for param in ctx.command.get_params(ctx) if param.required or not _is_option(param)]


def _given(param: Any, args: Sequence[str]) -> str:
    """Return an option and its value as they were typed."""
    for place, word in enumerate(args):
        if word.partition("=")[0] in param.opts:
            return word if "=" in word else " ".join(args[place : place + 2])
    return str(param.opts[0])


def _words(ctx: Any) -> list[str]:
    """Return the words of a command after `adbench`."""
    return [] if ctx.parent is None else [*_words(ctx.parent), str(ctx.info_name)]


def _is_option(param: Any) -> bool:
    return bool(param.param_type_name == "option")


def _metavar(param: Any) -> str:
    return str(param.metavar or param.name.upper())


def _description(command: Any) -> str:
    """Return the first paragraph of a command's help, whole."""
    return " ".join((command.help or "").partition("\n\n")[0].split())


def _whole(text: str) -> str:
    return text.replace("-", WHOLE)


def _with_hyphens(formatter: Any) -> None:
    formatter.buffer[:] = [text.replace(WHOLE, "-") for text in formatter.buffer]


def _write_usage(command: Any, ctx: Any, formatter: Any, arguments: list[str]) -> None:
    formatter.width = ctx.terminal_width or max(formatter.width, min(WIDTH, _columns()))
    formatter.write_usage(" ".join(["adbench", *_words(ctx)]), " ".join(["[OPTIONS]", *arguments]))


def _columns() -> int:
    from shutil import get_terminal_size

    return get_terminal_size((WIDTH, 24)).columns - 2


def _write_params(command: Any, ctx: Any, formatter: Any) -> None:
    params = [param for param in command.get_params(ctx) if param.help and not param.hidden]
    for title, is_option in (("Arguments", False), ("Options", True)):
        rows = [_row(param) for param in params if _is_option(param) is is_option]
        if rows:
            with formatter.section(title):
                formatter.write_dl(rows)


def _row(param: Any) -> tuple[str, str]:
    if not _is_option(param):
        return _metavar(param), param.help
    names = ", ".join([*param.opts, *param.secondary_opts])
    name = names if param.is_flag else f"{names} {_metavar(param)}"
    default = param.default if isinstance(param.default, int | float | str) and not param.is_flag else None
    return name, param.help if default is None else f"{param.help.rstrip('.')} (default: {default})."
