"""Do a circuit and the full network answer alike when a hidden neuron takes its value from another example?

Each of them takes the neuron's value in its own run on the source. Letters: E edges, K circuits, H hidden neurons u,
P pairs (b, s) of a base and a source, M runs; n_l neurons of a layer.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from mi_runner.methods.criteria import kernel
from mi_runner.methods.criteria.runs import AT_ONCE, NUMBERS, Runs, ask, in_blocks, share, similar, wanted_of
from mi_runner.methods.criteria.states import CARRIED, States
from mi_runner.methods.criteria.task import Scores, Task, Weights

AT_ONCE_HERE = AT_ONCE // 4
"""Circuits whose states are found together: each has two runs and one more for each neuron."""


def interchange(task: Task, circuits: np.ndarray) -> Scores:
    """Returns the share of (u, b, s) in which each circuit `(K,)` and the full network answer alike.

    u is a hidden neuron with an edge that the circuit keeps; the full network runs on b with u set to its value in the
    full network's run on s, and the circuit with u set to its value in the circuit's run on s. NaN for a circuit
    without a hidden neuron, and where there is only one example.
    """
    kept = task.edges.rows(circuits)
    base, source = task.any_pairs
    if not len(base) or len(task.part.layers) == 1:
        return Scores.empty(len(circuits))
    wanted = _answers(task)

    def again(some: np.ndarray, weights: Weights) -> np.ndarray:
        def weight_of(block: slice) -> np.ndarray:
            return weights.examples[base[block]] * weights.examples[source[block]]

        return share(partial(_alike, task, kept[some], wanted), weight_of, len(some), len(base))

    given, asked = _given(task, slice(None)), wanted_of(task, wanted)
    order, values = similar(task, kept), np.empty(len(kept))
    for start in range(0, len(kept), AT_ONCE_HERE):
        chunk = order[start : start + AT_ONCE_HERE]
        runs, circuit = _runs(task, kept[chunk])
        found = ask(kernel.COUNTS, runs, given, asked)
        n_runs = np.bincount(circuit, minlength=len(chunk))
        values[chunk] = np.bincount(circuit, found, minlength=len(chunk)) / (n_runs * len(base))
    return Scores(values, again)


def _alike(task: Task, kept: np.ndarray, wanted: np.ndarray, pairs: slice) -> np.ndarray:
    """Returns the share of the neurons of each circuit with equal answers, in each of some pairs, `(K, P)`.

    Args:
        wanted: `(H, P)`, the full network's answers in all pairs.
    """
    given, asked, n_pairs = _given(task, pairs), wanted_of(task, wanted[:, pairs]), wanted[:, pairs].shape[1]
    alike = np.empty((len(kept), n_pairs))
    at_once = max(1, NUMBERS // (n_pairs * len(wanted)))
    for start in range(0, len(kept), at_once):
        chunk = slice(start, start + at_once)
        runs, circuit = _runs(task, kept[chunk])
        found = ask(kernel.HITS, runs, given, asked)[:, :n_pairs]
        order = np.argsort(circuit, kind="stable")
        n_runs = np.bincount(circuit)
        alike[chunk] = np.add.reduceat(found[order], np.cumsum(n_runs) - n_runs) / n_runs[:, None]
    return alike


def _given(task: Task, pairs: slice) -> np.ndarray:
    """Returns the inputs of base and source of some pairs, `(2 · n_0, P)`, in blocks."""
    base, source = (indices[pairs] for indices in task.any_pairs)
    return in_blocks(torch.cat([task.x[base], task.x[source]], 1).T.numpy(), 0.0)


def _runs(task: Task, kept: np.ndarray) -> tuple[Runs, np.ndarray]:
    """Returns a run for each circuit `(K, E)` and each neuron of it, and the circuit of each run `(M,)`.

    All runs go through the layers together: first one on the base and one on the source for each circuit; behind each
    layer one more for each of its neurons that is active, as on the base up to there, but for the neuron's state.
    """
    part, n, n_inputs = task.part, len(kept), task.part.sizes[0]
    masks = task.edges.masks(kept)
    states = States(part, tuple(values.numpy() for values in task.means), 2 * n_inputs)
    circuit = np.tile(np.arange(n), 2)
    refs = np.repeat(np.arange(2 * n_inputs).reshape(2, 1, -1), n, axis=1).reshape(2 * n, -1)
    questions, n_before = np.full(2 * n, -1), 0
    for layer, mask in enumerate(masks[:-1]):
        refs = states.of_layer(layer, np.where(mask[circuit], refs[:, None], CARRIED))
        active, neuron = np.nonzero(mask.any(2))
        on_base = refs[active]
        on_base[np.arange(len(active)), neuron] = refs[n + active, neuron]
        refs, circuit = np.concatenate([refs, on_base]), np.concatenate([circuit, active])
        questions = np.concatenate([questions, n_before + neuron])
        n_before += mask.shape[1]
    refs, circuit, questions = refs[2 * n :], circuit[2 * n :], questions[2 * n :]
    return Runs(states, np.where(masks[-1][circuit], refs[:, None], CARRIED), questions), circuit


@torch.no_grad()
def _answers(task: Task) -> np.ndarray:
    """Returns the full network's answers with each hidden neuron in turn set to its value on the source, `(H, P)`."""
    base, source = task.any_pairs
    part, answers = task.part.without_softmax, []
    for layer, values in enumerate(part.activations(task.x)[1:], 1):
        for neuron in range(values.shape[1]):
            x = values[base]
            x[:, neuron] = values[source, neuron]
            for behind in part.layers[layer:]:
                x = behind(x)
            answers.append(task.answered(x))
    return np.stack(answers)
