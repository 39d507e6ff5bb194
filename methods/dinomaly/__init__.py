"""Dinomaly (CVPR 2025)."""

from .method import Dinomaly

__all__ = ["Dinomaly"]
