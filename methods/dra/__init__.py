"""DRA (Ding et al., CVPR 2022)."""

from .method import DRA

__all__ = ["DRA"]
