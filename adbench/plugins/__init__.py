"""Registered names of methods, datasets and backbones, and the code behind them."""
