"""Records on their way to other people: bundles that are packed, proven, and merged without overwriting anything."""
