"""CLIP's patches compared with those of normal images: the baseline of MVFA's Table 1."""

from .method import CLIPNormal

__all__ = ["CLIPNormal"]
