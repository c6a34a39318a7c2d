"""What the methods share: networks, augmentation, losses and pieces of training loops."""
