"""Metrics, run records, published numbers, tables, the leaderboard and the MLflow sink. Imports nothing of the other rooms."""
