"""What the field calls a method, as functions of networks and tensors."""
