"""One run: the dispatcher, its folder, the bounds that its figures must meet."""
