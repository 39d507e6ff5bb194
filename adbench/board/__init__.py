"""Leaderboards: records and published figures become rows, rows become tables."""
