"""Records: the folder that each cell leaves, with its scores, metrics and provenance."""
