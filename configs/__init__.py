"""Defaults of the runs, methods, datasets and backbones, as YAML."""
