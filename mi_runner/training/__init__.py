"""How weights come about: the loop, many networks at once, what training wants, the store of trained models."""
