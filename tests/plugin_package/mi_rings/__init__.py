"""Rings: a data set, a network, an experiment and a method for mi-run."""
