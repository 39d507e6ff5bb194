"""PatchCore (Roth et al., CVPR 2022)."""

from .method import PatchCore

__all__ = ["PatchCore"]
