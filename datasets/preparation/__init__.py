"""From original files to memory-mapped arrays: found, checked, written once, and small stand-ins of them."""
