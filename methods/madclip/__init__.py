"""MadCLIP (Shiri et al., MICCAI 2025)."""

from .method import MadCLIP

__all__ = ["MadCLIP"]
