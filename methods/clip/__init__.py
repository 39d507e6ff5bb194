"""CLIP, zero-shot."""

from .method import CLIPZeroShot

__all__ = ["CLIPZeroShot"]
