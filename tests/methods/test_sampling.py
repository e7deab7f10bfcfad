"""How many circuits are valid, from a sample: beside exact counts, and how often the intervals contain the truth."""

from __future__ import annotations

import logging
import math
import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from mi_runner.errors import ArgumentError
from mi_runner.graph.chain import Part
from mi_runner.methods.circuits.examples import CircuitExamples
from mi_runner.methods.circuits.sampling import sample as sampling
from mi_runner.methods.circuits.sampling.drawing import draws_of
from mi_runner.methods.circuits.sampling.estimates import counted, masses
from mi_runner.methods.circuits.sampling.intervals import interval_of_share, interval_of_sum
from mi_runner.methods.circuits.sampling.measured import Answers
from mi_runner.methods.circuits.sampling.populations import count_of, of_populations, whole
from mi_runner.methods.circuits.sampling.result import Estimate, SampledCircuits
from mi_runner.methods.circuits.sampling.sample import allocation, dealt, sample_circuits, seconds_of_sample
from mi_runner.methods.circuits.sampling.splitting import Splitting
from mi_runner.methods.circuits.sampling.strata import strata_of
from mi_runner.methods.circuits.sampling.tally import ACCURACIES, Tally, ValidList, accuracy_of
from mi_runner.methods.circuits.search import CircuitSearch, search_circuits
from tests.small_parts import examples_of, random_part

REPEATS = 200
COVERED = (0.92, 0.98)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def setting(sizes: tuple[int, ...] = (3, 3, 3, 1), n: int = 60, seed: int = 4) -> tuple[Part, CircuitExamples]:
    part = random_part(sizes, ["relu"] * (len(sizes) - 2) + ["identity"], seed=seed)
    return part, replace(examples_of(part, n), valid_by="agreement")


@cache
def exact(sizes: tuple[int, ...] = (3, 3, 3, 1), n: int = 60, threshold: float = 0.7) -> CircuitSearch:
    return search_circuits(*setting(sizes, n), accuracy_threshold=threshold)


def contains(estimate: Estimate, truth: float) -> bool:
    return estimate.low <= truth <= estimate.high


# --- intervals -------------------------------------------------------------------------------------------------------


def test_an_interval_of_equal_weights_is_the_mid_p_interval_of_a_poisson_count() -> None:
    from scipy.stats import poisson

    counts = np.array([0.0, 1, 2, 5, 40])
    low, high = interval_of_sum(3 * counts, 9 * counts, np.array(3.0))
    assert low[0] == 0 and high[0] == pytest.approx(-3 * math.log(0.05))
    assert poisson.cdf(counts - 1, high / 3) + poisson.pmf(counts, high / 3) / 2 == pytest.approx([0.025] * 5)
    assert poisson.sf(counts, low / 3)[1:] + poisson.pmf(counts, low / 3)[1:] / 2 == pytest.approx([0.025] * 4)


def test_an_interval_of_more_than_half_is_the_mirror_image() -> None:
    low, high = interval_of_share(np.array([0.1, 0.9, 1.0]), np.array([0.01, 0.01, 0.0]), np.array(0.1))
    assert [low[0], high[0]] == pytest.approx([1 - high[1], 1 - low[1]])
    assert [low[2], high[2]] == pytest.approx([1 + 0.1 * math.log(0.05), 1])


@pytest.mark.parametrize("n, share", [(2000, 0.004), (2000, 0.03), (300, 0.3), (300, 0.6), (2000, 0.99)])
def test_intervals_of_one_stratum_cover_the_truth(n: int, share: float) -> None:
    drawn = np.random.default_rng(1).binomial(n, share, 4000) / n
    low, high = interval_of_share(drawn, drawn * (1 - drawn) / (n - 1), np.array(1 / n))
    assert COVERED[0] <= ((low <= share) & (share <= high)).mean() <= COVERED[1]


@pytest.mark.parametrize("sd, died", [(0.1, 0.0), (0.5, 0.0), (1.2, 0.0), (0.5, 0.2)])
def test_intervals_of_populations_cover_the_truth(sd: float, died: float) -> None:
    random = np.random.default_rng(2)
    n_covered = 0
    for _ in range(1000):
        logs = random.normal(-(sd**2) / 2, sd, 16) - math.log(1 - died)
        logs[random.random(16) < died] = -math.inf
        estimate = of_populations(logs, 0.0)
        assert estimate is not None and estimate.low <= estimate.value <= estimate.high
        n_covered += estimate.low <= 0 <= estimate.high
    assert COVERED[0] <= n_covered / 1000 <= COVERED[1]


def test_populations_that_died_out_count_as_nothing() -> None:
    logs = np.log([0.5, 0.25, 0.75, 0.5])
    estimate, with_dead = of_populations(logs, 0.0), of_populations(np.array([*logs, *[-math.inf] * 4]), 0.0)
    assert estimate is not None and with_dead is not None
    assert [math.exp(estimate.value), math.exp(with_dead.value)] == pytest.approx([0.5, 0.25])
    assert with_dead.high - with_dead.low > estimate.high - estimate.low
    assert of_populations(np.full(4, -math.inf), 0.0) is None
    # Of one survivor only the variance that the levels have says how far the truth may be.
    alone = of_populations(np.array([0.0, -math.inf]), 0.3)
    assert alone is not None and alone.high - alone.low > 5


def test_a_share_of_a_number_beyond_floats_is_whole() -> None:
    assert whole(10**400, math.log(0.25)) == pytest.approx(10**400 // 4, rel=1e-12)
    assert whole(10**1000, -2000.0) // 10**120 == pytest.approx(math.exp(-2000 + 880 * math.log(10)), rel=1e-9)
    estimate = of_populations(np.log([0.2] * 4), 0.0)
    assert estimate is not None
    assert count_of(estimate, 100, seen=25, most=90) == Estimate(25, 25, 25)
    assert count_of(estimate, 100, seen=3, most=10) == Estimate(10, 10, 10)


# --- coverage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold, samples", [(0.4, 1000), (0.7, 1000), (0.78, 2000), (0.9, 12_000)])
def test_estimates_from_strata_cover_the_truth(threshold: float, samples: int) -> None:
    """The draws of a stratum are a binomial number of valid ones, of its exact share."""
    search, strata = exact(threshold=threshold), strata_of((3, 3, 3, 1), "all")
    valid = _valid_of_strata(search)
    sizes, mass = np.array(strata.sizes), masses(strata)
    random = np.random.default_rng(0)
    found = []
    for _ in range(REPEATS):
        pilot = _drawn(dealt(mass, samples // 10), valid / sizes, random)
        tally = _drawn(allocation(strata, pilot, samples - samples // 10), valid / sizes, random)
        found.append(counted(strata, tally, tally.valid, 1, 1, strata.total))
    assert COVERED[0] <= np.mean([contains(one, search.n_valid) for one in found]) <= COVERED[1]
    values = np.array([one.value for one in found])
    assert values.mean() == pytest.approx(search.n_valid, abs=4 * values.std() / REPEATS**0.5)


def _valid_of_strata(search: CircuitSearch) -> np.ndarray:
    """The valid circuits of each stratum but the full one, of all circuits in a table."""
    space, strata = search.space, strata_of(search.space.sizes, search.space.inputs)
    stratum_of = {}
    for stratum in range(len(strata.sizes)):
        for cell in range(strata.begins[stratum], strata.begins[stratum + 1]):
            stratum_of[(*strata.active[cell].tolist(), int(strata.n_edges[cell]))] = stratum
    valid = np.zeros(len(strata.sizes))
    for circuit in search.valid.tolist():
        if circuit != space.full:
            valid[stratum_of[(*space.active(circuit), circuit.bit_count())]] += 1
    return valid


def _drawn(n_draws: np.ndarray, shares: np.ndarray, random: np.random.Generator) -> Tally:
    valid = random.binomial(n_draws, shares)
    return replace(Tally.empty(len(n_draws), 1), drawn=n_draws, valid=valid)


def test_whole_samples_cover_the_truth() -> None:
    part, examples = setting((2, 3, 3, 1), n=30)
    search = search_circuits(part, examples, accuracy_threshold=0.7)
    shares = search.edge_counts / search.n_valid
    n_covered, edges = 0, []
    for seed in range(REPEATS):
        found = sample_circuits(part, examples, accuracy_threshold=0.7, samples=600, generator=seeded(seed))
        n_covered += contains(found.n_valid, search.n_valid)
        edges.append([contains(edge.share, share) for edge, share in zip(found.edges, shares, strict=True)])
    assert 100 < search.n_valid < 2000
    assert COVERED[0] <= n_covered / REPEATS <= COVERED[1]
    assert 0.92 <= np.mean(edges) <= 0.995


def test_splitting_covers_the_truth() -> None:
    part, examples = setting((2, 3, 3, 1), n=16)
    search = search_circuits(part, examples, accuracy_threshold=0.9)
    answers = Answers.of(part, examples, "zero", torch.device("cpu"))
    draws, random = draws_of(part.sizes, "all"), np.random.default_rng(3)
    splitting = Splitting(draws, answers, search.least_correct, random)
    levels = splitting.pilot(100)
    assert levels is not None and levels[-1].score == search.least_correct and len(levels) > 3
    found = splitting.populations(levels, 8 * REPEATS, 25, lambda steps, note="", /: None)
    share = search.n_valid / search.n_circuits
    estimates = np.exp(found.log_shares)
    assert estimates.mean() == pytest.approx(share, abs=4 * estimates.std() / len(estimates) ** 0.5)
    covered = []
    for logs in found.log_shares.reshape(REPEATS, 8):
        one = of_populations(logs, found.log_variance)
        assert one is not None
        covered.append(one.low <= math.log(share) <= one.high)
    assert COVERED[0] <= np.mean(covered) <= COVERED[1]


# --- beside exact counts ---------------------------------------------------------------------------------------------


def test_everything_that_a_sample_says_is_near_to_the_exact_counts() -> None:
    part, examples = setting()
    search = exact()
    found = sample_circuits(part, examples, accuracy_threshold=0.7, samples=40_000, generator=seeded(1))
    assert (found.space_sizes, found.inputs, found.least_correct) == ((3, 3, 3, 1), "all", search.least_correct)
    assert (found.n_circuits, found.n_circuits_partial) == (search.n_circuits, search.n_circuits_partial)
    assert (found.n_levels, found.n_populations) == (0, 0) and found.n_sampled == pytest.approx(40_000, rel=0.01)
    for estimate, truth in ((found.n_valid, search.n_valid), (found.n_valid_partial, search.n_valid_partial)):
        assert contains(estimate, truth) and estimate.high - estimate.low < truth / 2
    truth = search.edge_counts / search.n_valid
    assert [edge.share.value for edge in found.edges] == pytest.approx(truth, abs=0.03)
    assert sum(contains(edge.share, share) for edge, share in zip(found.edges, truth, strict=True)) >= 18
    assert [edge.without_high is None for edge in found.edges] == [share < 1 for share in truth]
    _check_accuracy(found, search, len(examples))
    listed = {bytes(row) for row in found.valid}
    assert listed <= {bytes(row) for row in search.space.edges.rows(search.valid)} and len(listed) == len(found.valid)
    assert found.valid.mean(0) == pytest.approx(truth, abs=0.05)  # each valid circuit is listed as likely as another


def _check_accuracy(found: SampledCircuits, search: CircuitSearch, n_examples: int) -> None:
    n_covered = 0
    interval = accuracy_of(np.arange(n_examples + 1), n_examples)
    for one in found.accuracy:
        counts = search.counts[:, one.n_edges_low : one.n_edges_high + 1].sum((0, 1))
        truth = counts[interval == round(one.accuracy_from * ACCURACIES)].sum() / counts.sum()
        assert one.n_circuits == counts.sum() and one.n_sampled >= min(one.n_circuits, 2)
        assert one.share.value is None or abs(one.share.value - truth) < 0.35
        n_covered += contains(one.share, truth)
    assert n_covered / len(found.accuracy) > 0.93
    assert sum(one.n_sampled for one in found.accuracy) // ACCURACIES <= found.n_sampled
    assert (found.accuracy[0].accuracy_from, found.accuracy[-1].accuracy_to) == (0, 1)


def test_a_larger_space_is_near_to_its_census() -> None:
    part, examples = setting((2, 4, 4, 1), n=8)
    search = search_circuits(part, examples, accuracy_threshold=0.8, max_table_rows=100)
    found = sample_circuits(part, examples, accuracy_threshold=0.8, samples=20_000, generator=seeded(3))
    assert search.n_circuits == 4_346_385 == found.n_circuits
    assert contains(found.n_valid, search.n_valid) and contains(found.n_valid_partial, search.n_valid_partial)


def test_rare_circuits_are_counted_by_splitting(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "RARE", 0.01)
    part, examples = setting()
    search = exact(threshold=0.95)
    with caplog.at_level(logging.INFO, "mi_runner"):
        found = sample_circuits(part, examples, accuracy_threshold=0.95, samples=20_000, generator=seeded(2))
    assert found.n_levels >= 4 and found.n_populations == 16
    said = rf"multilevel splitting, {found.n_levels} levels, 16 populations of \d+ circuits, about \d+ s"
    assert re.search(said, caplog.text)
    assert contains(found.n_valid, search.n_valid) and contains(found.n_valid_partial, search.n_valid_partial)
    truth = search.edge_counts / search.n_valid
    assert [edge.share.value for edge in found.edges] == pytest.approx(truth, abs=0.05)
    valid = {bytes(row) for row in search.space.edges.rows(search.valid)}
    assert {bytes(row) for row in found.valid} <= valid and len(found.valid) > 0.8 * len(valid)
    assert found.n_sampled > 20_000


# --- what is not known -----------------------------------------------------------------------------------------------


def test_without_a_valid_circuit_there_is_only_an_upper_bound(caplog: pytest.LogCaptureFixture) -> None:
    part = random_part((3, 3, 3, 1), ["tanh", "tanh", "sigmoid"])
    examples = replace(examples_of(part), target=torch.full((60,), 9.0))
    found = sample_circuits(part, examples, accuracy_threshold=0.5, samples=3000)
    assert "multilevel splitting reaches none" in caplog.text
    assert found.n_valid.value is None and found.n_valid.low == 0
    assert found.n_valid.high == pytest.approx(94_590 * -math.log(0.05) / 2700, rel=0.7)
    assert found.n_valid_partial.value is None and 0 < found.n_valid_partial.high <= found.n_circuits_partial
    assert all(edge.share == Estimate(None, 0.0, 1.0) and edge.without_high == 1.0 for edge in found.edges)
    assert found.valid.shape == (0, 21) and found.n_levels == 0
    drawn = [one for one in found.accuracy if one.share.value is not None]
    assert all(one.share.value == pytest.approx(float(one.accuracy_from == 0)) for one in drawn)


def test_a_threshold_that_no_circuit_can_pass_has_no_valid_ones() -> None:
    part, examples = setting((2, 2, 2, 1), 30)
    found = sample_circuits(part, examples, accuracy_threshold=1.0, samples=500)
    assert found.least_correct == 31
    assert found.n_valid == found.n_valid_partial == Estimate(0, 0, 0)


def test_the_only_circuit_of_a_space_is_known() -> None:
    part = random_part((3, 1), ["identity"])
    examples = replace(examples_of(part), valid_by="agreement")
    found = sample_circuits(part, examples, accuracy_threshold=0.9, samples=100)
    assert found.n_circuits == 1 and found.n_valid == Estimate(1, 1, 1) and found.n_sampled == 1
    assert found.valid.tolist() == [[True] * 3]
    assert [edge.share for edge in found.edges] == [Estimate(1.0, 1.0, 1.0)] * 3
    shares = [one.share for one in found.accuracy if one.share.value]
    assert shares == [Estimate(1.0, 1.0, 1.0)]


def test_the_full_circuit_is_seen_even_if_none_is_drawn() -> None:
    search, strata = exact(threshold=0.98), strata_of((3, 3, 3, 1), "all")
    nothing = Tally.empty(len(strata.sizes), 21)
    estimate = counted(strata, replace(nothing, drawn=dealt(masses(strata), 1000)), nothing.valid, 1, 1, strata.total)
    assert estimate.value is None and estimate.low == 1 and estimate.high > search.n_valid


def test_samples_are_the_same_for_one_seed() -> None:
    part, examples = setting((2, 3, 3, 1), 20)
    first, again, other = (
        sample_circuits(part, examples, accuracy_threshold=0.8, samples=500, generator=seeded(seed)).n_valid
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_a_list_is_cut_at_random_and_thinned_by_weights() -> None:
    random = np.random.default_rng(0)
    rows = (np.arange(4096)[:, None] >> np.arange(12) & 1).astype(bool)
    partial = np.zeros(4096, dtype=bool)
    listed = ValidList(12, 300, random)
    for start in range(0, 4096, 512):
        some = slice(start, start + 512)
        listed.add(rows[some], partial[some], np.where(rows[some, 0], 1.0, 0.25))
    cut = listed.rows()
    assert cut.shape == (300, 12) and len(np.unique(cut, axis=0)) == 300
    assert cut[:, 0].mean() == pytest.approx(0.8, abs=0.08)  # one of four others is kept
    assert cut[:, 1:].mean(0) == pytest.approx([0.5] * 11, abs=0.12)
    assert (listed.n_seen, listed.n_seen_partial) == (4096, 0)
    few = ValidList(12, 300, random)
    few.add(rows[[1, 1, 3]], np.array([True, True, False]), None)
    assert few.rows().shape == (0, 12) and (few.n_seen, few.n_seen_partial) == (2, 1)


def test_strata_get_draws_by_size_variance_and_edges() -> None:
    strata = strata_of((3, 3, 3, 1), "all")
    mass = masses(strata)
    pilot = replace(Tally.empty(len(mass), 1), drawn=dealt(mass, 2000))
    alike = allocation(strata, pilot, 10_000)
    assert alike.sum() == pytest.approx(10_000, rel=0.02) and alike.min() >= 2
    largest = int(mass.argmax())
    varied = replace(pilot, valid=np.where(np.arange(len(mass)) == largest, pilot.drawn // 2, 0))
    more = allocation(strata, varied, 10_000)
    assert more[largest] > 2 * alike[largest]
    # No circuit stands for more than about twice as many as without strata.
    assert (mass / more).max() < 2.05 / 10_000


def test_the_time_of_a_sample_is_estimated() -> None:
    part, examples = setting((2, 2, 2, 1), 20)
    seconds = seconds_of_sample(part, examples, 1000)
    assert 0 < seconds < seconds_of_sample(part, examples, 10**9)


def test_examples_and_thresholds_are_checked() -> None:
    part, examples = setting((2, 2, 2, 1), 20)
    with pytest.raises(ArgumentError, match="accuracy_threshold=1.5: give a number between 0 and 1"):
        sample_circuits(part, examples, accuracy_threshold=1.5)
    with pytest.raises(ArgumentError, match="of the 3 activations that enter the part"):
        sample_circuits(random_part((3, 2, 1), ["relu", "identity"]), examples, accuracy_threshold=0.5)
