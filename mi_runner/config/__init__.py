"""The config: the schemas of all options, and the composition of overrides into a typed config."""
