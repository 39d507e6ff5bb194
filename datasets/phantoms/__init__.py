"""Phantoms: procedurally drawn medical-like image sets. See docs/phantoms.md."""

from .phantom import FAMILIES, PHANTOM_VERSION, Phantom, draw, fingerprint
from .write import FOLDERS, MARK, MASKED, write_bmad

__all__ = ["FAMILIES", "FOLDERS", "MARK", "MASKED", "PHANTOM_VERSION", "Phantom", "draw", "fingerprint", "write_bmad"]
