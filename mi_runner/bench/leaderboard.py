"""Which methods find the best circuits, over the networks of a bench? Means, ranks, paired tests, and the answer.

    a method on a network with an ablation → a network: the mean over its ablations
        → a setting: the mean over its networks → a row: the mean over its units

The units of a row over several families are settings, because networks of several seeds of one setting say little about
other settings. Those of a trained family's row are networks, so that it speaks of other seeds, not of other settings.
Seeds of planted networks differ in little but the order of neurons, so their units are settings there, too. A family
that is the control of another has a row of its own and counts in no other.
A network counts only if every method has a cpr with every ablation, so that all methods are compared on the same ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

from mi_runner.bench.networks import PLANTED, TRAINED, NetworkList
from mi_runner.bench.tables import AHEAD, BEHIND, DIGITS, JUDGED, MEASURES, NOT_LEARNED, RANDOM, TIES
from mi_runner.experiments.common.sentences import counted, ends, figure, listed, of_the_test, that_of
from mi_runner.tables.declaration import ENDS
from mi_runner.tables.intervals import Spread
from mi_runner.tables.names import ALL
from mi_runner.tables.paired import ComparedPair, compared_pairs, holm
from mi_runner.tables.pairwise import LEVEL, Compared, better_by, compared_by, fewest_units
from mi_runner.tables.variance import nested_shares

Row = Mapping[str, Any]
Name = tuple[str, str, int]
"""Family, setting and seed of a network."""

Values = Mapping[Name, Mapping[str, Mapping[str, Row]]]
"""Network → method → ablation → the row of RESULTS."""

MEASURED = {measure.name: measure for measure in MEASURES}


@dataclass(frozen=True)
class Leaderboard:
    """What a bench says of the methods.

    Attributes:
        rows, pairs, spread: of LEADERBOARD, PAIRS and SPREAD. Of networks the row of the lowest mean rank comes first.
        answer: in sentences.
    """

    rows: list[dict[str, Any]]
    pairs: list[dict[str, Any]]
    spread: list[dict[str, Any]]
    answer: str


def leaderboard_of(of: NetworkList, results: Sequence[Row], networks: Sequence[Row]) -> Leaderboard:
    """Returns the tables and the answer of a bench; the order of the rows doesn't matter.

    Args:
        of: the list that the networks are of.
        results: rows of RESULTS, with numbers as numbers and None for what is empty.
        networks: rows of NETWORKS, for what the answer says of networks that don't count.
    """
    groups = list(_groups(of, results))
    return Leaderboard(
        rows=[row for group in groups for row in _rows(group)],
        pairs=[row for group in groups for row in _pair_rows(group)],
        spread=[row for group in groups for row in _spread_rows(group)],
        answer=_answer(of, groups, networks),
    )


# --- networks, settings, families ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """Networks that a row is about, and the methods on them.

    Attributes:
        name: all, a kind, or a family.
        values: what every method reached on each network.
        methods: the lowest mean rank first; of equal ones in the order of the alphabet.
        ablations: that every network has.
        are_settings: whether the units are settings; otherwise they are networks.
    """

    name: str
    values: Values
    methods: tuple[str, ...]
    ablations: tuple[str, ...]
    are_settings: bool

    @classmethod
    def of(cls, name: str, values: Values, ablations: tuple[str, ...], *, are_settings: bool) -> Group:
        """Returns networks, at least one, with the methods in their order."""
        methods = tuple(next(iter(values.values())))
        group = cls(name, values, methods, ablations, are_settings)
        ordered = sorted(methods, key=lambda method: (round(group.mean_ranks[method], DIGITS), method))
        return cls(name, values, tuple(ordered), ablations, are_settings)

    @cached_property
    def units(self) -> list[list[Name]]:
        """The networks of each unit."""
        if not self.are_settings:
            return [[name] for name in self.values]
        units: dict[tuple[str, str], list[Name]] = {}
        for family, setting, seed in self.values:
            units.setdefault((family, setting), []).append((family, setting, seed))
        return list(units.values())

    def of_units(self, of_network: Mapping[Name, float | None]) -> list[float]:
        """Returns the mean over the networks that have a value, of each unit where one has."""
        known = [[value for name in unit if (value := of_network[name]) is not None] for unit in self.units]
        return [fmean(values) for values in known if values]

    def measured(self, method: str, measure: str) -> list[float]:
        """Returns a measure of a method, of each unit that has a value: of a network the mean over its ablations.

        Ablations and networks without a value are left out of the means.
        """
        of_network = {}
        for name, methods in self.values.items():
            rows = methods[method].values()
            values = [row[measure] for row in rows if row[measure] is not None]
            of_network[name] = fmean(values) if values else None
        return self.of_units(of_network)

    @cached_property
    def cpr(self) -> dict[str, list[float]]:
        """Method → cpr of each unit."""
        return {method: self.measured(method, "cpr") for method in self.methods}

    @cached_property
    def mean_ranks(self) -> dict[str, float]:
        """Method → its rank by cpr among all methods, 1 the highest, mean over the units."""
        import pandas as pd

        cpr = {
            name: [round(fmean(row["cpr"] for row in own[method].values()), DIGITS) for method in self.methods]
            for name, own in self.values.items()
        }
        ranks = pd.DataFrame(cpr, index=list(self.methods)).rank(ascending=False)
        of_network = dict(zip(self.values, ranks.to_numpy().T.tolist(), strict=True))
        return {
            method: fmean(self.of_units({name: own[place] for name, own in of_network.items()}))
            for place, method in enumerate(self.methods)
        }

    @cached_property
    def pairs(self) -> list[ComparedPair]:
        """Every two methods, by their cpr."""
        return compared_pairs(list(self.cpr.values()), digits=DIGITS)

    @cached_property
    def compared(self) -> Compared:
        """Which methods the tests tell apart."""
        return compared_by(list(self.mean_ranks.values()), self.pairs, len(self.units))

    @cached_property
    def p_random(self) -> dict[str, float]:
        """Method → the p-value of its test against random, corrected for the other methods; empty without random."""
        corrected = holm([pair.ranks.p for pair in self._with_random.values()])
        return dict(zip(self._with_random, corrected, strict=True))

    @cached_property
    def beside_random(self) -> dict[str, str]:
        """Method → whether it is ahead of random, behind it, or ties with it; empty without random."""
        ranks, found = list(self.mean_ranks.values()), {}
        for method, pair in self._with_random.items():
            better = better_by(ranks, pair) if self.p_random[method] < LEVEL else None
            found[method] = TIES if better is None else AHEAD if self.methods[better] == method else BEHIND
        return found

    @property
    def _with_random(self) -> dict[str, ComparedPair]:
        """Method → its pair with random."""
        by_names = {frozenset((self.methods[pair.first], self.methods[pair.second])): pair for pair in self.pairs}
        pairs = {method: by_names.get(frozenset((method, RANDOM))) for method in self.methods}
        return {method: pair for method, pair in pairs.items() if pair is not None}

    @property
    def has_too_few_units(self) -> bool:
        """Whether no difference could be large enough to tell two methods apart."""
        return len(self.units) < fewest_units(len(self.methods))

    @property
    def counted(self) -> str:
        """How many networks and settings these are, in words."""
        settings = {name[:2] for name in self.values}
        return f"{counted(len(self.values), 'network')} ({counted(len(settings), 'setting')})"


def _groups(of: NetworkList, results: Sequence[Row]) -> Iterator[Group]:
    """Yields all networks, those of each kind, and those of each family, where there are some, in the list's order."""
    found: dict[Name, dict[str, dict[str, Row]]] = {}
    for row in results:
        name = row["family"], row["setting"], row["seed"]
        found.setdefault(name, {}).setdefault(row["method"], {})[row["ablation"]] = row
    methods = sorted({row["method"] for row in results})
    ablations = tuple(sorted({row["ablation"] for row in results}))
    of_family = {
        family: {
            name: {method: {each: own[method][each] for each in ablations} for method in methods}
            for name, own in sorted(found.items())
            if name[0] == family.name and _is_complete(own, methods, ablations)
        }
        for family in of.families
    }
    for group, kinds in ((ALL, (TRAINED, PLANTED)), (TRAINED, (TRAINED,)), (PLANTED, (PLANTED,))):
        values = {
            name: methods_of
            for family, networks in of_family.items()
            if family.kind in kinds and not family.is_control
            for name, methods_of in networks.items()
        }
        if values:
            yield Group.of(group, values, ablations, are_settings=True)
    for family, values in of_family.items():
        if values:
            yield Group.of(family.name, values, ablations, are_settings=family.kind == PLANTED)


def _is_complete(own: Mapping[str, Mapping[str, Row]], methods: Sequence[str], ablations: Sequence[str]) -> bool:
    """Returns whether a network has a cpr of every method with every ablation."""
    rows = (own.get(method, {}).get(ablation) for method in methods for ablation in ablations)
    return all(row is not None and row["cpr"] is not None for row in rows)


# --- rows ------------------------------------------------------------------------------------------------------------


def _rows(group: Group) -> Iterator[dict[str, Any]]:
    """Yields the rows of LEADERBOARD."""
    against_best = {pair.second: pair.p_holm for pair in group.pairs if pair.first == 0}
    ties = {0, *group.compared.tied_with(0)}
    for place, method in enumerate(group.methods):
        yield {
            "networks": group.name,
            "method": method,
            "mean_rank": group.mean_ranks[method],
            **_means(group, method),
            "best": place in ties,
            "p_best": against_best.get(place),
            "p_random": group.p_random.get(method),
            "beside_random": group.beside_random.get(method),
            "n_units": len(group.units),
            "unit": "setting" if group.are_settings else "network",
            "n_networks": len(group.values),
        }


def _means(group: Group, method: str) -> dict[str, float | None]:
    """Returns each measure's mean over the units that have a value, with its interval; empty where none has."""
    found: dict[str, float | None] = {}
    for name, measure in MEASURED.items():
        values = group.measured(method, name)
        spread = Spread.of(values, measure.within) if values else None
        columns = (name, *(f"{name}{end}" for end in ENDS))
        of_spread = (None, None, None) if spread is None else (spread.mean, spread.low, spread.high)
        found |= dict(zip(columns, of_spread, strict=True))
    return found


def _pair_rows(group: Group) -> Iterator[dict[str, Any]]:
    """Yields the rows of PAIRS: of two methods the one with the lower mean rank comes first."""
    for pair in group.pairs:
        yield {
            "networks": group.name,
            "method": group.methods[pair.first],
            "other": group.methods[pair.second],
            "difference": pair.difference.mean,
            "difference_low": pair.difference.low,
            "difference_high": pair.difference.high,
            "p": pair.ranks.p,
            "p_holm": pair.p_holm,
            "n_higher": pair.n_higher,
            "n_lower": pair.n_lower,
            "n_units": len(group.units),
        }


def _spread_rows(group: Group) -> Iterator[dict[str, Any]]:
    """Yields the rows of SPREAD: of the cpr of each network with each ablation."""
    for method in group.methods:
        settings: dict[str, list[list[float]]] = {}
        for (family, setting, _), own in group.values.items():
            cpr = [round(own[method][ablation]["cpr"], DIGITS) for ablation in group.ablations]
            settings.setdefault(f"{family} {setting}", []).append(cpr)
        shares = nested_shares(list(settings.values()))
        yield {
            "networks": group.name,
            "method": method,
            "sd": shares.sd,
            "of_setting": shares.groups,
            "of_seed": shares.units,
            "of_ablation": shares.conditions,
            "of_rest": shares.rest,
            "n_networks": len(group.values),
        }


# --- the answer ------------------------------------------------------------------------------------------------------


def _answer(of: NetworkList, groups: Sequence[Group], networks: Sequence[Row]) -> str:
    """Returns which methods have the lowest and the highest mean rank, over all networks and those of each kind."""
    left_out = _left_out(of, networks, groups)
    if not groups:
        return " ".join(filter(None, (f"No network of {of.name} is judged.", left_out)))
    everything, *others = groups
    names, ranks = everything.methods, everything.compared.means
    if len(names) == 1:
        text = f"the mean cpr of {names[0]} is {figure(fmean(everything.cpr[names[0]]))}"
    else:
        text = ends(everything.compared, names, "mean rank by cpr", ranks)
    texts = [f"Over {everything.counted} of {of.name} {text}.", _against_random(everything)]
    kinds = [group for group in others if group.name in (TRAINED, PLANTED)]
    texts += [_of_kind(group) for group in kinds if len(kinds) > 1 and len(names) > 1]
    fewest = fewest_units(len(names))
    texts.append(of_the_test(len(everything.units), "setting", len(names), fewest=fewest).strip())
    return " ".join(filter(None, (*texts, left_out)))


def _against_random(group: Group) -> str:
    """Returns which methods are not told apart from random; empty without random, and where units are too few."""
    if RANDOM not in group.methods or len(group.methods) < 3 or group.has_too_few_units:
        return ""
    alike = [method for method, standing in group.beside_random.items() if standing == TIES]
    behind = [method for method, standing in group.beside_random.items() if standing == BEHIND]
    told = f"{listed(alike)} {_is(len(alike))} not told apart from it" if alike else "all are told apart from it"
    text = f"Compared with random alone, {told}"  # by p-values that are corrected for fewer pairs
    return f"{text}; {listed(behind)} {_is(len(behind))} worse than it." if behind else f"{text}."


def _of_kind(group: Group) -> str:
    """Returns which method has the lowest mean rank over the networks of a kind."""
    if group.has_too_few_units:
        return f"The {group.name} ones, {group.counted}, are too few to tell methods apart."
    compared, where = group.compared, f"Over the {group.name} ones, {group.counted},"
    if compared.tells_none_apart:
        return f"{where} no two are told apart."
    return f"{where} the lowest is {figure(compared.means[0])}, {that_of(compared, 0, group.methods, compared.means)}."


def _left_out(of: NetworkList, networks: Sequence[Row], groups: Sequence[Group]) -> str:
    """Returns which networks don't count, and why; empty if all do."""
    n, texts = len(networks), []
    not_learned = Counter(f"{row['family']} {row['setting']}" for row in networks if row["status"] == NOT_LEARNED)
    if not_learned:
        named = [f"{count} of {name}" for name, count in sorted(not_learned.items(), key=lambda one: (-one[1], one[0]))]
        are, who = _is(not_learned.total()), listed(named, "other settings")
        texts.append(
            f"{not_learned.total():,} of {counted(n, 'network')} did not learn the task and {are} left out: {who}."
        )
    ended = Counter(str(row["status"]) for row in networks if row["status"] not in (JUDGED, NOT_LEARNED))
    if ended:
        named = [f"{count} {status}" for status, count in sorted(ended.items())]
        have = "has" if ended.total() == 1 else "have"
        texts.append(f"{ended.total():,} of {counted(n, 'network')} {have} no results: {listed(named)}.")
    judged = [row for row in networks if row["status"] == JUDGED]
    for control in (family.name for family in of.families if family.is_control):
        if any(row["family"] == control for row in judged):
            texts.append(f"{control} is a control, with rows of its own.")
    counting = {name for group in groups for name in group.values}
    n_without = len(judged) - len(counting)
    if n_without:
        texts.append(f"{counted(n_without, 'network')} without a cpr of every method {_is(n_without)} left out.")
    return " ".join(texts)


def _is(n: int) -> str:
    return "is" if n == 1 else "are"
