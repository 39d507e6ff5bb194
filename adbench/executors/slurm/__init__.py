"""The executor `slurm`."""

from adbench.executors.slurm.executor import Slurm

__all__ = ["Slurm"]
