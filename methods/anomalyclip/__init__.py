"""AnomalyCLIP (ICLR 2024)."""

from .method import AnomalyCLIP

__all__ = ["AnomalyCLIP"]
