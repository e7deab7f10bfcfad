"""Do the tests notice a small fault? `python -m mutants` puts faults into a copy of the sources, one at a time.

places.py says which faults there are, recorded.py which tests run which lines, trial.py runs the tests of one fault.
"""
