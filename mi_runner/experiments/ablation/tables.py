"""What a run of `experiment=ablation` leaves: declarations, and the rows of the network's sites and edges."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mi_runner.experiments.common.tables import ACCURACY, CONFUSION, CONFUSION_FIGURE, PREDICTIONS
from mi_runner.tables.declaration import (
    COUNT,
    FRACTION,
    LOSS,
    OF_TEST_SET,
    CommonName,
    Declarations,
    FigureType,
    Key,
    Measure,
    Note,
    Repeat,
    TableType,
)
from mi_runner.tables.names import NONE
from mi_runner.tables.ranges import ANY, DIFFERENCE_OF_SHARES, NOT_NEGATIVE, SHARE

if TYPE_CHECKING:
    from mi_runner.graph.model_graph import ModelGraph
    from mi_runner.methods.site_parts import Parts

MOST_IMAGES = 100
"""Units of a layer that are drawn."""

OF_FEATURES, NAMED = "where features of the input are ablated", "where the numbers of the input have names"

TARGET = Key(
    "target",
    "what is ablated: a site, an edge, a path, a parameter, or a feature (inputs.age); none: the intact network",
)
KIND = Key("kind", "site (also a parameter), edge, path or feature; none: the intact network")
METHOD = Key("method", "what replaces the value: zero, mean or resample; none: nothing")
REPEAT = Repeat("repeat", "number of the draw of the resampled values, from 1; 1 where nothing is drawn")
ROLE = CommonName("role", "the target in names that all architectures share, such as hidden_1", of="target")

OF_ABLATION = (TARGET, ROLE, KIND, METHOD, REPEAT)

OF_TARGET = tuple(replace(column, meaning=column.meaning.partition("; none")[0]) for column in OF_ABLATION)
"""The same in tables without the intact network."""

CORRECT = Measure("accuracy", ACCURACY, FRACTION, within=SHARE, better="more", interval=True)
MEAN_LOSS = Measure("loss", "mean loss", LOSS, within=NOT_NEGATIVE, better="less")

MEASURED = (
    CORRECT,
    MEAN_LOSS,
    Measure(
        "accuracy_drop",
        "accuracy of the intact network minus this accuracy",
        "fraction, −1 to 1",
        within=DIFFERENCE_OF_SHARES,
    ),
    Measure("loss_increase", "loss minus the loss of the intact network", LOSS, within=ANY),
)

FEATURE = Note("feature", "the feature's name; empty: the target is none", only=OF_FEATURES)

METRICS = TableType("metrics", "Accuracy and loss after each ablation", (*OF_ABLATION, FEATURE, *MEASURED))

LARGEST = replace(METRICS, name="largest", caption="The targets with the largest drop in accuracy")

SPLITS = TableType(
    "splits",
    "What each site does beyond its mean or a linear function of the input",
    (
        replace(TARGET, meaning="a site's part: SITE[estimate], its mean or linear fit, or SITE[residual], the rest"),
        *OF_TARGET[1:],
        *MEASURED,
    ),
)

UNITS = TableType(
    "units",
    "Each unit ablated by itself",
    (
        *OF_TARGET,
        Key("unit", "number of the unit in the target's flattened value, from 0"),
        Note("unit_name", "the unit's name, of the input; empty of other sites", only=NAMED),
        *MEASURED,
    ),
)

OF_TARGETS = replace(
    CONFUSION,
    caption="Labels and predicted labels after each ablation",
    columns=(TARGET, KIND, METHOD, REPEAT, *CONFUSION.columns),
)

ANSWERS = replace(
    PREDICTIONS,
    caption="The network's answer on each test example, intact and after ablations",
    columns=(TARGET, METHOD, REPEAT, *PREDICTIONS.columns),
)

CONTRIBUTIONS = TableType(
    "contributions",
    "What each summand before the output gives alone",
    (
        Key("summand", "the summand of the sum before the output; bias: the output layer's; sum: all of them"),
        replace(CORRECT, meaning="examples whose label has the largest of the summand's logits"),
        Measure(
            "label_logit",
            "the summand's part of the label's logit minus the mean of its parts of all classes' logits, mean over the "
            "examples",
            within=ANY,
        ),
        Measure(
            "max_error",
            "largest difference of the sum of all summands to the network's output; only of the sum",
            within=NOT_NEGATIVE,
            better="less",
        ),
    ),
)

SCRUBBING = TableType(
    "scrubbing",
    "All targets resampled together, from examples that agree with the one that is answered, and from any",
    (
        Key(
            "agree", "what the resampled values' example has in common with the example that is answered; any: nothing"
        ),
        REPEAT,
        CORRECT,
        MEAN_LOSS,
        Measure(
            "loss_recovered",
            "share of what resampling from any example adds to the loss that this resampling doesn't add; 1: the loss "
            "is the intact network's; 0: it is that of resampling from any example",
            within=ANY,
            better="more",
        ),
    ),
)

SITE = (
    Note("of", "the class of the module, or function, input or parameter; none: not a site"),
    Note("shape", "the shape of the value for an example; none: not a site"),
    Note("reads", "the sites that this site reads; none: no site"),
)

GRAPH = TableType(
    "graph",
    "The named values of the network, and what each reads",
    (
        Key("target", "the site's name"),
        replace(ROLE, meaning="the site's name in names that all architectures share"),
        Note("kind", "site"),
        *SITE,
    ),
)

LISTED = TableType(
    "metrics",
    "The sites, edges and paths of the network, with experiment.list_only",
    (
        Key("target", "the name of the site, edge or path"),
        Note("role", "the name in every architecture, such as hidden_1"),
        Note("kind", "site, edge or path"),
        *SITE,
    ),
)

ABLATING = Declarations(
    tables=(METRICS, LARGEST, SPLITS, UNITS, OF_TARGETS, ANSWERS, CONTRIBUTIONS, SCRUBBING, GRAPH),
    summary=(
        replace(
            CORRECT,
            meaning="examples whose predicted label is correct; of an ablation the mean of its draws",
            interval=False,
        ),
        replace(MEAN_LOSS, meaning="mean loss; of an ablation the mean of its draws"),
    ),
    figures=(
        FigureType(
            "accuracy",
            "Test accuracy after each ablation. Bars: mean of the draws; marks: each draw with its interval; dashed "
            "line: the intact network; dotted: always the commonest class.",
            "metrics",
            n=OF_TEST_SET,
            intervals="95 %, Wilson's, of each draw",
        ),
        CONFUSION_FIGURE,
        FigureType(
            "weights_*",
            f"Weights of the units of largest norm, at most {MOST_IMAGES}, as images or by feature: blue negative, red "
            "positive.",
            of="layer",
        ),
        FigureType("entering", "Test images, and of each the value that enters the output layer, as an image."),
        FigureType(
            "units", "The drop in test accuracy by each unit's ablation, in descending order.", "units", n=OF_TEST_SET
        ),
    ),
)

LISTING = Declarations(
    tables=(LISTED, PREDICTIONS),
    summary=(
        Measure("sites", "sites of the network", COUNT, within=NOT_NEGATIVE),
        Measure("edges", "edges between sites", COUNT, within=NOT_NEGATIVE),
        Measure("paths", "paths from the inputs to the output", COUNT, within=NOT_NEGATIVE),
    ),
)
"""With `experiment.list_only`."""

DECLARED = ABLATING.with_others(LISTING)


def site_rows(graph: ModelGraph) -> list[dict[str, str]]:
    """Returns the sites of a network, and the sites that each reads."""
    return [
        {
            **{"target": name, "role": graph.role(name), "kind": "site", "of": site.module or site.kind},
            **{"shape": "×".join(map(str, site.shape)) or "1", "reads": ", ".join(graph.sources(name)) or NONE},
        }
        for name, site in (*graph.sites.items(), *graph.module_sites.items())
    ]


def with_features(rows: Sequence[dict[str, Any]], parts: Parts) -> list[dict[str, Any]]:
    """Returns the rows of ablations with the names of features, behind their kinds; as they are where there are none.

    Args:
        parts: target → the feature that it is.
    """
    if not parts:
        return list(rows)
    names = {target: part.name for target, part in parts.items()}
    return [_behind(row, "kind", "feature", names.get(row["target"])) for row in rows]


def with_unit_names(rows: Sequence[dict[str, Any]], site: str, names: Sequence[str] | None) -> list[dict[str, Any]]:
    """Returns the rows of units with their names behind their numbers; as they are where the input has none.

    Args:
        site: the input, whose units have the names.
    """
    if names is None:
        return list(rows)
    return [_behind(row, "unit", "unit_name", names[row["unit"]] if row["target"] == site else None) for row in rows]


def _behind(row: dict[str, Any], column: str, name: str, value: Any) -> dict[str, Any]:
    """Returns the row with one more column behind another one."""
    place = list(row).index(column) + 1
    items = list(row.items())
    return dict([*items[:place], (name, value), *items[place:]])


def edge_rows(graph: ModelGraph, edges: Iterable[str]) -> list[dict[str, str]]:
    """Returns edges and paths of a network with the columns that sites have."""
    return [
        {
            **{"target": target, "role": graph.role(target), "kind": graph.kind(target)},
            **dict.fromkeys((column.name for column in SITE), NONE),
        }
        for target in edges
    ]
