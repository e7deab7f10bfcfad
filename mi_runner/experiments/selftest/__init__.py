"""Can this installation be trusted? Every method on a small network with a known answer, a file of checks a group."""
