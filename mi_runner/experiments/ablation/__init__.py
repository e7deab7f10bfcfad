"""Which parts of a network does its answer depend on?"""
