"""The image models of anomalib (Akcay et al., ICIP 2022), each as a cell."""

from .method import Anomalib

__all__ = ["Anomalib"]
