"""Comparisons of speed, each measured in one run: `make bench`, or `python -m benchmarks NAME ...`.

Each file has `run()`, which prints its rows. Machines differ and are shared, so what counts is the ratio of two things
timed in turn in the same process, not the seconds; where other programs run meanwhile, the ratio of CPU seconds.
"""
