"""The data sets: splits, checksums, preparation, tensors. Imports nothing of the other rooms."""
