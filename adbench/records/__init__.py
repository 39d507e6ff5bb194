"""Records: what a cell leaves behind."""
