"""Training: the loop, many networks at once, losses and optimizers, the store of trained models."""
