"""Datasets: indexing, decoding, content hashes and few-shot supports."""

from adbench.data.items import Dataset, DatasetConfig, Item

__all__ = ["Dataset", "DatasetConfig", "Item"]
