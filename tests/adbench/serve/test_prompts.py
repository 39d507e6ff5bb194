"""What docs/serve.md says of prompts that are edited in place is what the methods allow."""

from __future__ import annotations

import re
from pathlib import Path

from adbench.blocks.prompts import Prompts
from adbench.plugins import load_class, registry
from adbench.serve.prompts import MOST_LETTERS, MOST_PHRASES

DOCS = (Path(__file__).parents[3] / "docs" / "serve.md").read_text().partition("## Prompts and support")[2]
