"""`python -m adbench` is the command `adbench`."""

from adbench.commands.cli import main

main()
