"""What a training step spends its time on: split into stages, beside the network's bare arithmetic and the device's ceilings."""
