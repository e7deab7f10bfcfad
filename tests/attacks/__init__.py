"""Attacks on the program, by kind: none of them runs code, changes another folder, or ends with a traceback."""
