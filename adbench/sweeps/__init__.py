"""Sweeps: many cells in one command, planned, run and shown."""
