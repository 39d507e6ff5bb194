"""UniAD: a unified model for multi-class anomaly detection."""

from .method import UniAD

__all__ = ["UniAD"]
