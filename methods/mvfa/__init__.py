"""MVFA (Huang et al., CVPR 2024)."""

from .method import MVFA

__all__ = ["MVFA"]
