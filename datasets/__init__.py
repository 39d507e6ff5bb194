"""The built-in datasets: one file for each family of layouts on disk."""
