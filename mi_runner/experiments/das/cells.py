"""What `experiment=das` trains with `experiment.map`: each map of each size, for each set of variables at a site."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor, nn

from mi_runner import chance
from mi_runner.config.experiments.das import WITH_MAP, DasConfig
from mi_runner.config.experiments.iit import AlignmentKind, Control, Sources, Trained
from mi_runner.config.options import plain
from mi_runner.datasets.causal_models import CausalModel
from mi_runner.errors import ArgumentError, ConfigError, as_options, one_line
from mi_runner.experiments import Setting
from mi_runner.experiments.common.variable_sets import every_set, variable_sets
from mi_runner.experiments.iit.cells import MOST_ROTATION_NUMBERS, targets_of
from mi_runner.experiments.iit.trials import use_of_start
from mi_runner.graph.interventions import Intervention, read_sites, run_with
from mi_runner.graph.model_graph import ModelGraph
from mi_runner.graph.sites import Site
from mi_runner.methods.alignment import Mapped, Rotation
from mi_runner.methods.maps.bijections import Map, Neurons, RevNet, check_bijection
from mi_runner.methods.maps.limits import check_choices
from mi_runner.models.external import import_callable
from mi_runner.tables.names import ALL

NEURONS, ROTATION, REVNET = "neurons", "rotation", "revnet"
MAPS = (NEURONS, ROTATION, REVNET)

CHECKED = 100
"""Examples on which a map is tried."""

FOR_MAPS = (Control.untrained, Control.random_labels)
"""The controls of a map: networks that have not learned the task."""


NOT_FOR_MAPS = {
    "size": "sizes",
    "small_site_size": "",
    "rotation_learning_rate": "map_learning_rate",
    "learning_rate": "map_learning_rate",
    "warmup_steps": "",
    "task_weight": "",
}
"""Options of `experiment=das` that a map doesn't use → the option that it uses; empty: none."""


@dataclass(frozen=True)
class Chosen:
    """A map that the options name.

    Attributes:
        name: that tables have.
        kind: as it is typed.
        blocks, width: of a reversible network; otherwise 0.
    """

    name: str
    kind: str
    blocks: int = 0
    width: int = 0


@dataclass(frozen=True)
class MapCell:
    """A map of one size for one set of variables at one site, which has a row in the table for each start.

    Attributes:
        variables: each has a place of `size` coordinates, in this order.
        target: a site, edge or path.
        site: the site whose value is swapped.
    """

    map: Chosen
    size: int
    variables: tuple[str, ...]
    target: str
    site: Site = field(compare=False)

    @property
    def places(self) -> tuple[tuple[str, ...], ...]:
        """For each source of a pair the variables that are taken from it."""
        return tuple((name,) for name in self.variables)

    @property
    def columns(self) -> dict[str, str | int]:
        """What identifies the cell in a table."""
        return {"map": self.map.name, "size": self.size, "site": self.target, "variables": "+".join(self.variables)}

    @property
    def name(self) -> str:
        """What identifies it in the summary: `revnet/8/layers.1/left+right`."""
        return "/".join(map(str, self.columns.values()))


def chosen_maps(config: DasConfig) -> list[Chosen]:
    """Returns the maps that the options name; one reversible network for each number of blocks and each width.

    Raises:
        ConfigError: a name is unknown, or there twice.
    """
    kinds = config.map or []
    for kind in kinds:
        if kind not in MAPS and ":" not in kind:
            raise ConfigError(
                f"experiment.map={kind}: there are {', '.join(MAPS)}, and package.module:callable of your own."
            )
    several = len(config.blocks) * len(config.block_width) > 1
    chosen = []
    for kind in kinds:
        if kind != REVNET:
            chosen.append(Chosen(kind, kind))
            continue
        for blocks, width in itertools.product(config.blocks, config.block_width):
            chosen.append(Chosen(f"{kind}_{blocks}_{width}" if several else kind, kind, blocks, width))
    names = [one.name for one in chosen]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"experiment.map=[{','.join(kinds)}]: name each map once, at least one.")
    return chosen


def map_cells(setting: Setting[DasConfig], graph: ModelGraph, variables: CausalModel) -> list[MapCell]:
    """Returns every map and size for every set of variables at every site that the options ask for.

    Raises:
        ConfigError: a variable, site or map is unknown, or a site has no room.
    """
    config = setting.config
    given = config.variables
    if given == ALL and ALL not in variables.variables:
        given = None
    sets = variable_sets(given, variables, every_set(variables))
    maps = chosen_maps(config)
    found = []
    for names, (target, site) in itertools.product(sets, targets_of(config.site, graph).items()):
        for one, size in itertools.product(maps, sizes_at(config, site, len(names))):
            found.append(MapCell(one, size, names, target, site))
    return found


def sizes_at(config: DasConfig, site: Site, n_variables: int) -> list[int]:
    """Returns the numbers of coordinates of each variable at a site.

    Raises:
        ConfigError: it has no room for them.
    """
    room = site.n_units // n_variables
    if not room:
        raise ConfigError(
            f"{site.name} has {site.n_units} units, too few for {n_variables} variables. Name another experiment.site."
        )
    if config.sizes is None:
        # All units of a site for one variable are the source's whole value, whatever the map.
        return [max(1, min(room, site.n_units // 2))]
    if too_large := [size for size in config.sizes if size > room]:
        raise ConfigError(
            f"experiment.sizes={config.sizes}: {n_variables} variables of {too_large[0]} coordinates are more than "
            f"{site.name} has, {site.n_units}. Type experiment.sizes=[{room}] or less."
        )
    if not config.sizes or len(set(config.sizes)) < len(config.sizes):
        raise ConfigError(f"experiment.sizes={config.sizes}: name each size once, at least one.")
    return list(config.sizes)


def controls_of(setting: Setting[DasConfig]) -> list[Control]:
    """Returns the networks that a map is trained in besides: always the untrained one, without which nothing is said.

    None of a network whose weights are planted: it was never untrained.
    """
    if setting.truth is not None:
        return []
    return [one for one in FOR_MAPS if one is Control.untrained or one in setting.config.controls]


def check_options(config: DasConfig) -> None:
    """Checks that the options are those of maps.

    Raises:
        ConfigError: one is for something else; the text says what to type.
    """
    given = f"experiment.map=[{','.join(config.map or [])}]"
    if config.train is not Trained.rotation or config.alignment is not AlignmentKind.rotation:
        raise ConfigError(
            f"{given} trains maps of a network that stays as it is: leave out experiment.train and alignment."
        )
    if not config.epochs:
        raise ConfigError(f"{given} with experiment.epochs=0: nothing is trained. Type experiment.epochs=1 or more.")
    for name in ("offsets", "places", "adversary"):
        if getattr(config, name) is not None:
            raise ConfigError(f"{given} and experiment.{name}: a map has no {name}. Leave out experiment.{name}.")
    if config.strictness:
        raise ConfigError(
            f"{given} and experiment.strictness: the network isn't trained. Leave out experiment.strictness."
        )
    if config.sources is not Sources.single:
        raise ConfigError(f"{given}: each variable has a source of its own. Leave out experiment.sources.")
    for name, instead in NOT_FOR_MAPS.items():
        if getattr(config, name) != getattr(DasConfig(), name):
            what = f"type experiment.{instead} instead" if instead else "leave it out"
            raise ConfigError(f"{given} and experiment.{name}: maps don't use experiment.{name}; {what}.")
    if others := [one.name for one in config.controls if one not in FOR_MAPS]:
        raise ConfigError(
            f"experiment.controls=[{','.join(others)}] is not for maps: a map's controls are "
            f"{', '.join(one.name for one in FOR_MAPS)}."
        )


def check_without_map(config: DasConfig) -> None:
    """Checks that no option of maps is given where there is none.

    Raises:
        ConfigError: one is; the text has the defaults, for a preset may give several.
    """
    given, defaults = [], []
    for item in fields(config):
        default = item.default_factory() if callable(item.default_factory) else item.default
        if item.metadata.get("doc", "").startswith(WITH_MAP) and getattr(config, item.name) != default:
            given.append(f"experiment.{item.name}")
            defaults.append(f"experiment.{item.name}={'null' if default is None else default}")
    if given:
        raise ConfigError(
            f"{', '.join(given)} {'is' if len(given) == 1 else 'are'} for maps, and there is none: add "
            f"experiment.map=[rotation,revnet], or type {' '.join(defaults)}."
        )


def mapped(setting: Setting[DasConfig], cell: MapCell, start: int, *, order: tuple[int, ...] = ()) -> Mapped:
    """Returns the places of a cell's variables before the training of its map.

    Args:
        start: number of the random start, from 1.
        order: of a map that is neurons, those that are chosen.
    """
    config, site = setting.config, cell.site
    sizes = [cell.size] * len(cell.variables)
    of_start = use_of_start(start)
    if cell.map.kind == ROTATION:
        draw = chance.generator(setting.seed, "rotation", cell.target, *of_start)
        return Rotation(site.shape, len(sizes), sizes, generator=draw, steps=plain(config.rotation_steps))
    of_map: Map
    if cell.map.kind == NEURONS:
        of_map = Neurons(site.n_units, order)
    elif cell.map.kind == REVNET:
        draw = chance.generator(setting.seed, "revnet", cell.target, *of_start)
        of_map = RevNet(site.n_units, blocks=cell.map.blocks, width=cell.map.width, generator=draw)
    else:
        with chance.global_seed(setting.seed, "map", cell.map.name, cell.target, *of_start):
            of_map = _own(cell.map.kind)(site.n_units)
    return Mapped(site.shape, of_map, sizes)


def _own(path: str) -> Callable[[int], Map]:
    with as_options(experiment=["map"]):
        made: Callable[[int], Map] = import_callable("map", path)
    return made


def check_maps(setting: Setting[DasConfig], graph: ModelGraph, cells: list[MapCell]) -> None:
    """Checks that each site has room for the maps, and that a map of one's own is a bijection of the site's values.

    Raises:
        ConfigError: it hasn't, or isn't.
    """
    x = setting.dataset.x_train[:CHECKED]
    values: Mapping[str, Tensor] = {}
    for cell in cells:
        n, kind = cell.site.n_units, cell.map.kind
        n_directions = cell.size * len(cell.variables)
        if kind == ROTATION and n_directions * n > MOST_ROTATION_NUMBERS:
            fitting = MOST_ROTATION_NUMBERS // n // len(cell.variables)
            raise ConfigError(
                f"experiment.map=rotation: {n_directions} directions of {n} numbers are more than "
                f"{MOST_ROTATION_NUMBERS:,}. Type experiment.sizes=[{fitting}] or less, or another experiment.site."
            )
        if kind == NEURONS:
            with as_options(experiment=["map", "site"]):
                check_choices(n, len(cell.variables))
        if kind == REVNET and n < 2:
            raise ConfigError(
                f"experiment.map=revnet: {cell.site.name} has one unit, and a revnet takes two. Name another "
                "experiment.site."
            )
        if kind in MAPS:
            continue
        if cell.site.name not in values:
            values = {**values, **read_sites(graph, x, [cell.site.name])}
        try:
            made = mapped(setting, cell, 1).to(x.device).map
        except (ConfigError, ArgumentError):
            raise
        except Exception as error:
            raise ConfigError(
                f"experiment.map={kind}: calling it with the number of units, {n}, raises {one_line(error)}."
            ) from error
        if not isinstance(made, nn.Module) or not callable(getattr(made, "inverse", None)):
            raise ConfigError(
                f"experiment.map={kind} gives {type(made).__name__}: it must be a torch.nn.Module with forward and "
                "inverse."
            )
        with as_options(experiment=["map"]):
            try:
                check_bijection(made, values[cell.site.name].flatten(1), kind)
            except (ArgumentError, ConfigError):
                raise
            except Exception as error:
                raise ArgumentError("map", kind, f"{{map}}={kind} can't run: {one_line(error)}") from error


def n_parameters(alignment: Mapped) -> int:
    """Returns how many numbers of a map are trained."""
    of_map = alignment.map
    if isinstance(of_map, RevNet):
        return of_map.n_parameters
    if isinstance(alignment, Rotation):
        return alignment.weight.numel()
    assert isinstance(of_map, nn.Module)
    return sum(parameter.numel() for parameter in of_map.parameters() if parameter.requires_grad)


def bypasses(graph: ModelGraph, target: str, x: Tensor) -> bool:
    """Returns whether inputs reach the output past the value that is swapped, as over a skip connection.

    Args:
        x: `(B, *input)`: with one value at the target they have one output, or they pass it.
    """
    site = graph.target_site(target).name
    with torch.no_grad():
        value = read_sites(graph, x, [site])[site]
        outputs = run_with(graph, x, [Intervention(target, value[:1].expand_as(value).contiguous())])
    return not torch.allclose(outputs, outputs[:1].expand_as(outputs), rtol=1e-4, atol=1e-5)
