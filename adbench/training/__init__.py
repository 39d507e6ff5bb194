"""From a resolved cell to a fitted method, on one device or several."""
