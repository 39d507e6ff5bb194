"""TGUMIAD: text-guided unified medical image anomaly detection."""

from .method import TGUMIAD

__all__ = ["TGUMIAD"]
