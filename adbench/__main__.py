"""`python -m adbench` is the command `adbench`."""

from adbench.commands.cli import program

program()
