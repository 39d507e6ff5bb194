"""The time as records write it."""

from __future__ import annotations

import time


def timestamp() -> str:
    """Return the time now, in UTC and whole seconds, as in 2026-01-31T12:00:00Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
