"""Inputs of every kind that would hurt: refused before a run folder, with what to type, or taken as they are."""
