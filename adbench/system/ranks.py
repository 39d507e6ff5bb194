"""Collectives: the processes that run one cell together, and how they exchange objects."""

from __future__ import annotations

from typing import Any, TypeVar

T = TypeVar("T")


def rank() -> int:
    """Return the number of this process among those of its cell; 0 without other processes."""
    import torch.distributed as group

    return group.get_rank() if group.is_available() and group.is_initialized() else 0


def world_size() -> int:
    """Return the number of processes that run this cell; 1 without other processes."""
    import torch.distributed as group

    return group.get_world_size() if group.is_available() and group.is_initialized() else 1


def all_gather(value: T) -> list[T]:
    """Return the values of all processes of the cell, in the order of their ranks, to each of them."""
    if world_size() == 1:
        return [value]
    import torch.distributed as group

    values: list[Any] = [None] * world_size()
    group.all_gather_object(values, value)
    return values


def broadcast(value: T) -> T:
    """Return the value of process 0 to all of them."""
    if world_size() == 1:
        return value
    import torch.distributed as group

    values = [value]
    group.broadcast_object_list(values, src=0)
    return values[0]
