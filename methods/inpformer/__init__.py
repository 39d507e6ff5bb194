"""INP-Former (CVPR 2025)."""

from .method import INPFormer

__all__ = ["INPFormer"]
