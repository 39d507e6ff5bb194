"""SubspaceAD (CVPR 2026)."""

from .method import SubspaceAD

__all__ = ["SubspaceAD"]
