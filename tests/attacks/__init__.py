"""Attacks: files, folders and environments that somebody else made, and what a run does with them."""
