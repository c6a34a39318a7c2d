"""The leaderboard as one page that opens from disk: content from records, a template, a style sheet and a few small scripts."""
