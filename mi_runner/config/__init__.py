"""From overrides to a typed config: the schemas of every option, and how Hydra's composition becomes one."""
