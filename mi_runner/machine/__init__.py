"""The machine: its threads and memory, signals, files that are kept, caches and compiled kernels."""
