"""Records as a static site that opens from disk: a leaderboard, a page per dataset, a page per cell."""
