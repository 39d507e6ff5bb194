"""APRIL-GAN (Chen et al., CVPR 2023 VAND challenge)."""

from .method import AprilGAN

__all__ = ["AprilGAN"]
