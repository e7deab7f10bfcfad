"""Do a circuit and the full network answer alike when a hidden neuron takes its value from another example?

Each of them takes the neuron's value in its own run on the source. Letters: E edges, K circuits, H hidden neurons u,
P pairs (b, s) of a base and a source, M runs; n_l neurons of a layer.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from mi_runner.methods.criteria import kernel
from mi_runner.methods.criteria.runs import (
    AT_ONCE,
    NUMBERS,
    Runs,
    ask,
    ask_counts,
    groups_of_pairs,
    in_blocks,
    share,
    similar,
    wanted_of,
)
from mi_runner.methods.criteria.states import CARRIED, States
from mi_runner.methods.criteria.task import Scores, Task, Weights

AT_ONCE_HERE = AT_ONCE // 4
"""Circuits whose states are found together: each has two runs and one more for each neuron."""

PAIRS_AT_ONCE = 100_000
"""Pairs whose answers are stored at once, for each hidden neuron."""

Pairs = tuple[np.ndarray, np.ndarray]
"""Base and source of pairs, `(P,)` each."""


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
    groups = groups_of_pairs(task, task.any_pairs)
    run: Pairs = (base, source) if groups is None else (base[groups.first], source[groups.first])

    def again(some: np.ndarray, weights: Weights) -> np.ndarray:
        def weight_of(some: slice | np.ndarray) -> np.ndarray:
            return weights.examples[base[some]] * weights.examples[source[some]]

        def of_run(block: slice) -> np.ndarray:
            return weight_of(block) if groups is None else groups.summed(weight_of, weights.n, block)

        return share(partial(_alike, task, kept[some], run), of_run, len(some), len(run[0]))

    return Scores(_shares(task, kept, run, None if groups is None else groups.sizes), again)


def _shares(task: Task, kept: np.ndarray, run: Pairs, sizes: np.ndarray | None) -> np.ndarray:
    """Returns the share of neurons and pairs with equal answers of each circuit, `(K,)`.

    Args:
        sizes: `(P,)`, how many pairs each one stands for; None: one.
    """
    order, n_alike, n_asked = similar(task, kept), np.zeros(len(kept)), np.zeros(len(kept))
    n_run = len(run[0])
    for first in range(0, n_run, PAIRS_AT_ONCE):
        pairs = slice(first, min(first + PAIRS_AT_ONCE, n_run))
        given, wanted = _given(task, run, pairs), _answers(task, run, pairs)
        asked, times = wanted_of(task, wanted), None if sizes is None else sizes[pairs]
        at_once = AT_ONCE_HERE if sizes is None else max(1, min(AT_ONCE_HERE, NUMBERS // wanted.size))
        for start in range(0, len(kept), at_once):
            chunk = order[start : start + at_once]
            runs, circuit = _runs(task, kept[chunk])
            n_alike[chunk] += np.bincount(circuit, ask_counts(runs, given, asked, times), minlength=len(chunk))
            n_pairs = pairs.stop - pairs.start if times is None else times.sum()
            n_asked[chunk] += np.bincount(circuit, minlength=len(chunk)) * n_pairs
    return n_alike / n_asked


def _alike(task: Task, kept: np.ndarray, run: Pairs, pairs: slice) -> np.ndarray:
    """Returns the share of the neurons of each circuit with equal answers, in each of some pairs, `(K, P)`."""
    wanted = _answers(task, run, pairs)
    given, asked, n_pairs = _given(task, run, pairs), wanted_of(task, wanted), wanted.shape[1]
    alike = np.empty((len(kept), n_pairs))
    at_once = max(1, NUMBERS // wanted.size)
    for start in range(0, len(kept), at_once):
        chunk = slice(start, start + at_once)
        runs, circuit = _runs(task, kept[chunk])
        found = ask(kernel.HITS, runs, given, asked)[:, :n_pairs]
        order = np.argsort(circuit, kind="stable")
        n_runs = np.bincount(circuit)
        alike[chunk] = np.add.reduceat(found[order], np.cumsum(n_runs) - n_runs) / n_runs[:, None]
    return alike


def _given(task: Task, run: Pairs, pairs: slice) -> np.ndarray:
    """Returns the inputs of base and source of some pairs, `(2 · n_0, P)`, in blocks."""
    base, source = (indices[pairs] for indices in run)
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
    return Runs(states, np.where(masks[-1][circuit], refs[:, None], CARRIED), questions, task.device), circuit


@torch.no_grad()
def _answers(task: Task, run: Pairs, pairs: slice) -> np.ndarray:
    """Returns the full network's answers with each hidden neuron in turn set to its value on the source, `(H, P)`."""
    base, source = (indices[pairs] for indices in run)
    part, answers = task.part.without_softmax, []
    for layer, values in enumerate(part.activations(task.x)[1:], 1):
        for neuron in range(values.shape[1]):
            x = values[base]
            x[:, neuron] = values[source, neuron]
            for behind in part.layers[layer:]:
                x = behind(x)
            answers.append(task.answered(x))
    return np.stack(answers)
