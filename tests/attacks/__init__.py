"""Hostile and damaged inputs: nothing in them runs, none gives a wrong number, each gets a line with what to do."""
