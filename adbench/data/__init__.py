"""Images on disk: which there are, what they hold, and which of them a method may learn from."""

from adbench.data.items import Dataset, DatasetConfig, Item

__all__ = ["Dataset", "DatasetConfig", "Item"]
