"""Leaderboards: tables of records and of published figures, as text, Markdown, LaTeX, CSV, JSON and a site."""
