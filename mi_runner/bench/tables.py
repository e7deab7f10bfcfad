"""What a bench leaves: its tables. `results` fills the first from the folders of runs, `leaderboard` the others."""

from __future__ import annotations

from dataclasses import replace

from mi_runner.experiments.discovery.tables import ABLATION, METHOD
from mi_runner.tables.declaration import (
    COUNT,
    FRACTION,
    SECONDS,
    FigureType,
    Key,
    Measure,
    Note,
    TableType,
    share,
)
from mi_runner.tables.names import ALL
from mi_runner.tables.pairwise import LEVEL
from mi_runner.tables.ranges import ANY, NOT_NEGATIVE, SHARE, Range

FAMILY = Key("family", "the family of the network: its task and shape, or how its weights are planted")
SETTING = Key("setting", "the network's activation, or the formula that is planted")
SEED = Key("seed", "the network's seed")
KIND = Note("kind", "trained, or planted")

JUDGED, NOT_LEARNED, UNREADABLE = "judged", "not learned", "unreadable"
"""What became of a network whose run is done; of others the status of the run."""

RANDOM = "random"
"""The method that all others are tested against; it is always among the methods."""

AHEAD, TIES, BEHIND = "ahead", "ties", "behind"
"""How a method stands beside another one; it ties where the two are not told apart."""

DIGITS = 9
"""Digits behind the point that ranks and differences of cpr heed: what is equal but for rounding ties."""

PLANTED_ONLY = "empty where nothing is planted"

CAN_BE_WRONG = "empty where no circuit can keep an edge that isn't planted"

MEASURES = (
    Measure(
        "cpr",
        "area under the method's curve, −mse by fraction of edges, 1 at the full network and 0 at no edge",
        within=ANY,
        better="more",
    ),
    Measure(
        "regret",
        "cpr of the best circuits of each size minus that of the method's; empty where circuits are sampled",
        within=NOT_NEGATIVE,
        better="less",
    ),
    Measure(
        "regret_mse",
        "mse of the method's circuit minus the smallest of a circuit of as many edges or fewer, mean over sizes; its "
        "scale differs from family to family; empty where circuits are sampled",
        within=NOT_NEGATIVE,
        better="less",
    ),
    Measure(
        "percentile",
        "place of the circuit's mse among circuits of as many edges, mean over sizes that are the same for all "
        "methods: 0 the best, 1 the worst; where a method has no circuit, the place of the empty one",
        FRACTION,
        within=SHARE,
        better="less",
    ),
    Measure(
        "cmd",
        "area between the accuracy of the method's circuits and the full network's, by fraction of edges",
        within=ANY,
        better="less",
    ),
    Measure(
        "edges_over_fewest",
        "edges of the smallest valid circuit that the method found over the fewest of any valid circuit; empty where "
        "it found none, and where the fewest are not known",
        within=Range(1, None),
        better="less",
    ),
    share("found_valid", "draws in which the method found a valid circuit; empty where no circuit is valid"),
    share(
        "roc_auc",
        "area under the ROC of the method's scores, planted edges against the others; empty of methods without scores, "
        f"where there are no others, and {PLANTED_ONLY.removeprefix('empty ')}",
    ),
    share("precision", f"planted edges in the circuit of as many edges; {CAN_BE_WRONG}, or the method has none"),
    share("recall", f"planted edges that the same circuit keeps; {CAN_BE_WRONG}, or the method has none"),
    share("truth_found", f"draws in which the planted circuit is among those that the method found; {CAN_BE_WRONG}"),
    share(
        "jaccard", "overlap of the circuits of pairs of resamples of the examples; empty of methods that don't resample"
    ),
    Measure(
        "n_forward",
        "passes over all examples that the method took; empty where it isn't known",
        COUNT,
        within=NOT_NEGATIVE,
        better="less",
    ),
    Measure("seconds", "time that the method took, of one draw", SECONDS, within=NOT_NEGATIVE, better="less"),
)
"""What is measured of a method on a network with one ablation; of draws the mean."""

RESULTS = TableType(
    "results",
    "Every method on every network with every ablation",
    (
        FAMILY,
        SETTING,
        SEED,
        METHOD,
        ABLATION,
        *MEASURES,
        KIND,
        Note("job", "number of the run's folder", COUNT),
    ),
)

NETWORKS = TableType(
    "networks",
    "Every network of the bench, and what became of it",
    (
        FAMILY,
        SETTING,
        SEED,
        KIND,
        share("accuracy", "test examples that the network answers correctly", better=False),
        Note(
            "status",
            f"{JUDGED}; {NOT_LEARNED}: its accuracy is below the family's bound, so no method is judged on it; "
            f"{UNREADABLE}: its tables can't be read; otherwise how its run ended",
        ),
        Note("n_edges", "edges of the analysed layers that circuits may keep", COUNT),
        Note(
            "fewest_valid_zero",
            "edges of the smallest valid circuit with zero ablation; empty: none, or unknown",
            COUNT,
        ),
        Note("fewest_valid_mean", "the same with mean ablation", COUNT),
        Note("job", "number of the run's folder", COUNT),
    ),
)

ROWS = Key(
    "networks",
    f"{ALL}, a kind (trained or planted), or a family: what the row is a mean over; a control counts in its own alone",
)
"""`all`, `trained`, `planted` and planted families have settings as units, a trained family has networks."""

LEADERBOARD = TableType(
    "leaderboard",
    "Every method on the networks of every family: means with 95 % intervals, ranks, and paired tests",
    (
        replace(ROWS),
        METHOD,
        Measure(
            "mean_rank",
            "rank of the method's cpr among all methods, 1 the highest, ties shared; mean over the units",
            within=Range(1, None),
            better="less",
        ),
        *(replace(measure, interval=True) for measure in MEASURES),
        Note(
            "best",
            "whether the method has the lowest mean rank, or ties with the one that has: the paired test doesn't tell "
            "them apart, or contradicts their mean ranks. Few units tell nothing apart: fewer than 12 of 13 methods",
        ),
        Note(
            "p_best",
            "p-value of Wilcoxon's signed ranks of the units' cpr against the method with the lowest mean rank, "
            "corrected by Holm for all pairs of methods, because the lowest is chosen; empty of that method",
        ),
        Note(
            "p_random",
            "p-value of the same test against random, corrected by Holm for the other methods; empty of random",
        ),
        Note(
            "beside_random",
            f"{AHEAD}: p_random is below {LEVEL}, and the test and the mean ranks agree that the method is better than "
            f"random; {BEHIND}: that it is worse; {TIES}: neither; empty of random",
        ),
        Note(
            "n_units",
            "units that means, intervals and tests are over; a measure that is empty for a unit is a mean over the "
            "others",
            COUNT,
        ),
        Note(
            "unit",
            "setting: a unit is the mean over a setting's networks; network: it is that over a network's ablations, "
            "so that intervals and tests speak of other seeds of these settings alone",
        ),
        Note("n_networks", "networks on which every method has a cpr with every ablation; others don't count", COUNT),
    ),
)

SPREAD = TableType(
    "spread",
    "How much of the spread of a method's cpr lies between settings, seeds and ablations",
    (
        replace(ROWS),
        METHOD,
        Measure("sd", "standard deviation of cpr over networks and ablations; empty for one", within=NOT_NEGATIVE),
        share(
            "of_setting",
            "share of the sum of squares of cpr that lies between the settings' means; empty for one setting, and, as "
            "the next three, where all cpr are equal",
            better=False,
        ),
        share(
            "of_seed",
            "share between the means of the networks of one setting; empty where each setting has one network",
            better=False,
        ),
        share("of_ablation", "share between the means of the ablations; empty for one ablation", better=False),
        share(
            "of_rest",
            "share that is left: the ablation matters more in one network than in another; empty for one ablation and "
            "for one network",
            better=False,
        ),
        Note("n_networks", "networks", COUNT),
    ),
)

PAIRS = TableType(
    "method_pairs",
    "Each two methods compared on the same networks",
    (
        replace(ROWS),
        replace(METHOD, meaning="the method of the two with the lower mean rank, or the first by name"),
        Key("other", "the other method"),
        Note(
            "difference",
            "cpr of the method minus that of the other, mean over the units; Student's 95 % interval",
            interval=True,
        ),
        Note("p", "p-value of Wilcoxon's signed ranks of the units' cpr; 1 where no unit differs"),
        Note("p_holm", "the same, corrected by Holm for all pairs of methods of these networks"),
        Note("n_higher", "units in which the first method's cpr is higher", COUNT),
        Note("n_lower", "units in which it is lower", COUNT),
        Note("n_units", "units", COUNT),
    ),
)

TABLES = (LEADERBOARD, PAIRS, SPREAD, RESULTS, NETWORKS)

LEADERBOARD_FIGURE = FigureType(
    "leaderboard",
    "Each method's mean cpr over the settings of the trained and of the planted networks, and its mean rank by cpr in "
    "each family, 1 the best.",
    LEADERBOARD.name,
    n="n_units",
    n_of="settings or networks",
    intervals="95 %, of the mean",
)
