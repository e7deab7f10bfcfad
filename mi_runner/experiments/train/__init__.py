"""How good is a model, on which classes? Trains it, or loads it from the model store, and evaluates it."""
