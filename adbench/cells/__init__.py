"""Cells: one point of the benchmark each, resolved from a configuration and from data on disk."""
