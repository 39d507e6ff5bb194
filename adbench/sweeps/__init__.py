"""Many cells: planning, running, and what is shown of it."""
