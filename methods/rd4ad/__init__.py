"""RD4AD, reverse distillation (Deng and Li, CVPR 2022)."""

from .method import RD4AD

__all__ = ["RD4AD"]
