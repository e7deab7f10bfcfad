"""Rings: a data set, a network and an experiment for mi-run."""
