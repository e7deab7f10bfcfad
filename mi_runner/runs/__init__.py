"""A run: the dispatcher, the run folder, the expectations on its metrics."""
