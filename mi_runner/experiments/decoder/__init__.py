"""Can a network's inputs and its answer be read from its hidden activations alone?"""
