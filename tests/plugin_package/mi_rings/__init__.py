"""Rings: a data set, a network, an experiment, a method and a criterion for mi-run."""
