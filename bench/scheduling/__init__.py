"""Many trials: a queue of them, workers that run them on Ray, and whoever listens to how it goes."""
