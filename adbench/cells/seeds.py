"""Cells that differ in their seed alone: they have the same images, and are resolved once."""

from __future__ import annotations

import copy
import dataclasses

from adbench.cells.cell import Cell
from adbench.config.schema import RunConfig


class Alike:
    """A configuration that equals all others which differ from it in the seed alone.

    Seed 0 is apart: of a method that draws no random number every other seed is set to 0, and a note says so.
    """

    __slots__ = ("_values", "config")

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        values = vars(config) | {"seed": config.seed != 0, "overrides": None}
        self._values = (*values.values(), *config.overrides.items())

    def __hash__(self) -> int:
        """Hash all but the seed."""
        return hash(self._values)

    def __eq__(self, other: object) -> bool:
        """Compare all but the seed."""
        return isinstance(other, Alike) and self._values == other._values


def config_of_seed(config: RunConfig, seed: int) -> RunConfig:
    """Return a checked configuration with the seed of one that is alike; where it was set to 0, it stays 0."""
    if config.seed in (0, seed):
        return config
    config = copy.copy(config)
    config.seed = seed
    return config


def cell_of_seed(cell: Cell, config: RunConfig) -> Cell:
    """Return a cell with a configuration of another seed. The seed is a fact, and nothing else depends on it."""
    if config is cell.config:
        return cell
    return dataclasses.replace(cell, config=config, facts=cell.facts | {"seed": config.seed})
