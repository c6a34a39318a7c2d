"""Sweeps: many samples of a method's settings, judged without labels unless asked otherwise."""
