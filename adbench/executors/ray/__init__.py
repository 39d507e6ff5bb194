"""The executor `ray`."""

from adbench.executors.ray.executor import Ray

__all__ = ["Ray"]
