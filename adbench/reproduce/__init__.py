"""Repeating the figures of papers: which cells repeat a figure, and a certificate of what came out."""
