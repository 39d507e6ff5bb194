"""The site: a leaderboard, a page per dataset and a page per record, as static files that open from disk."""
