"""PaDiM (Defard et al., ICPR Workshops 2020)."""

from .method import PaDiM

__all__ = ["PaDiM"]
