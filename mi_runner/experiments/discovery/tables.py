"""What a run of `experiment=discovery` leaves: its tables, numbers of the summary, figures. `rows` fills them."""

from __future__ import annotations

from dataclasses import replace

from mi_runner.experiments.common.circuit_columns import (
    BITS,
    END_NAMES,
    JUDGED,
    LAYER,
    OUTPUT,
    PLANTED,
    SOURCE,
    TARGET,
)
from mi_runner.experiments.common.validity import VALID_BY
from mi_runner.methods.criteria.records import CRITERIA
from mi_runner.tables.declaration import (
    COUNT,
    FRACTION,
    LOSS,
    OF_TEST_SET,
    SECONDS,
    Declarations,
    FigureType,
    Key,
    Measure,
    Note,
    Repeat,
    TableType,
    ends_of,
    share,
)
from mi_runner.tables.ranges import ANY, NOT_NEGATIVE, SHARE

AREAS = ("cpr", "best_cpr", "cmd", "best_cmd")
"""CPR of −L and CMD of the accuracy (that of −L is 1 − CPR), of a method and of the best circuits."""

OF_LEVELS = ("quasi", "local", "subset", "cardinal")

FEW_EDGES = "where the analysed layers have at most 64 edges"

CRITERIA_TOO = "where experiment.criteria=true"

METHOD = Key("method", "the method that finds circuits")
ABLATION = Key("ablation", "what a left-out edge carries: zero, or its mean")
SIZE = Key("k", "edges that a circuit may have at most", COUNT)
OF_METHOD = (METHOD, ABLATION, OUTPUT)
EDGE = (Key("layer", LAYER), Key("source", SOURCE), Key("target", TARGET), *END_NAMES)


ACCURACY = share("accuracy", "examples that the circuit answers correctly, of those that it is judged on")
PERCENTILE = Measure(
    "percentile",
    "place of the circuit's mse among circuits of as many edges: 0 the best, 1 the worst; the empty circuit's among "
    "circuits of k edges; ½ of a circuit that is the only one; no value where k is less than one path has, and at all "
    "edges",
    FRACTION,
    within=SHARE,
    better="less",
    interval=True,
)
REGRET_MSE = Measure(
    "regret_mse",
    "mse of the circuit minus the smallest mse of a circuit of at most k edges; empty where circuits are sampled",
    within=NOT_NEGATIVE,
    better="less",
)
REGRET_ACCURACY = Measure(
    "regret_accuracy",
    "accuracy of the best circuit of at most k edges minus the circuit's; empty where circuits are sampled",
    FRACTION,
    within=NOT_NEGATIVE,
    better="less",
)
N_FORWARD = Measure(
    "n_forward",
    "passes over all examples that the method took; empty where it isn't known",
    COUNT,
    within=NOT_NEGATIVE,
    better="less",
)

OF_CRITERIA = {
    column: f"{criterion.sentence}; empty of the empty circuit, or where nothing can be said"
    for criterion in CRITERIA
    if criterion.is_default and criterion.name != "agreement"
    for column in criterion.columns()
}
"""Criterion → what its column of metrics.csv means. The agreement stands there anyway."""

METRICS = TableType(
    "metrics",
    "The circuit that each method finds at each size, beside the best circuit and all circuits",
    (
        *OF_METHOD,
        SIZE,
        Repeat("repeat", "number of the draw of a method that draws random numbers, from 0"),
        ACCURACY,
        *ends_of(ACCURACY, only=JUDGED),
        share("agreement", "examples for which the circuit's answer equals the full network's"),
        share("best_accuracy", "highest accuracy of a circuit of at most k edges; empty where circuits are sampled"),
        share("found_accuracy", "accuracy on the examples that circuits are found on", only=JUDGED),
        Measure(
            "mse",
            "mean squared difference of the circuit's output to the full network's",
            within=NOT_NEGATIVE,
            better="less",
        ),
        Measure(
            "best_mse",
            "smallest mse of a circuit of at most k edges; empty where circuits are sampled",
            within=NOT_NEGATIVE,
        ),
        Measure("loss", "mean loss of the circuit on the task", LOSS, within=ANY, better="less"),
        REGRET_MSE,
        REGRET_ACCURACY,
        PERCENTILE,
        N_FORWARD,
        Note("n_edges", "edges that the circuit keeps", COUNT),
        Note(
            "minimality",
            "highest level of minimality that is proven of the valid circuit: quasi, local, subset or cardinal; none: "
            "it reaches none; empty: not known, or not valid",
        ),
        Note(
            "valid",
            "whether the circuit is valid on the examples that circuits are judged on, by the rule that valid_by of "
            "summary.csv names",
        ),
        Note(
            "found_valid",
            "whether the circuit is valid on the examples that circuits are found on",
            only=JUDGED,
        ),
        Note("circuit", BITS, only=FEW_EDGES),
        *(share(name, meaning, only=CRITERIA_TOO) for name, meaning in OF_CRITERIA.items()),
    ),
)

CHOSEN = (
    Measure(
        "chosen_edges",
        "edges of the method's smallest circuit that is valid on the examples it was found on; mean over "
        "n_draws_chosen",
        COUNT,
        JUDGED,
        within=NOT_NEGATIVE,
        better="less",
    ),
    share("chosen_found_accuracy", "accuracy of the same circuit on the examples it was found on", only=JUDGED),
    share("chosen_accuracy", "accuracy of the same circuit on the examples it is judged on", only=JUDGED),
    share("chosen_valid", "draws in which the same circuit is also valid on the examples it is judged on", only=JUDGED),
)
"""The circuit that a method would choose, where circuits are judged on other examples."""

SMALLEST_VALID = Measure(
    "smallest_valid",
    "edges of the smallest valid circuit that the method found; mean over n_draws_valid",
    COUNT,
    within=NOT_NEGATIVE,
    better="less",
)
FEWEST_VALID = Measure(
    "fewest_valid",
    "edges of the smallest valid circuit there is; empty where circuits are sampled",
    COUNT,
    within=NOT_NEGATIVE,
)
MEAN_REGRET = replace(
    REGRET_MSE,
    meaning="mse of the circuit minus the smallest mse of a circuit of at most k edges, mean over the draws and "
    "n_sizes sizes; empty where circuits are sampled",
)
MEAN_MSE = Measure(
    "mse",
    "mean squared difference of the circuit's output to the full network's, mean over the draws and n_sizes sizes",
    within=NOT_NEGATIVE,
    better="less",
)
IS_LOWEST = Note(
    "lowest",
    "whether the method has the lowest mean mse, which is that of the lowest regret, or ties with it: a paired test "
    "doesn't tell them apart",
)
IS_HIGHEST = Note("highest", "whether the method has the highest mean mse, or ties with it")
OF_TEST = (
    IS_LOWEST,
    IS_HIGHEST,
    Note(
        "p_lowest",
        "p-value of the paired test over the judged examples against the method with the lowest mean mse, corrected "
        "for all pairs of methods; empty where the examples are all inputs there are",
    ),
    Note("p_highest", "the same against the method with the highest mean mse"),
)
MEAN_PERCENTILE = replace(
    PERCENTILE,
    meaning="place of the circuit's mse among circuits of as many edges, mean over draws and n_sizes_percentile sizes: "
    "0 the best, 1 the worst",
    interval=False,
)
CARDINAL = share(
    "cardinal",
    "draws whose smallest valid circuit has the fewest edges of all valid ones, of n_draws_valid; empty where circuits "
    "are sampled",
)
JACCARD = share(
    "jaccard",
    "overlap of pairs of resamples' circuits, mean over the n_sizes_jaccard sizes at which not all are empty",
)
TIME = Measure(
    "seconds",
    "time that the method took, without the compilation of kernels; mean over its draws",
    SECONDS,
    within=NOT_NEGATIVE,
    better="less",
)

OF_SUMMARY = (
    SMALLEST_VALID,
    FEWEST_VALID,
    Measure(
        "cpr",
        "area under the method's curve, −mse by fraction of edges, 1 at the full network and 0 at no edge",
        within=ANY,
        better="more",
    ),
    Measure("best_cpr", "cpr of the best circuits of each size; empty where circuits are sampled", within=ANY),
    Measure(
        "cmd",
        "area between the accuracy of the method's circuits and the full network's, by fraction of edges",
        within=ANY,
        better="less",
    ),
    Measure("best_cmd", "cmd of the best circuits of each size; empty where circuits are sampled", within=ANY),
    MEAN_MSE,
    MEAN_REGRET,
    replace(
        REGRET_ACCURACY,
        meaning="accuracy of the best circuit of at most k edges minus the circuit's, mean over the draws and n_sizes "
        "sizes; empty where circuits are sampled",
    ),
    MEAN_PERCENTILE,
    share(
        "quasi",
        "draws whose smallest valid circuit has an edge that it needs, of n_draws_valid; empty: not known",
    ),
    share("local", "draws whose smallest valid circuit needs each of its edges, of n_draws_valid; empty: not known"),
    share("subset", "draws with no valid circuit inside their smallest one, of n_draws_valid; empty: not known"),
    CARDINAL,
    JACCARD,
    Measure(
        "mse_sd",
        "standard deviation of the mse of the circuits over resamples, mean over the sizes",
        within=NOT_NEGATIVE,
        better="less",
    ),
    replace(
        N_FORWARD,
        meaning="passes over all examples that the method took, mean over its draws; empty where it isn't known",
    ),
    TIME,
)
"""The measures of the table `summary`, which the summary of run.json has, too."""

OF_DETECTION = (
    share(
        "roc_auc",
        "area under the ROC of the method's scores, edges of the true circuit against the others that circuits may "
        "keep; empty where there are no others, and of methods without scores",
        only=PLANTED,
    ),
    share(
        "precision",
        "edges of the true circuit among those of the circuit that the method stands with at as many edges; empty "
        "where it found none of that size or smaller",
        only=PLANTED,
    ),
    share("recall", "edges of the true circuit that the same circuit keeps", only=PLANTED),
    share("truth_found", "draws in which the true circuit is among the circuits that the method found", only=PLANTED),
)
"""How well a method finds the circuit that is known as the truth; mean over its draws."""

N_DRAWS_VALID = Note(
    "n_draws_valid", "draws in which the method found a valid circuit; smallest_valid is a mean over these", COUNT
)
N_DRAWS = Note("n_draws", "draws of the method: 1, or experiment.repeats of one that draws random numbers", COUNT)
N_SIZES = Note(
    "n_sizes", "sizes k, from 0 to all edges, that mean mse and regrets are over; the same for each method", COUNT
)
N_SIZES_PERCENTILE = Note(
    "n_sizes_percentile", "sizes k that the mean percentile is over, the same for each method", COUNT
)
N_SIZES_JACCARD = Note("n_sizes_jaccard", "sizes k that the mean jaccard is over", COUNT)

SUMMARY = TableType(
    "summary",
    "Each method: its smallest valid circuit, areas, means over sizes, and over how many sizes and draws",
    (
        *OF_METHOD,
        *CHOSEN,
        *OF_SUMMARY,
        *OF_DETECTION,
        *OF_TEST,
        VALID_BY,
        N_DRAWS_VALID,
        N_DRAWS,
        N_SIZES,
        N_SIZES_PERCENTILE,
        N_SIZES_JACCARD,
        Note(
            "n_draws_chosen",
            "draws with a circuit that is valid on the examples it was found on",
            COUNT,
            only=JUDGED,
        ),
    ),
)

OVERVIEW = TableType(
    "overview",
    "Each method in short",
    (
        *OF_METHOD,
        SMALLEST_VALID,
        N_DRAWS_VALID,
        N_DRAWS,
        FEWEST_VALID,
        MEAN_MSE,
        MEAN_REGRET,
        IS_LOWEST,
        IS_HIGHEST,
        N_SIZES,
        MEAN_PERCENTILE,
        N_SIZES_PERCENTILE,
        CARDINAL,
        JACCARD,
        N_SIZES_JACCARD,
        TIME,
    ),
)
"""Its columns are in the order of the file."""

OVER_NETWORKS = TableType(
    "methods",
    "Each method over the networks of all seeds, and which ones a paired test over the networks tells apart",
    (
        *OF_METHOD,
        Note("n_networks", "networks", COUNT),
        Note("mse", "mean mse of a network's summary, mean over the networks"),
        Note("regret_mse", "mean regret of a network's summary, mean over the networks; empty where one has none"),
        Note("percentile", "mean percentile, mean over the networks; empty where one has none", FRACTION),
        replace(IS_LOWEST, meaning=IS_LOWEST.meaning.replace("mean mse", "mean mse over networks", 1)),
        replace(IS_HIGHEST, meaning=IS_HIGHEST.meaning.replace("mean mse", "mean mse over networks", 1)),
        Note(
            "p_lowest",
            "p-value of the paired test over networks against the method with the lowest mean mse, corrected for all "
            "pairs of methods",
        ),
        Note("p_highest", "the same against the method with the highest mean mse"),
    ),
)

SCORES = TableType(
    "scores",
    "Each edge's score and rank by each method that scores",
    (
        *OF_METHOD,
        *EDGE,
        Note("score", "the method's score of the edge; a high one is kept first"),
        Note("rank", "place of the edge by its score, from 1, the highest; of equal ones the first edge comes first"),
    ),
)

CORRELATIONS = TableType(
    "correlations",
    "How alike two methods rank the edges",
    (
        Key("method", "the method whose scores are compared"),
        Key("other", "the method that it is compared with"),
        ABLATION,
        OUTPUT,
        Note("spearman", "Spearman's rank correlation of the two methods' scores, −1 to 1"),
        Note("kendall", "Kendall's rank correlation of the two methods' scores, −1 to 1"),
    ),
)

EDGES = TableType(
    "edges",
    "The edges of the best circuit of each size, where all circuits are evaluated",
    (
        ABLATION,
        OUTPUT,
        Key("best", "by which measure the circuit is the best of at most k edges: mse or accuracy"),
        SIZE,
        *EDGE,
    ),
)

ANALYSED = TableType(
    "analysed",
    "Each edge of the analysed layers: its weight, and how many valid circuits keep it",
    (
        ABLATION,
        OUTPUT,
        *EDGE,
        Note("weight", "the edge's weight"),
        Note(
            "share",
            "valid circuits that keep this edge, of all valid ones; empty without any, or where circuits are sampled",
            FRACTION,
        ),
    ),
)

SIZES = TableType(
    "sizes",
    "All circuits by number of edges, where all are evaluated",
    (
        ABLATION,
        OUTPUT,
        Key("n_edges", "edges that the circuits keep", COUNT),
        Note("n_circuits", "circuits of this size", COUNT),
        Note("n_valid", "valid circuits of this size", COUNT),
        Note("mse_10", "mse that 10 % of the circuits of this size are below"),
        Note("mse_50", "median mse of the circuits of this size"),
        Note("mse_90", "mse that 90 % of the circuits of this size are below"),
        Note("accuracy_10", "accuracy that 10 % of the circuits of this size are below", FRACTION),
        Note("accuracy_50", "median accuracy of the circuits of this size", FRACTION),
        Note("accuracy_90", "accuracy that 90 % of the circuits of this size are below", FRACTION),
    ),
)

STABILITY = TableType(
    "stability",
    "How much a method's circuits differ when the examples are resampled",
    (
        *OF_METHOD,
        SIZE,
        Note("n_resamples", "resamples of the examples", COUNT),
        Note("n_edges", "edges of the circuits that were found on resamples, mean", COUNT),
        replace(
            JACCARD,
            meaning="mean over pairs of resamples, not both empty: edges in both circuits, of those in at least one",
        ),
        Note("n_always", "edges in the circuit of every resample", COUNT),
        Note("n_ever", "edges in the circuit of at least one resample", COUNT),
        Note("mse_mean", "mean mse, on all examples, of the circuits that were found on resamples"),
        Measure("mse_sd", "standard deviation of that mse over resamples", within=NOT_NEGATIVE, better="less"),
        Note("own_mse_mean", "mean mse of the circuits on the resample on which each was found"),
        Note("own_mse_sd", "standard deviation of that mse over resamples"),
    ),
)

CRITERION = Key("criterion", "name of the criterion, as in experiment=criteria; noise_0.1: noise of this size")

OF_SMALLEST = TableType(
    "criteria",
    "The criteria of each method's smallest valid circuit",
    (
        *OF_METHOD,
        CRITERION,
        share("value", "criterion of the smallest valid circuit of a draw, 1 the best; mean over n_draws_valid"),
        Note("n_passing", "draws whose smallest valid circuit reaches 0.99 in the criterion", COUNT),
        N_DRAWS_VALID,
    ),
)

BY_REGRET = TableType(
    "criteria_by_regret",
    "How criteria go with the regret, over the different valid circuits that methods found, the full one left out",
    (
        ABLATION,
        OUTPUT,
        CRITERION,
        Note("n_circuits", "valid circuits with a regret and this criterion", COUNT),
        Note("n_passing", "of these reach 0.99 in the criterion", COUNT),
        Note(
            "tau",
            "Kendall's τ-b of the criterion and the negative regret at the circuit's own number of edges, −1 to 1; "
            "above 0: circuits near the optimum do better in the criterion, too",
        ),
    ),
)

OF_CERTIFIED = TableType(
    "certified",
    "Each method's smallest certified circuit: one that is proved to answer as the full network in a box around each "
    "example",
    (
        *OF_METHOD,
        Note("epsilon", "half of a box's width, in standard deviations of each input"),
        Note(
            "n_edges", "edges that the smallest certified circuit of a draw keeps; mean over n_draws_certified", COUNT
        ),
        Note("n_draws", "draws of the method", COUNT),
        Note("n_draws_certified", "of these find a certified circuit; the full one always is", COUNT),
        Note("n_draws_smaller", "of these find one that isn't the full one", COUNT),
        Measure(
            "regret_certified",
            "mse of that circuit minus the lowest mse of all certified circuits of at most as many edges, mean; empty "
            "where not all circuits are evaluated",
            within=NOT_NEGATIVE,
            better="less",
        ),
        Note(
            "fewest_certified",
            "edges of the smallest of all certified circuits; empty where not all are evaluated, or a smaller one is "
            "undecided",
            COUNT,
        ),
        Note("n_certified", "certified circuits, of all that there are; empty where not all are evaluated", COUNT),
        Note("n_undecided", "circuits of which it isn't decided; the same", COUNT),
    ),
)

DECLARED = Declarations(
    tables=(
        *(METRICS, SUMMARY, STABILITY, SCORES, ANALYSED, CORRELATIONS, EDGES, SIZES, OVERVIEW),
        *(OF_SMALLEST, BY_REGRET, OF_CERTIFIED),
    ),
    summary=(
        share(
            "accuracy",
            "examples whose label is predicted, of those that circuits are judged on; where targets are values, of the "
            "first output",
        ),
        Note("n_edges", "edges of the analysed layers", COUNT),
        *OF_SUMMARY,
        *OF_DETECTION,
        *CHOSEN,
    ),
    figures=(
        FigureType(
            "curves_*",
            "Accuracy and mean squared error by kept edges, means of a method's draws; the thick grey line: the best "
            "circuits; shaded: 10 to 90 % of all.",
            "metrics",
            of="output",
            n=OF_TEST_SET,
        ),
        FigureType(
            "scores_*",
            "Scores of the edges by each method that gives scores, divided by the method's largest, beside the "
            "fraction of valid circuits that keep each.",
            "scores",
            of="ablation and output",
        ),
    ),
    compared=(OVER_NETWORKS,),
    last=SUMMARY,
)
