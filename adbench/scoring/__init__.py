"""From a fitted method to scores and metrics."""
