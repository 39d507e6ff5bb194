"""MRAD in its training-free form (ICLR 2026)."""

from .method import MRAD

__all__ = ["MRAD"]
