"""CLIP with its last blocks fine-tuned."""

from .method import CLIPFineTuned

__all__ = ["CLIPFineTuned"]
