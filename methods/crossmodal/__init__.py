"""Bi-directional prompt association between both towers of CLIP."""

from .method import CrossModal

__all__ = ["CrossModal"]
