"""Run one cell, or apply its record to new images."""
