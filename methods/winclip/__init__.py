"""WinCLIP: CLIP looks at the image through small windows."""

from .method import WinCLIP

__all__ = ["WinCLIP"]
