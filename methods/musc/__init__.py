"""MuSc (Li et al., ICLR 2024)."""

from .method import MuSc

__all__ = ["MuSc"]
