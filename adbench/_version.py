"""The version of adbench."""

__version__ = "0.1.0"
