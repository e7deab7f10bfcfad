"""How many circuits are valid where there are too many to look at? Estimates with intervals, from drawn circuits."""
