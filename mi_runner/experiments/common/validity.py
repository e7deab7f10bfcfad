"""What makes a circuit valid: the task, agreement with the full network, or a share of the network's own accuracy.

Decided here for every experiment on circuits; `methods.circuits.examples` counts by it.
"""

from __future__ import annotations

from mi_runner.config.experiments.circuit_options import Valid
from mi_runner.progress import log
from mi_runner.tables.declaration import Note

VALID_BY = Note(
    "valid_by",
    "what makes a circuit valid: task, its accuracy is above the threshold; agreement, the share of examples that it "
    "answers as the full network is; relative, its accuracy is at least the threshold's share of the network's",
)


def valid_by(valid: Valid, accuracy: float, threshold: float, *, output: str = "") -> str:
    """Returns the rule by which circuits are valid, one of `methods.circuits.examples.VALID_BY`.

    Args:
        valid: as it is typed. `auto` is the task, if the full network itself is valid by it, and otherwise agreement,
            with a line.
        accuracy: the full network's, on the examples that circuits are found on.
        threshold: as `experiment.accuracy_threshold`.
        output: which output, for the line.
    """
    if valid is not Valid.auto:
        return valid.name
    if accuracy > threshold:
        return Valid.task.name
    log.info(
        f"{output}the network's own accuracy, {accuracy:.4f}, isn't above experiment.accuracy_threshold={threshold:g}; "
        "a circuit is valid if it answers more of the examples as the network does (experiment.valid=task: correctly)"
    )
    return Valid.agreement.name


def what_holds(rule: str, threshold: float, n_valid: int) -> str:
    """Returns what holds for the valid circuits by a rule, with them as the subject: `their accuracy is above 0.99`."""
    its, answers = ("its", "it answers") if n_valid == 1 else ("their", "they answer")
    return {
        "task": f"{its} accuracy is above {threshold:g}",
        "agreement": f"{answers} more than {threshold:g} of the examples as the whole network does",
        "relative": f"{its} accuracy is at least {threshold:g} of the whole network's",
    }[rule]


def no_circuit(rule: str, threshold: float) -> str:
    """Returns why no circuit is valid by a rule."""
    return {
        "task": f"no accuracy is above {threshold:g}",
        "agreement": f"none answers more than {threshold:g} of the examples as the whole network does",
        "relative": f"no accuracy is at least {threshold:g} of the whole network's",
    }[rule]
