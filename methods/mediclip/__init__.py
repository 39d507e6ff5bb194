"""MediCLIP (Zhang et al., MICCAI 2024)."""

from .method import MediCLIP

__all__ = ["MediCLIP"]
