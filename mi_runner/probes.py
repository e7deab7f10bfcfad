"""Which variables can a linear probe read from a site? docs/probes.md describes the probes and their controls."""

from mi_runner.methods.probes import Target, probe, score, split_folds

__all__ = [
    "Target",
    "probe",
    "score",
    "split_folds",
]
