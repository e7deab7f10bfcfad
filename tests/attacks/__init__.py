"""Hostile and damaged inputs: nothing in them runs, none gives a wrong number, and each gets a line that says what to do."""
