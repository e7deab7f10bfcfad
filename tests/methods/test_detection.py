"""Detection of known edges: against scikit-learn, and by hand."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_score, recall_score, roc_auc_score

from mi_runner.methods.discovery.detection import is_found, precision_and_recall, roc_auc

EDGES = st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans()), min_size=2, max_size=12)


@given(EDGES)
def test_areas_precision_and_recall_are_those_of_scikit_learn(edges: list[tuple[int, bool, bool]]) -> None:
    scores, truth, circuit = (np.array(column) for column in zip(*edges, strict=True))
    if 0 < truth.sum() < len(truth):
        assert math.isclose(roc_auc(scores, truth), roc_auc_score(truth, scores))
    else:
        assert math.isnan(roc_auc(scores, truth))
    if circuit.any() and truth.any():
        wanted = precision_score(truth, circuit), recall_score(truth, circuit)
        assert np.allclose(precision_and_recall(circuit, truth), wanted)


def test_equal_scores_are_chance_and_the_empty_circuit_has_neither() -> None:
    truth = np.array([True, False, False])
    assert roc_auc(np.ones(3), truth) == 0.5 and roc_auc(np.array([0.0, 1, 1]), truth) == 0
    assert all(math.isnan(share) for share in precision_and_recall(np.zeros(3, bool), truth))


def test_the_truth_is_found_if_one_circuit_has_exactly_its_edges() -> None:
    truth = np.array([True, False, True])
    assert is_found(np.array([[True, True, True], [True, False, True]]), truth)
    assert not is_found(np.array([[True, True, True], [True, False, False]]), truth)
