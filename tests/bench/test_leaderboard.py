"""A bench's leaderboard: by hand, against pandas and scipy, and what its sentences say of winners and ties."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata, t, wilcoxon

from mi_runner.bench.figures import leaderboard as drawn
from mi_runner.bench.leaderboard import Leaderboard, leaderboard_of
from mi_runner.bench.networks import BENCH_1, PLANTED, TRAINED, Family, NetworkList, Setting
from mi_runner.bench.tables import LEADERBOARD, MEASURES, PAIRS, RANDOM, SPREAD
from tests.drawn import legend, near, ticks, words

Row = dict[str, Any]

ABLATIONS = ("zero", "mean")


def listed(**families: tuple[str, int]) -> NetworkList:
    """A list of families, each of a kind and with so many settings: s0, s1, …"""
    made = (
        Family(name, kind, "small networks", (), tuple(Setting(f"s{place}", ()) for place in range(n)), 1.0)
        for name, (kind, n) in families.items()
    )
    return NetworkList("bench-0", (), tuple(made), 2)


SMALL = listed(xor=(TRAINED, 1), conj=(PLANTED, 1))
LARGE = listed(xor=(TRAINED, 3), parity=(TRAINED, 4), plain=(PLANTED, 4), noise=(PLANTED, 4))


def result(network: tuple[str, str, int], method: str, ablation: str, cpr: float | None, **measured: Any) -> Row:
    """A row of RESULTS in which only cpr and what is given has a value."""
    family, setting, seed = network
    names = {"family": family, "setting": setting, "seed": seed, "method": method, "ablation": ablation}
    empty = {measure.name: None for measure in MEASURES}
    return {**names, **empty, "cpr": cpr, **measured, "kind": "", "job": 0}


def about(rows: Sequence[Row]) -> list[Row]:
    """Rows of NETWORKS of networks that are all judged."""
    names = dict.fromkeys((row["family"], row["setting"], row["seed"]) for row in rows)
    return [dict(zip(("family", "setting", "seed"), name, strict=True)) | {"status": "judged"} for name in names]


def made(of: NetworkList, rows: Sequence[Row]) -> Leaderboard:
    found = leaderboard_of(of, rows, about(rows))
    for table, own in ((LEADERBOARD, found.rows), (PAIRS, found.pairs), (SPREAD, found.spread)):
        table.filled(own)
    return found


def row_of(rows: Sequence[Row], networks: str, method: str, **names: str) -> Row:
    (found,) = (
        row for row in rows if (row["networks"], row["method"]) == (networks, method) and names.items() <= row.items()
    )
    return found


def drawn_results(seed: int, of: NetworkList = LARGE, methods: str = "abcd", n_seeds: int = 3) -> list[Row]:
    """Random results of which some measures are empty, and a and b have the same cpr on some networks."""
    draw = np.random.default_rng(seed)
    rows = []
    for family, number in itertools.product(of.families, range(n_seeds)):
        for setting in family.settings:
            name = family.name, setting.name, number
            level, tie = draw.normal(0.4, 0.2), draw.random() < 0.4
            for ablation in ABLATIONS:
                cpr = {method: level + 0.2 * (method == "c") + draw.normal(0, 0.1) for method in methods}
                if tie:
                    cpr["b"] = cpr["a"] + 1e-12  # rounding
                for method in methods:
                    regret = None if draw.random() < 0.3 else float(draw.random())
                    auc = float(draw.random()) if family.kind == PLANTED else None
                    rows.append(result(name, method, ablation, float(cpr[method]), regret=regret, roc_auc=auc))
    return rows


# --- by hand -------------------------------------------------------------------------------------------------------


def test_two_settings_of_two_networks_by_hand() -> None:
    """Of a and random: xor s0 0 and 1, conj s0 0 and 1; the units of `all` are two settings, of xor two networks."""
    cpr = {
        ("xor", "s0", 0): {"a": (0.5, 0.7), "random": (0.2, 0.2)},  # means 0.6, 0.2
        ("xor", "s0", 1): {"a": (0.8, 0.8), "random": (0.9, 0.7)},  # 0.8, 0.8: they tie
        ("conj", "s0", 0): {"a": (0.1, 0.3), "random": (0.3, 0.3)},  # 0.2, 0.3
        ("conj", "s0", 1): {"a": (0.4, 0.4), "random": (0.1, 0.1)},  # 0.4, 0.1
    }
    rows = [
        result(network, method, ablation, value, percentile=None if ablation == "mean" else value)
        for network, methods in cpr.items()
        for method, values in methods.items()
        for ablation, value in zip(ABLATIONS, values, strict=True)
    ]
    found = made(SMALL, rows)
    assert [(row["networks"], row["method"]) for row in found.rows] == list(
        itertools.product(("all", "trained", "planted", "xor", "conj"), ("a", "random"))
    )
    a, random = (row_of(found.rows, "all", name) for name in ("a", "random"))
    assert (a["cpr"], random["cpr"]) == (near(0.5), near(0.35))  # (0.7 + 0.3) / 2, (0.5 + 0.2) / 2
    assert (a["mean_rank"], random["mean_rank"]) == (1.375, 1.625)  # xor 1 and 1½, conj 2 and 1
    assert a["percentile"] == near((0.5 + 0.8 + 0.1 + 0.4) / 4)  # that of zero ablation alone
    assert (a["n_units"], a["unit"], a["n_networks"]) == (2, "setting", 4)
    assert a["regret"] is None and a["regret_low"] is None
    # Differences of the settings: 0.2 and 0.1; mean 0.15, standard error 0.05, t 3 with one degree of freedom.
    (pair,) = (row for row in found.pairs if row["networks"] == "all")
    assert (pair["method"], pair["other"], pair["n_higher"], pair["n_lower"]) == ("a", "random", 2, 0)
    p = 0.5  # of four patterns of signs, two are as extreme
    assert (pair["difference"], pair["p"], pair["p_holm"]) == (near(0.15), p, p)
    assert [pair["difference_low"], pair["difference_high"]] == pytest.approx([0.15 - 12.7062 * 0.05, 0.15 + 0.635310])
    assert (a["p_best"], random["p_best"], a["p_random"], random["p_random"]) == (None, p, p, None)
    assert (a["beside_random"], random["beside_random"]) == ("ties", None)
    assert a["best"] and random["best"]  # two units tell nothing apart
    # Of a family the units are its networks; of a kind with one setting there is one unit, which tells nothing.
    own = row_of(found.rows, "xor", "a")
    assert (own["n_units"], own["unit"], own["mean_rank"]) == (2, "network", 1.25)
    one = row_of(found.rows, "trained", "a")
    assert (one["n_units"], one["cpr"], one["cpr_low"], one["p_random"]) == (1, near(0.7), None, 1)
    (pair,) = (row for row in found.pairs if row["networks"] == "trained")
    assert (pair["p"], pair["p_holm"], pair["n_units"]) == (1, 1, 1)


def test_the_spread_of_one_method_by_hand() -> None:
    """Two settings of two networks with two ablations: 0 2 | 2 4 || 4 6 | 6 8, and in the last network 2 more, 2 less.

    Mean 4. Settings' means 2 and 6: 8 · 4 = 32. Networks' means 1, 3, 5, 7: 2 · 4 · 1 = 8. Ablations' means with the
    change, 3.5 and 4.5: 8 · ¼ = 2. The rest: the differences 2, 2, 2, −2 around their mean 1: ½ (1 + 1 + 1 + 9) = 6.
    """
    values = {("xor", "s0", 0): (0, 2), ("xor", "s0", 1): (2, 4), ("conj", "s0", 0): (4, 6), ("conj", "s0", 1): (8, 6)}
    rows = [
        result(network, "a", ablation, float(value))
        for network, own in values.items()
        for ablation, value in zip(ABLATIONS, own, strict=True)
    ]
    found = made(SMALL, rows)
    (row,) = (row for row in found.spread if row["networks"] == "all")
    assert [row[name] for name in ("of_setting", "of_seed", "of_ablation", "of_rest")] == near(
        [32 / 48, 8 / 48, 2 / 48, 6 / 48]
    )
    assert row["sd"] == near(np.std([0, 2, 2, 4, 4, 6, 8, 6], ddof=1)) and row["n_networks"] == 4
    (of_family,) = (row for row in found.spread if row["networks"] == "xor")  # of one setting
    assert of_family["of_setting"] is None
    assert [of_family[name] for name in ("of_seed", "of_ablation", "of_rest")] == near([0.5, 0.5, 0])
    one = made(SMALL, [row for row in rows if row["ablation"] == "zero"]).spread[0]
    assert (one["of_ablation"], one["of_rest"]) == (None, None) and one["of_setting"] + one["of_seed"] == near(1)
    equal = made(SMALL, [{**row, "cpr": 0.1} for row in rows]).spread[0]
    assert (
        equal["sd"] == 0 and equal["of_setting"] is equal["of_seed"] is equal["of_ablation"] is equal["of_rest"] is None
    )
    single = made(SMALL, rows[:1]).spread[0]
    assert single["sd"] is None and single["of_setting"] is None and single["n_networks"] == 1


def test_networks_without_a_cpr_of_every_method_with_every_ablation_count_nowhere() -> None:
    rows = drawn_results(3)
    lacking = [dict(row) for row in rows]
    first = next(row for row in lacking if row["family"] == "xor")
    first["cpr"] = None
    left = {name: first[name] for name in ("family", "setting", "seed")}
    without = [row for row in rows if not left.items() <= row.items()]
    assert len(without) == len(rows) - 8
    found = leaderboard_of(LARGE, lacking, about(rows))
    assert found.rows == made(LARGE, without).rows and found.spread == made(LARGE, without).spread
    assert "Over 44 networks (15 settings) of bench-0" in found.answer
    assert found.answer.endswith("1 network without a cpr of every method is left out.")
    assert (
        found.answer.removesuffix(" 1 network without a cpr of every method is left out.")
        == made(LARGE, without).answer
    )
    # So is one without a row of a method.
    fewer = [row for row in rows if row != first and row is not rows[lacking.index(first)]]
    assert leaderboard_of(LARGE, fewer, about(rows)).rows == found.rows


# --- against pandas and scipy --------------------------------------------------------------------------------------


def units_of(rows: Sequence[Row], families: Sequence[str], unit: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every measure, and the rank, of each unit and method, by pandas."""
    frame = pd.DataFrame(rows)
    frame = frame[frame["family"].isin(families)]
    names = [measure.name for measure in MEASURES]
    frame[names] = frame[names].astype(float)
    of_network = frame.groupby(["family", "setting", "seed", "method"])[names].mean()
    table = of_network["cpr"].round(9).unstack("method")
    ranks = pd.DataFrame([rankdata(-row) for row in table.to_numpy()], index=table.index, columns=table.columns)
    of_unit = of_network.groupby([*unit, "method"]).mean()
    return of_unit, ranks.groupby(list(unit)).mean()


def holm_by_definition(p_values: Sequence[float]) -> np.ndarray:
    """The i-th smallest of m times m − i + 1, and none smaller than those before it."""
    p = np.asarray(p_values)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    return np.minimum(1, steps[np.argsort(order, kind="stable")])


def p_of(differences: np.ndarray) -> float:
    """The two-sided p-value of signed ranks: scipy's exact one; with ties or zeros that of all patterns of signs.

    Sums of patterns are counted in whole numbers, of doubled ranks.
    """
    own = differences[differences != 0]
    if len(own) == len(differences) == len(np.unique(np.abs(own))):
        return float(wilcoxon(own, method="exact").pvalue)
    doubled = (2 * rankdata(np.abs(own))).astype(int)
    sums = Counter({0: 1})
    for rank in doubled.tolist():
        moved = Counter({total - rank: count for total, count in sums.items()})
        moved.update({total + rank: count for total, count in sums.items()})
        sums = moved
    observed = abs(int((np.sign(own) * doubled).sum()))
    return sum(count for total, count in sums.items() if abs(total) >= observed) / 2 ** len(own)


def sum_of(differences: np.ndarray) -> float:
    """The sum of signed ranks without those of zeros."""
    own = differences[differences != 0]
    return float((np.sign(own) * rankdata(np.abs(own))).sum())


def groups_of(of: NetworkList) -> Iterator[tuple[str, list[str], list[str]]]:
    """Each row's name, its families, and what a unit is."""
    yield "all", [family.name for family in of.families], ["family", "setting"]
    for kind in (TRAINED, PLANTED):
        yield kind, [family.name for family in of.families if family.kind == kind], ["family", "setting"]
    for family in of.families:
        yield family.name, [family.name], ["family", "setting", *(["seed"] if family.kind == TRAINED else [])]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_means_ranks_and_tests_are_those_of_pandas_and_scipy(seed: int) -> None:
    rows = drawn_results(seed, methods="abcd") if seed else drawn_results(seed, methods=["a", "b", "c", "random"])
    found = made(LARGE, rows)
    for name, families, unit in groups_of(LARGE):
        measured, ranks = units_of(rows, families, unit)
        cpr = measured["cpr"].unstack("method")
        mean_ranks = ranks.mean().round(9)
        best = mean_ranks.sort_index().idxmin()
        pairs = list(itertools.combinations(sorted(cpr), 2))
        differences = {(one, other): (cpr[one] - cpr[other]).round(9).to_numpy() for one, other in pairs}
        # Where the sum of ranks is positive, the first is the better one by the test; where the gap is, by mean ranks.
        sums = {pair: sum_of(differences[pair]) for pair in pairs}
        gaps = {(one, other): mean_ranks[other] - mean_ranks[one] for one, other in pairs}
        p = {pair: p_of(differences[pair]) for pair in pairs}
        p_holm = dict(zip(pairs, holm_by_definition(list(p.values())), strict=True))
        with_random = [pair for pair in pairs if "random" in pair]
        p_random = dict(zip(with_random, holm_by_definition([p[pair] for pair in with_random]), strict=True))
        for method in cpr:
            row = row_of(found.rows, name, method)
            values = cpr[method]
            ends = t.interval(0.95, len(values) - 1, values.mean(), values.std() / math.sqrt(len(values)))
            assert [row["cpr"], row["cpr_low"], row["cpr_high"]] == pytest.approx([values.mean(), *ends], abs=1e-8)
            assert row["mean_rank"] == near(ranks[method].mean())
            for measure in ("regret", "roc_auc"):
                own = measured[measure].unstack("method")[method].dropna()
                assert row[measure] == (near(own.mean()) if len(own) else None)
            pair = tuple(sorted((method, best)))
            assert row["p_best"] == (None if method == best else pytest.approx(p_holm[pair], rel=1e-9))
            assert row["best"] == (method == best or p_holm[pair] >= 0.05 or sums[pair] * gaps[pair] <= 0)
            pair = tuple(sorted((method, "random")))
            assert row["p_random"] == (pytest.approx(p_random[pair], rel=1e-9) if pair in p_random else None)
            if pair in p_random:
                is_told = p_random[pair] < 0.05 and sums[pair] * gaps[pair] > 0
                is_ahead = mean_ranks[method] < mean_ranks["random"]
                assert row["beside_random"] == ("ties" if not is_told else "ahead" if is_ahead else "behind")
            else:
                assert row["beside_random"] is None
            assert row["n_units"] == len(values) and row["n_networks"] == len(rows_of(rows, families)) // 8
        for one, other in pairs:
            (row,) = (
                row for row in found.pairs if (row["networks"], {row["method"], row["other"]}) == (name, {one, other})
            )
            first, second = cpr[row["method"]], cpr[row["other"]]
            assert mean_ranks[row["method"]] <= mean_ranks[row["other"]]
            difference = first - second
            ends = t.interval(
                0.95, len(difference) - 1, difference.mean(), difference.std() / math.sqrt(len(difference))
            )
            assert row["difference"] == near(difference.mean())
            if row["difference_low"] is not None:
                assert [row["difference_low"], row["difference_high"]] == pytest.approx(ends, abs=1e-7)
            assert [row["p"], row["p_holm"]] == pytest.approx([p[one, other], p_holm[one, other]], rel=1e-9)
            difference = (first - second).round(9)
            assert (row["n_higher"], row["n_lower"]) == ((difference > 0).sum(), (difference < 0).sum())


def rows_of(rows: Sequence[Row], families: Sequence[str]) -> list[Row]:
    return [row for row in rows if row["family"] in families]


@pytest.mark.parametrize("seed", [0, 1])
def test_the_spread_is_that_of_least_squares(seed: int) -> None:
    """What a model with one more factor explains of the sum of squares, one factor behind the other."""
    rows = drawn_results(seed)
    rows = [
        row for row in rows if (row["family"], row["seed"]) != ("noise", 2)
    ]  # settings of two and of three networks
    found = made(LARGE, rows)
    for name, families, _ in groups_of(LARGE):
        frame = pd.DataFrame(rows_of(rows, families))
        for method, own in frame.groupby("method"):
            y = own["cpr"].astype(float).to_numpy()
            setting = pd.get_dummies(own["family"] + own["setting"]).to_numpy(float)
            network = pd.get_dummies(own["family"] + own["setting"] + own["seed"].astype(str)).to_numpy(float)
            ablation = pd.get_dummies(own["ablation"]).to_numpy(float)
            models = [np.ones((len(y), 1)), setting, network, np.hstack([network, ablation])]
            left = [((y - x @ np.linalg.lstsq(x, y, rcond=None)[0]) ** 2).sum() for x in models]
            row = row_of(found.spread, name, str(method))
            shares = [row[column] for column in ("of_setting", "of_seed", "of_ablation", "of_rest")]
            assert shares == pytest.approx([*(-np.diff(left) / left[0]), left[-1] / left[0]], abs=1e-7)
            assert row["sd"] == pytest.approx(y.std(ddof=1), abs=1e-8)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_the_order_of_rows_changes_nothing_and_shares_add_to_one(data: st.DataObject) -> None:
    values = st.integers(-4, 4).map(lambda number: number / 4)
    networks = data.draw(
        st.lists(
            st.tuples(st.sampled_from(["xor", "parity", "plain"]), st.sampled_from(["s0", "s1"]), st.integers(0, 3)),
            min_size=1,
            max_size=8,
            unique=True,
        )
    )
    methods = data.draw(st.sampled_from([["a"], ["random", "a"], ["b", "random", "a"]]))
    ablations = data.draw(st.sampled_from([["zero"], ["zero", "mean"]]))
    rows = [
        result(network, method, ablation, data.draw(values), regret=data.draw(st.none() | values.map(abs)))
        for network, method, ablation in itertools.product(networks, methods, ablations)
    ]
    found = made(LARGE, rows)
    assert made(LARGE, data.draw(st.permutations(rows))) == found
    assert len(found.rows) == len(found.spread) == len({row["networks"] for row in found.rows}) * len(methods)
    for row in found.spread:
        shares = [row[f"of_{name}"] for name in ("setting", "seed", "ablation", "rest")]
        known = [share for share in shares if share is not None]
        assert all(share >= 0 for share in known) and (sum(known) == near(1) if known else row["sd"] in (0, None))
    for name in {row["networks"] for row in found.rows}:
        own = [row for row in found.rows if row["networks"] == name]
        assert sum(row["mean_rank"] for row in own) == near(sum(range(1, len(methods) + 1)))
        assert own[0]["best"] and own[0]["p_best"] is None
        assert own[0]["mean_rank"] == near(min(row["mean_rank"] for row in own))


# --- what is said --------------------------------------------------------------------------------------------------


def clear(methods: dict[str, float], of: NetworkList = LARGE, n_seeds: int = 1) -> list[Row]:
    """Methods at these levels of cpr, with a little that differs from network to network and from method to method."""
    draw = np.random.default_rng(0)
    names = [
        (family.name, setting.name, n) for n in range(n_seeds) for family in of.families for setting in family.settings
    ]
    return [
        result(name, method, ablation, level + float(draw.normal(0, 0.01)))
        for name, (method, level), ablation in itertools.product(names, methods.items(), ABLATIONS)
    ]


def test_the_answer_names_the_lowest_mean_rank_with_what_ties_and_the_kinds_in_short() -> None:
    """a and d are equal everywhere, c and random differ by chance: ranks 1½, 1½, 3, and 4 or 5."""
    rows = clear({"random": 0.1, "a": 0.8, "b": 0.5, "c": 0.1}, n_seeds=2)
    rows += [{**row, "method": "d"} for row in rows if row["method"] == "a"]
    found = made(LARGE, rows)
    last, other = sorted(("random", "c"), key=lambda method: -row_of(found.rows, "all", method)["mean_rank"])
    ranks = [f"{row_of(found.rows, 'all', method)['mean_rank']:.4g}" for method in (last, other)]
    assert float(ranks[0]) + float(ranks[1]) == near(9) and ranks[0] != ranks[1]
    assert found.answer == (
        "Over 30 networks (15 settings) of bench-0 the lowest mean rank by cpr is 1.5, that of a and d. "
        f"The highest is {ranks[0]}, that of {last}; {other} ({ranks[1]}) ties with it. "
        "Compared with random alone, c is not told apart from it. "
        "The trained ones, 14 networks (7 settings), are too few to tell methods apart. "
        "The planted ones, 16 networks (8 settings), are too few to tell methods apart. "
        "The test is paired over 15 settings, corrected for all pairs, at 5 %: what it doesn't tell apart ties."
    )
    # Of ten pairs 2 / 2⁸ isn't below 5 %; of three pairs 2 / 2⁷ is.
    said = made(LARGE, clear({"random": 0.1, "a": 0.8, "b": 0.5})).answer
    assert "Over the trained ones, 7 networks (7 settings), the lowest is 1, that of a. " in said
    assert "Over the planted ones, 8 networks (8 settings), the lowest is 1, that of a. " in said


def test_every_method_that_differs_from_random_is_said_with_those_behind_it() -> None:
    found = made(LARGE, clear({"random": 0.5, "a": 0.8, "b": 0.2, "c": 0.1}))
    assert "Compared with random alone, all are told apart from it; b and c are worse than it." in found.answer
    assert [row["beside_random"] for row in found.rows if row["networks"] == "all"] == ["ahead", None, *["behind"] * 2]
    said = made(LARGE, clear({"random": 0.5, "a": 0.5, "b": 0.5, "c": 0.1})).answer
    assert "random alone, a and b are not told apart from it; c is worse than it." in said or (
        "random alone, b and a are not told apart from it; c is worse than it." in said
    )
    without = made(LARGE, clear({"a": 0.5, "b": 0.2, "c": 0.1}))
    assert "random" not in without.answer and {row["beside_random"] for row in without.rows} == {None}


def test_of_few_settings_nothing_is_told_apart_and_no_winner_is_named() -> None:
    """Five settings, however clear the difference: of 32 patterns two are as extreme, and Holm counts three pairs."""
    few = listed(xor=(TRAINED, 3), plain=(PLANTED, 2))
    found = made(few, clear({"random": 0.1, "a": 0.9, "b": 0.5}, few, n_seeds=4))
    a, b, random = (row_of(found.rows, "all", method) for method in ("a", "b", "random"))
    assert (b["p_best"], random["p_best"], a["p_random"]) == (3 * 2 / 32, 3 * 2 / 32, 2 * 2 / 32)
    assert a["best"] and b["best"] and random["best"]
    assert found.answer == (
        "Over 20 networks (5 settings) of bench-0 no two of 3 methods are told apart by their mean rank by cpr, from "
        "1 (a) to 3 (random). "
        "The trained ones, 12 networks (3 settings), are too few to tell methods apart. "
        "The planted ones, 8 networks (2 settings), are too few to tell methods apart. "
        "The test is paired over 5 settings, corrected for all pairs, at 5 %: what it doesn't tell apart ties; fewer "
        "than 7 tell nothing apart."
    )
    # A family has networks as units, here twelve: its row names the best.
    assert row_of(found.rows, "xor", "a")["best"] and not row_of(found.rows, "xor", "b")["best"]


def test_one_network_with_a_hugely_negative_cpr_hides_no_difference_and_makes_no_winner() -> None:
    """a is better than b everywhere but on one setting, where it is so bad that its mean is far below."""
    rows = clear({"random": 0.1, "a": 0.8, "b": 0.5})
    for row in rows:
        if (row["family"], row["setting"], row["method"]) == ("xor", "s1", "a"):
            row["cpr"] = -1e6
    found = made(LARGE, rows)
    a, b = (row_of(found.rows, "all", method) for method in ("a", "b"))
    assert a["cpr"] < -60_000 and a["cpr_low"] < b["cpr"] < a["cpr_high"]
    assert (a["mean_rank"], b["mean_rank"]) == (near((14 + 3) / 15), near((14 * 2 + 1) / 15))
    # The one negative difference has rank 15: as extreme are patterns with negative ranks that add up to at most 15.
    (pair,) = (row for row in found.pairs if (row["networks"], row["method"], row["other"]) == ("all", "a", "b"))
    subsets = sum(sum(of) <= 15 for n in range(6) for of in itertools.combinations(range(1, 16), n))
    assert (
        pair["p"] == 2 * subsets / 2**15 and pair["difference"] < 0 and (pair["n_higher"], pair["n_lower"]) == (14, 1)
    )
    assert a["best"] and not b["best"] and a["beside_random"] == b["beside_random"] == "ahead"


def test_what_the_test_and_the_mean_ranks_call_differently_is_not_told_apart() -> None:
    """random is above a by 0.1 or more in 14 of 15 settings; in one it is below by 0.01, and 14 others lie between."""
    others = [f"m{place:02}" for place in range(14)]
    places = [(family.name, setting.name, 0) for family in LARGE.families for setting in family.settings]
    rows = []
    for number, name in enumerate(places):
        cpr = {"a": 0.5, RANDOM: 0.6 + number / 100} | dict.fromkeys(others, -1.0)
        if not number:
            cpr |= {RANDOM: 0.49} | {method: 0.491 + place / 2000 for place, method in enumerate(others)}
        rows += [result(name, method, "zero", value) for method, value in cpr.items()]
    found = made(LARGE, rows)
    a, random = (row_of(found.rows, "all", method) for method in ("a", RANDOM))
    assert (a["mean_rank"], random["mean_rank"]) == (near((1 + 14 * 2) / 15), near((16 + 14 * 1) / 15))
    (pair,) = (row for row in found.pairs if (row["networks"], row["method"], row["other"]) == ("all", "a", RANDOM))
    assert pair["p"] == 4 / 2**15 and pair["p_holm"] < 0.05 and pair["n_lower"] == 14
    assert a["p_random"] < 0.05 and a["beside_random"] == "ties"
    assert random["p_best"] < 0.05 and random["best"] and a["best"]
    assert "the lowest mean rank by cpr is 1.933, that of a; random (2) ties with it." in found.answer
    assert (
        "random alone, a is not told apart from it; m13, m12, m11, m10, m09 and 9 others are worse than it."
        in found.answer
    )


def test_methods_that_differ_by_the_same_everywhere_have_equal_ranks_of_differences() -> None:
    one = listed(xor=(TRAINED, 1))
    rows = [
        result(("xor", "s0", seed), method, ablation, level)
        for seed, (method, level), ablation in itertools.product(range(9), {"a": 0.7, "random": 0.1}.items(), ABLATIONS)
    ]
    found = made(one, rows)
    (pair,) = (row for row in found.pairs if row["networks"] == "xor")
    assert (pair["difference"], pair["p"], pair["p_holm"], pair["n_higher"]) == (near(0.6), 2 / 2**9, 2 / 2**9, 9)
    assert pair["difference_low"] is pair["difference_high"] is None
    a, random = (row_of(found.rows, "xor", method) for method in ("a", "random"))
    assert (a["p_random"], random["p_best"], a["best"], random["best"]) == (2 / 2**9, 2 / 2**9, True, False)
    equal = made(one, [{**row, "cpr": 0.1 + 1e-13 * place} for place, row in enumerate(rows)])
    (pair,) = (row for row in equal.pairs if row["networks"] == "xor")
    assert (pair["p"], pair["p_holm"], pair["n_higher"], pair["n_lower"]) == (1.0, 1.0, 0, 0)
    assert [row["mean_rank"] for row in equal.rows] == [1.5] * len(equal.rows)
    assert "all of a and random have the same mean rank by cpr, 1.5." in equal.answer


def test_the_answer_of_one_method_and_of_none() -> None:
    rows = clear({"a": 0.5}, listed(xor=(TRAINED, 1)))
    found = made(listed(xor=(TRAINED, 1)), rows)
    assert found.answer == f"Over 1 network (1 setting) of bench-0 the mean cpr of a is {found.rows[0]['cpr']:.4g}."
    assert found.pairs == [] and found.rows[0]["mean_rank"] == 1
    assert leaderboard_of(SMALL, [], []) == Leaderboard([], [], [], "No network of bench-0 is judged.")


def test_what_is_left_out_is_said_with_its_reason() -> None:
    rows = clear({"random": 0.1, "a": 0.8, "b": 0.5})
    names = [("xor", "s1", "not learned"), ("xor", "s0", "not learned"), ("xor", "s1", "not learned")]
    names += [("plain", "s0", "failed"), ("plain", "s0", "running"), ("noise", "s0", "failed")]
    others = [{"family": family, "setting": own, "seed": 9, "status": status} for family, own, status in names]
    said = leaderboard_of(LARGE, rows, [*about(rows), *others]).answer
    assert said.removeprefix(made(LARGE, rows).answer) == (
        " 3 of 21 networks did not learn the task and are left out: 2 of xor s1 and 1 of xor s0."
        " 3 of 21 networks have no results: 2 failed and 1 running."
    )
    assert leaderboard_of(LARGE, [], others[:1]).answer == (
        "No network of bench-0 is judged. 1 of 1 network did not learn the task and is left out: 1 of xor s1."
    )


def test_all_of_the_list_has_its_place() -> None:
    rows = drawn_results(0, BENCH_1, n_seeds=1)
    found = made(BENCH_1, rows)
    assert list(dict.fromkeys(row["networks"] for row in found.rows)) == [
        *("all", "trained", "planted"),
        *(family.name for family in BENCH_1.families),
    ]


# --- the figure ----------------------------------------------------------------------------------------------------


def test_the_figure_has_the_means_of_each_kind_and_the_ranks_in_each_family() -> None:
    found = made(LARGE, drawn_results(5))
    figure = drawn(found.rows)
    left, right, _ = figure.axes
    assert words(figure)[:2] == [("mean cpr, 95 % interval", "", ""), ("", "", "mean rank by cpr, 1 the best")]
    methods = [row["method"] for row in found.rows if row["networks"] == "all"]
    assert ticks(left, "y") == dict(enumerate(methods))
    assert list(legend(left)) == ["trained, 7 settings", "planted, 8 settings"]
    lines = [
        tuple(np.concatenate([line.get_xdata(), line.get_ydata()])) for line in left.lines if len(line.get_xdata())
    ]
    expected = []
    for kind, shift in (("trained", -0.175), ("planted", 0.175)):
        for row in (row for row in found.rows if row["networks"] == kind):
            height = methods.index(row["method"]) + shift
            expected += [(row["cpr"], height), (row["cpr_low"], row["cpr_high"], height, height)]
    assert [len(line) for line in lines] == [len(line) for line in expected]
    assert all(line == near(own) for line, own in zip(lines, expected, strict=True))
    families = [family.name for family in LARGE.families]
    assert list(ticks(right, "x").values()) == families
    ranks = [[row_of(found.rows, family, method)["mean_rank"] for family in families] for method in methods]
    assert np.asarray(right.images[0].get_array()) == near(ranks)
    assert [text.get_text() for text in right.texts] == [f"{rank:.1f}" for row in ranks for rank in row]


def test_a_kind_with_one_setting_has_no_interval_in_the_figure() -> None:
    left, right, _ = drawn(made(SMALL, clear({"a": 0.5, "b": 0.2}, listed(xor=(TRAINED, 1)))).rows).axes
    assert list(legend(left)) == ["trained, 1 setting"]
    assert [len(line.get_xdata()) for line in left.lines] == [1, 1, 0] and len(right.texts) == 2
