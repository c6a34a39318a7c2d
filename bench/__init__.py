"""The harness: command line, trial specifications, one trial from data to record. May import every other room."""
