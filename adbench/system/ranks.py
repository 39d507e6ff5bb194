"""The processes that run one cell together: how many there are, and how they exchange objects."""

from __future__ import annotations

from typing import Any, TypeVar

T = TypeVar("T")


def rank() -> int:
    """Return the number of this process among those of its cell; 0 where it is alone."""
    import torch.distributed as group

    return group.get_rank() if group.is_available() and group.is_initialized() else 0


def world_size() -> int:
    """Return how many processes run this cell; 1 where this one is alone."""
    import torch.distributed as group

    return group.get_world_size() if group.is_available() and group.is_initialized() else 1


def all_gather(thing: T) -> list[T]:
    """Return what every process of the cell passes, in their order, to all of them."""
    if world_size() == 1:
        return [thing]
    import torch.distributed as group

    found: list[Any] = [None] * world_size()
    group.all_gather_object(found, thing)
    return found


def broadcast(thing: T) -> T:
    """Return what process 0 passes, to all of them."""
    if world_size() == 1:
        return thing
    import torch.distributed as group

    held = [thing]
    group.broadcast_object_list(held, src=0)
    return held[0]
