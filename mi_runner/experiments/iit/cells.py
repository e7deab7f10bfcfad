"""Which variables should be at which site: the cells of `experiment=iit` and `das`, each a set of variables at a site.

What contradicts the data set, the network or other options is found here, before anything is trained.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import Enum

import torch
from torch import Tensor, nn

from mi_runner.config.experiments.iit import AlignmentKind, Control, IitConfig, Sources, Trained
from mi_runner.datasets.causal_models import CausalModel
from mi_runner.errors import ArgumentError, ConfigError, of_option
from mi_runner.experiments import Setting
from mi_runner.experiments.common.variable_sets import data_sets_with_variables, every_set, variable_sets
from mi_runner.experiments.iit.planted import FormulaModel, formula_model
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.graph.sites import Site
from mi_runner.methods.alignment import units_at
from mi_runner.methods.interchange import Aligned
from mi_runner.methods.strictness import spare_places
from mi_runner.models.formulas import parsed
from mi_runner.tables.names import ALL

MOST_ROTATION_NUMBERS = 20_000_000
"""Numbers of a rotation's directions (80 MB); its gradient and the optimizer's state have three times as many."""


@dataclass(frozen=True)
class Cell:
    """One set of variables at one site, which has several rows in the table, with what the options say of it.

    Attributes:
        target: a site, edge or path.
        places: for each source of a pair the variables that are taken from it.
        site: the site whose value is swapped.
        alignment: what a place is: some of the site's units, or of the directions of its rotated space.
        sizes: of each place the number of units or directions.
        units: of each place the units, as indices into the flattened value; empty where places are directions.
    """

    variables: tuple[str, ...]
    target: str
    places: tuple[tuple[str, ...], ...]
    site: Site = field(compare=False)
    alignment: AlignmentKind
    sizes: tuple[int, ...]
    units: tuple[Tensor, ...] = field(default=(), compare=False)

    @property
    def size(self) -> int:
        """The number of units or directions of all places together."""
        return sum(self.sizes)

    @property
    def columns(self) -> dict[str, str]:
        """What identifies the cell in a table."""
        return {"variables": "+".join(self.variables), "site": self.target}

    @property
    def name(self) -> str:
        """What identifies it in the summary: `circularity+color/conv1`."""
        return "/".join(self.columns.values())


def cells(setting: Setting[IitConfig], graph: ModelGraph, causal_model: CausalModel) -> list[Cell]:
    """Returns every set of variables at every site that the options ask for, sets first.

    Raises:
        ConfigError: a variable or site is not there, or named twice, and the text lists those that are; or a site has
            no room for the places.
    """
    config = setting.config
    _check_names_of_places(config, causal_model)
    placed = list(config.places) if config.places is not None else None
    # With all variables the counterfactual label is the source's own.
    default = [causal_model.variables[:-1] or causal_model.variables]
    if isinstance(causal_model, FormulaModel):
        inner = causal_model.variables[causal_model.formula.n :]
        default = [(name,) for name in inner or causal_model.variables]
    given = placed if config.variables is None else config.variables
    if given == ALL and ALL not in causal_model.variables:
        given, default = None, every_set(causal_model)
    sets = variable_sets(given, causal_model, default)
    _check_places_of_all(config, sets)
    targets = targets_of(config.site, graph)
    separate = config.sources is Sources.multi
    return [
        _cell(config, names, target, tuple((name,) for name in names) if separate else (names,), site)
        for names in sets
        for target, site in targets.items()
    ]


def strict_sites(config: IitConfig, graph: ModelGraph) -> list[str]:
    """Returns the sites that `experiment.strictness_sites` names.

    Raises:
        ConfigError: there is no such site.
    """
    if config.strictness_sites is None or not config.strictness:
        return []
    return list(targets_of(config.strictness_sites, graph, "strictness_sites"))


def measured_targets(config: IitConfig, graph: ModelGraph, cell: Cell) -> list[str]:
    """Returns where the effects of units are measured: every layer with weights but the last, and what is trained."""
    return list(dict.fromkeys([cell.target, *_layers(graph), *strict_sites(config, graph)]))


def _layers(graph: ModelGraph) -> list[str]:
    layers = [name for name in graph.usable_sites if has_weights(graph.submodule(name))]
    return layers[:-1] or layers


def targets_of(given: object, graph: ModelGraph, option: str = "site") -> dict[str, Site]:
    """Returns what an option such as `experiment.site` names, each with the site whose value is swapped."""
    able = graph.usable_sites
    sites = [given] if isinstance(given, str) else given
    if sites == [ALL] and ALL not in graph.sites:
        sites = _layers(graph) or None
    if sites is None:
        sites = [name for name in able if name not in (*graph.inputs, graph.output)][:1]
        if not sites:
            raise ConfigError(f"the network has no inner site: type experiment.site=..., one of {', '.join(able)}.")
    if not isinstance(sites, list) or not sites or not all(isinstance(site, str) for site in sites):
        raise ConfigError(f"experiment.{option}={given}: name a site, or several as [conv1,fc1].")
    if len(set(sites)) < len(sites):
        raise ConfigError(f"experiment.{option}=[{','.join(sites)}]: name each site once.")
    with of_option(f"experiment.{option}"):
        targets = {target: graph.target_site(target) for target in sites}
    for target, site in targets.items():
        if site.obstacle:
            raise ConfigError(
                f"experiment.{option}={target}: its value can't be swapped, because {site.name} {site.obstacle}. "
                f"Sites that can: {', '.join(able)}."
            )
    return targets


def _cell(
    config: IitConfig, variables: tuple[str, ...], target: str, places: tuple[tuple[str, ...], ...], site: Site
) -> Cell:
    """Returns a cell with the units or directions of its places.

    Raises:
        ConfigError: the site has no room for them, or a unit is in two places.
    """
    if config.places is not None:
        of_variables = _slices(config, variables, target, site)
        units = tuple(torch.cat([of_variables[name] for name in place]) for place in places)
        return Cell(variables, target, places, site, config.alignment, tuple(map(len, units)), units)
    n, size = len(places), config.size
    if config.small_site_size is not None and n * size >= site.n_units:
        size = config.small_site_size
    _check_size(config, n, size, target, site)
    cell = Cell(variables, target, places, site, config.alignment, (size,) * n)
    if config.alignment is AlignmentKind.rotation:
        return cell
    offsets = [number * size for number in range(n)] if config.offsets is None else list(config.offsets)
    _check_offsets(cell, offsets, size)
    return replace(cell, units=tuple(torch.arange(offset, offset + size) for offset in offsets))


def _check_names_of_places(config: IitConfig, causal_model: CausalModel) -> None:
    with of_option("experiment.places"):
        for variable in config.places or ():
            causal_model.column(str(variable))


def _check_places_of_all(config: IitConfig, sets: list[tuple[str, ...]]) -> None:
    """Checks that every variable that is swapped has a place, and no other variable has any."""
    if config.places is None:
        return
    swapped = dict.fromkeys(itertools.chain(*sets))
    for variable in swapped:
        if variable not in config.places:
            raise ConfigError(
                f"experiment.places={given_places(config)} has no place for {variable}, which is in "
                f'experiment.variables: add {variable}: "[...]", or leave it out of experiment.variables.'
            )
    for variable in config.places:
        if variable not in swapped:
            raise ConfigError(
                f"experiment.places={given_places(config)}: {variable} is not in experiment.variables. Add it there, "
                "or leave out its place."
            )


def given_places(config: IitConfig) -> str:
    """Returns `experiment.places` as it is typed."""
    return "{" + ", ".join(f'{variable}: "{place}"' for variable, place in config.places.items()) + "}"


def causal_model_of(setting: Setting[IitConfig]) -> CausalModel:
    """Returns the data set's causal model, whose labels are the data set's.

    Raises:
        ConfigError: it has none, or another one.
    """
    dataset = setting.dataset
    if dataset.causal_model is None:
        raise ConfigError(
            f"dataset={dataset.name} has no causal model, as it is configured: experiment={setting.config.name} "
            f"needs one to say what a counterfactual label is. Those with one: {data_sets_with_variables()}."
        )
    for split in ("train", "test"):
        y, values = getattr(dataset, f"y_{split}"), getattr(dataset.causal_model, f"values_{split}")
        labels = dataset.causal_model.mechanism(values)
        if labels.shape != y.shape or labels.dtype != y.dtype:
            raise ConfigError(
                f"dataset={dataset.name}: the causal model gives {tuple(labels.shape)} {labels.dtype} for y_{split}, "
                f"which is {tuple(y.shape)} {y.dtype}."
            )
        wrong = (labels != y).nonzero().flatten().tolist()
        if wrong:
            first = wrong[0]
            raise ConfigError(
                f"dataset={dataset.name}: the causal model gives another label than y_{split} for {len(wrong)} of "
                f"{len(y)} examples, the first of them number {first}: {labels[first].item()} for "
                f"{y[first].item()}. Correct the variables or the mechanism."
            )
    if setting.config.formula is not None:
        return _of_formula(setting, setting.config.formula, dataset.causal_model)
    return dataset.causal_model if setting.truth is None else formula_model(setting.truth.formula, dataset.causal_model)


def _of_formula(setting: Setting[IitConfig], text: str, of_data: CausalModel) -> CausalModel:
    """Returns the causal model with the inner nodes of a formula as variables, too.

    Raises:
        ConfigError: the variables are not the inputs of a Boolean function, or the formula gives other labels.
    """
    given, values = f"experiment.formula={text}", torch.cat([of_data.values_train, of_data.values_test])
    if setting.truth is not None:
        raise ConfigError(f"{given}: the weights are planted by a formula of their own. Leave it out.")
    if not bool(((values == 0) | (values == 1)).all()):
        raise ConfigError(f"{given} is for Boolean inputs, as those of dataset=logic. Leave it out.")
    try:
        formula = parsed(text, len(of_data.variables))
    except ArgumentError as error:
        raise ConfigError(f"{given}: {error}") from error
    model = formula_model(formula, of_data)
    wrong = (model.counterfactual(model.values_train, {}) != setting.dataset.y_train).nonzero().flatten().tolist()
    if wrong:
        inputs = model.values_train[wrong[0], : formula.n].long().tolist()
        raise ConfigError(f"{given}: for the inputs {inputs} the label is another one. Give a formula of the labels.")
    return model


def check_options(config: IitConfig) -> None:
    if config.alignment is AlignmentKind.units and config.train is not Trained.network:
        raise ConfigError(
            f"experiment.train={config.train.name} trains a rotation, and experiment.alignment=units has none: type "
            "experiment.train=network or experiment.alignment=rotation."
        )
    if config.alignment is AlignmentKind.rotation and config.offsets is not None:
        raise ConfigError("experiment.offsets is for experiment.alignment=units; a rotation's directions have none.")
    if config.alignment is AlignmentKind.units and config.starts > 1:
        raise ConfigError(
            f"experiment.starts={config.starts} is for a rotation, whose first directions are random; "
            "experiment.alignment=units has none: leave out experiment.starts."
        )
    if config.places is not None:
        _check_options_of_places(config)
    _check_options_of_adversary(config)
    _check_options_of_strictness(config)
    if len(set(config.controls)) < len(config.controls):
        names = ",".join(control.name for control in config.controls)
        raise ConfigError(f"experiment.controls=[{names}]: name each control once.")
    if Control.random_labels in config.controls:
        maps = (
            "add experiment.map=[rotation,revnet]"
            if config.name == "das"
            else "type experiment=das experiment.map=[...]"
        )
        raise ConfigError(f"experiment.controls=[random_labels] is a control of maps: {maps}, or leave it out.")


def _check_options_of_adversary(config: IitConfig) -> None:
    if config.adversary is None:
        for item in fields(config):
            value = getattr(config, item.name)
            if item.name.startswith("adversary_") and value != item.default:
                raise ConfigError(
                    f"experiment.{item.name}={value} is for an adversary, and there is none: add "
                    "experiment.adversary=[...], the variables that must not be swappable."
                )
        return
    given = f"experiment.adversary=[{','.join(config.adversary)}]"
    if config.train is Trained.rotation:
        instead = "experiment=iit" if config.name != "iit" else "experiment.train=both or experiment.train=network"
        raise ConfigError(
            f"{given} with experiment.train=rotation: the network stays as it is, so it can't learn to withstand an "
            f"adversary. Type {instead}."
        )
    if config.alignment is AlignmentKind.units:
        raise ConfigError(
            f"{given} is judged by rotations of the site, also for the chosen variables: leave out "
            "experiment.alignment=units."
        )
    if not config.epochs:
        raise ConfigError(f"{given} with experiment.epochs=0: nothing is trained. Type experiment.epochs=1 or more.")
    if not config.adversary or len(set(config.adversary)) < len(config.adversary):
        raise ConfigError(f"{given}: name each variable once, at least one.")


def _check_options_of_strictness(config: IitConfig) -> None:
    if not config.strictness:
        for item in fields(config):
            value = getattr(config, item.name)
            if item.name.startswith("strictness_") and value != item.default:
                shown = value.name if isinstance(value, Enum) else value
                raise ConfigError(
                    f"experiment.{item.name}={shown} is for strict training: add experiment.strictness=0.4."
                )
        return
    given = f"experiment.strictness={config.strictness:g}"
    if config.train is Trained.rotation:
        instead = "experiment=iit" if config.name != "iit" else "experiment.train=both or experiment.train=network"
        raise ConfigError(
            f"{given} with experiment.train=rotation: the network stays as it is, so no place of it can be emptied. "
            f"Type {instead}."
        )
    if config.adversary is not None:
        raise ConfigError(f"{given} and experiment.adversary both add a loss: omit one.")
    if not config.epochs:
        raise ConfigError(f"{given} with experiment.epochs=0: nothing is trained. Type experiment.epochs=1 or more.")


def check_strictness(config: IitConfig, aligned: Aligned) -> None:
    """Checks that a place is left that should carry nothing."""
    if config.strictness and not spare_places(aligned, [aligned.target, *strict_sites(config, aligned.graph)]):
        raise ConfigError(
            f"experiment.strictness={config.strictness:g}: {aligned.target} has nothing besides the places of the "
            "variables. Type a smaller experiment.size, or name experiment.strictness_sites."
        )


def check_adversary(config: IitConfig, cell: Cell, causal_model: CausalModel) -> None:
    """Checks that the adversary's variables are not the cell's, and that the site has room for its directions."""
    if config.adversary is None:
        return
    with of_option("experiment.adversary"):
        for variable in config.adversary:
            causal_model.column(variable)
    given = f"experiment.adversary=[{','.join(config.adversary)}]"
    if problem := causal_model.contradiction(config.adversary):
        raise ConfigError(f"{given}: {problem}")
    if common := [variable for variable in cell.variables if variable in config.adversary]:
        others = [variable for variable in causal_model.variables if variable not in config.adversary]
        remedy = (
            f"Type experiment.variables=[{','.join(others)}] or some of these"
            if others
            else "Leave one of them out of experiment.adversary"
        )
        raise ConfigError(
            f"{given}: {', '.join(common)} can't be swappable and not swappable at {cell.target} at the same time. "
            f"{remedy}."
        )
    n_units = cell.site.n_units
    fitting = min(n_units, MOST_ROTATION_NUMBERS // n_units // config.adversary_count)
    if config.adversary_rank > fitting:
        count = f" with experiment.adversary_count={config.adversary_count}" if config.adversary_count > 1 else ""
        smaller = f"experiment.adversary_rank={fitting} or less" if fitting else "a smaller experiment.adversary_count"
        raise ConfigError(
            f"experiment.adversary_rank={config.adversary_rank}{count}: {cell.target} has {n_units} units, and "
            f"there is room for {MOST_ROTATION_NUMBERS:,} numbers. Type {smaller}."
        )


def _check_options_of_places(config: IitConfig) -> None:
    places = config.places
    if not isinstance(places, Mapping) or not places or not all(isinstance(place, str) for place in places.values()):
        raise ConfigError(
            f"experiment.places={places}: give each variable slices of the site's axes, in quotes, as "
            """experiment.places='{circularity: "[..., 0:2]"}'."""
        )
    given = given_places(config)
    if config.alignment is AlignmentKind.rotation:
        raise ConfigError(
            f"experiment.places={given} is for units; a rotation's directions have no places. "
            "Add experiment.alignment=units experiment.train=network."
        )
    if config.offsets is not None:
        raise ConfigError(
            f"experiment.places={given} and experiment.offsets={config.offsets} both say where: omit one."
        )
    if config.size != 1:
        raise ConfigError(
            f"experiment.size={config.size} with experiment.places={given}: the slices say how many units a place has. "
            "Leave out experiment.size."
        )


def _slices(config: IitConfig, variables: Sequence[str], target: str, site: Site) -> dict[str, Tensor]:
    """Returns the units of each variable's place.

    Raises:
        ConfigError: the slices don't fit the site, or a unit is in those of two variables.
    """
    units: dict[str, Tensor] = {}
    for variable in variables:
        try:
            units[variable] = units_at(site.shape, config.places[variable])
        except ArgumentError as error:
            raise ConfigError(f"experiment.places, {variable} at {target}: {error}") from error
    for variable, other in itertools.combinations(variables, 2):
        if common := set(units[variable].tolist()) & set(units[other].tolist()):
            raise ConfigError(
                f"experiment.places={given_places(config)}: {len(common)} units of {target} belong to both "
                f"{variable} and {other}. Give each variable units of its own."
            )
    return units


def _check_size(config: IitConfig, n: int, size: int, target: str, site: Site) -> None:
    """Checks that a site has room for `n` places of this size."""
    what = "units" if config.alignment is AlignmentKind.units else "dimensions"
    fitting = site.n_units // n
    if config.alignment is AlignmentKind.rotation:
        fitting = min(fitting, MOST_ROTATION_NUMBERS // site.n_units // n)
    smaller = f"experiment.size={fitting} or less, or " if fitting else ""
    if n * size > site.n_units:
        of_places = f"{n} variables of {size}" if n > 1 else f"{size}"
        raise ConfigError(
            f"experiment.size={size}: {of_places} {what} are more than {target} has, {site.n_units}. "
            f"Type {smaller}another experiment.site."
        )
    if config.alignment is AlignmentKind.rotation and n * size * site.n_units > MOST_ROTATION_NUMBERS:
        raise ConfigError(
            f"experiment.size={size}: {n * size} directions of {site.n_units} numbers are more than "
            f"{MOST_ROTATION_NUMBERS:,}. Type {smaller}another experiment.site."
        )


def _check_offsets(cell: Cell, offsets: Sequence[int], size: int) -> None:
    """Checks that each place has its units at an offset, all of them in the site, and none of them in another place."""
    n, n_units = len(cell.places), cell.site.n_units
    if len(offsets) != n:
        raise ConfigError(
            f"experiment.offsets={offsets}: give one for each place, {n} here "
            f"({', '.join('+'.join(place) for place in cell.places)})."
        )
    for place, offset in zip(cell.places, offsets, strict=True):
        if offset + size > n_units:
            raise ConfigError(
                f"experiment.offsets={offsets}: units {offset} to {offset + size - 1} of {'+'.join(place)} are not all "
                f"in {cell.target}, whose units are 0 to {n_units - 1}."
            )
    by_offset = sorted(zip(offsets, cell.places, strict=True))
    for (first, one), (second, other) in itertools.pairwise(by_offset):
        if first + size > second:
            behind = ",".join(str(number * size) for number in range(n))
            raise ConfigError(
                f"experiment.offsets={offsets}: units {second} to {first + size - 1} belong to both {'+'.join(one)} "
                f"and {'+'.join(other)}. Type offsets at least experiment.size={size} apart, as [{behind}]."
            )


# --- controls ----------------------------------------------------------------------------------------------------


def asked_controls(setting: Setting[IitConfig]) -> list[Control]:
    """Returns the controls of `experiment.controls`; planted weights were never untrained."""
    is_planted = setting.truth is not None
    return [one for one in setting.config.controls if not (is_planted and one is Control.untrained)]


def controls_of(asked: Sequence[Control], graph: ModelGraph, cell: Cell) -> list[Control]:
    """Returns the controls that are asked for and that this network and site have room for."""
    without_room = controls_without_room(asked, graph, cell)
    return [control for control in asked if control not in without_room]


def controls_without_room(asked: Sequence[Control], graph: ModelGraph, cell: Cell) -> dict[Control, str]:
    """Returns the controls that are asked for and can't be measured, each with the reason in words."""
    n_free, n_units = len(free_units(cell)), cell.site.n_units
    what = "units" if cell.alignment is AlignmentKind.units else "directions"
    reasons = {}
    if other_site(graph, cell) is None:
        reasons[Control.other_site] = f"no other layer with weights has room for {cell.size} {what}"
    if n_free < cell.size:
        reasons[Control.other_units] = f"it takes {cell.size} units, and {cell.target} has {n_free} besides the places"
    if cell.size * n_units > MOST_ROTATION_NUMBERS:
        reasons[Control.random_rotation] = (
            f"{cell.size} directions of {n_units} numbers are more than {MOST_ROTATION_NUMBERS:,}"
        )
    return {control: reason for control, reason in reasons.items() if control in asked}


def free_units(cell: Cell) -> Tensor:
    """Returns the site's units that are in no place; all of them if places are directions."""
    free = torch.ones(cell.site.n_units, dtype=torch.bool)
    for units in cell.units:
        free[units] = False
    return free.nonzero().flatten()


def other_site(graph: ModelGraph, cell: Cell) -> str | None:
    """Returns the control's site: the next layer with weights that has room, or the last one before; None if none has.

    It is a layer with weights, because a ReLU or pooling of the cell's site has the same units in the same places.
    """
    own, names = cell.site.name, list(graph.sites)
    most = MOST_ROTATION_NUMBERS // cell.size if cell.alignment is AlignmentKind.rotation else math.inf
    layers = [
        name
        for name in names
        if name not in (own, graph.output)
        and has_weights(graph.submodule(name))
        and not graph.sites[name].obstacle
        and cell.size <= graph.sites[name].n_units <= most
    ]
    later = [name for name in layers if names.index(name) > names.index(own)]
    return later[0] if later else layers[-1] if layers else None


def has_weights(module: nn.Module | None) -> bool:
    """Returns whether a site is the output of a layer with weights."""
    return module is not None and any(True for _ in module.parameters())
