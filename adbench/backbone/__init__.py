"""The frozen backbone: its weights, its outputs, and the cache of them."""
