"""Plug-ins: names of methods, datasets, backbones and executors, and the code that they stand for."""
