"""A cell is one point of the benchmark: what it is, and how configuration and data make it."""
