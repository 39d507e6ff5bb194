"""SimpleNet (Liu et al., CVPR 2023)."""

from .method import SimpleNet

__all__ = ["SimpleNet"]
