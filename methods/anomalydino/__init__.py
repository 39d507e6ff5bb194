"""AnomalyDINO (Damm et al., WACV 2025)."""

from .method import AnomalyDINO

__all__ = ["AnomalyDINO"]
