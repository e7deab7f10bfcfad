"""What a bench's command asks for: its options, their mistakes, and the networks of its list."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from mi_runner.bench import jobs
from mi_runner.bench.networks import BENCH_1, FORMULAS, LISTS, PLANTED, TRAINED, Family, Setting
from mi_runner.config import composition
from mi_runner.config.bench_options import BenchConfig, Part
from mi_runner.config.composition import config_hash
from mi_runner.config.hydra_composition import register_schemas
from mi_runner.errors import ConfigError
from mi_runner.sweeps.sweep_plan import Command, read_command
from tests.commands import check
from tests.conftest import Ended
from tests.run_records import write_sweep

SETTINGS = [(family, setting) for family in BENCH_1.families for setting in family.settings]


def asked(*overrides: str) -> Command:
    register_schemas()
    return read_command(overrides)


# --- the list --------------------------------------------------------------------------------------------------------


def test_bench_1_never_changes() -> None:
    families = [(one.name, one.kind, one.least_accuracy) for one in BENCH_1.families]
    small = [(setting.name, setting.is_small) for _, setting in SETTINGS]
    names = [family.name for family in BENCH_1.families]
    all_networks = BENCH_1.networks(families=names, is_small=False, n_seeds=BENCH_1.n_seeds)
    lines = [" ".join((network.name, *network.overrides)) for network in all_networks]
    digest = hashlib.sha256("\n".join([*map(str, families), *map(str, small), *lines]).encode()).hexdigest()
    assert (len(lines), digest) == (600, DIGEST), (
        "bench-1 has changed, and figures that were published on it would not compare: leave it as it was, and give "
        "the other networks a list with another name, bench-2, in LISTS"
    )


DIGEST = "1deb6e2b00e7a7cbd81bf80cf2a4ff082380d7a13fdecbdfb123ca765e80ab4d"


def test_each_list_has_its_own_name_and_each_family_and_setting_of_it_too() -> None:
    assert all(one.name == name for name, one in LISTS.items())
    for one in LISTS.values():
        names = [(family.name, setting.name) for family in one.families for setting in family.settings]
        assert len(set(names)) == len(names) and {family.kind for family in one.families} == {TRAINED, PLANTED}


def test_the_small_part_has_every_kind_of_planted_weights_and_every_activation_but_relu() -> None:
    small = [(family, setting) for family, setting in SETTINGS if setting.is_small]
    planted = {family.name for family in BENCH_1.families if family.kind == PLANTED}
    assert {family.name for family, _ in small if family.kind == PLANTED} == planted
    assert {setting.name for family, setting in small if family.kind == TRAINED} == {"leaky_relu", "tanh"}


@pytest.mark.parametrize(("formula", "table"), FORMULAS.items())
def test_the_truth_table_of_a_formula_is_what_python_makes_of_it(formula: str, table: str) -> None:
    letters = sorted(set(formula) & set("ABC"))
    in_python = formula.replace("~", " not ").replace("&", "and").replace("|", "or")
    rows = itertools.product([False, True], repeat=len(letters))
    answers = [eval(in_python, {}, dict(zip(letters, row, strict=True))) for row in rows]
    assert table == "".join(str(int(answer)) for answer in answers)


@pytest.mark.parametrize(("family", "setting"), SETTINGS, ids=lambda one: one.name)
def test_every_setting_composes_and_checks(family: Family, setting: Setting) -> None:
    overrides = BENCH_1.network(family.name, setting.name, 3).overrides
    check(*overrides)
    config = composition.compose(overrides)
    assert (config.seed, config.experiment.name) == (3, "discovery")
    assert (config.model.name == "planted") == (family.kind == PLANTED)
    if config.model.name == "planted":
        assert config.model.formula == setting.name and config.experiment.last_layers is None


def test_networks_come_seed_by_seed_and_family_by_family() -> None:
    chosen = BENCH_1.networks(families=["planted-noise", "and-2-3-3-1"], is_small=True, n_seeds=2)
    assert [network.name for network in chosen] == [
        f"{name} {seed}"
        for seed in (0, 1)
        for name in (
            "and-2-3-3-1 leaky_relu",
            "and-2-3-3-1 tanh",
            "planted-noise (A & ~B) | (~A & B)",
            "planted-noise (A & B) | C",
        )
    ]


def test_a_network_that_the_list_lacks_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="bench-1 has no network xor-2-3-3-1 gelu: another version of mi-run made"):
        BENCH_1.network("xor-2-3-3-1", "gelu", 0)


# --- options ---------------------------------------------------------------------------------------------------------


def test_the_options_of_the_runs_and_random_go_to_every_run() -> None:
    config, typed = jobs.options_of(asked("bench.seeds=2", "experiment.methods=[eap,random]", "experiment.bootstrap=7"))
    assert config == BenchConfig(seeds=2)
    assert typed == {
        "figures.draw": "figures.draw=false",
        "threads": "threads=1",
        "experiment.methods": "experiment.methods=[random,eap]",
        "experiment.bootstrap": "experiment.bootstrap=7",
    }
    _, typed = jobs.options_of(asked("threads=2", "figures=true", "figures.width=3.3"))
    of_figures = (typed["figures.draw"], typed["figures.width"])
    assert (typed["threads"], *of_figures) == ("threads=2", "figures.draw=true", "figures.width=3.3")
    assert typed["experiment.methods"].startswith("experiment.methods=[random,magnitude,")


@pytest.mark.parametrize(
    ("config", "kinds", "n_seeds"),
    [
        (BenchConfig(), {TRAINED, PLANTED}, 10),
        (BenchConfig(part=Part.small), {TRAINED, PLANTED}, 2),
        (BenchConfig(part=Part.small, seeds=1), {TRAINED, PLANTED}, 1),
        (BenchConfig(part=Part.trained), {TRAINED}, 10),
        (BenchConfig(part=Part.planted), {PLANTED}, 10),
    ],
)
def test_the_parts_of_a_list(config: BenchConfig, kinds: set[str], n_seeds: int) -> None:
    expected = [family.name for family in BENCH_1.families if family.kind in kinds]
    assert jobs.families_of(config) == expected and jobs.n_seeds_of(config) == n_seeds


def test_families_are_in_the_order_of_the_list_each_once() -> None:
    chosen = ["planted-plain", "xor-2-3-3-1", "planted-plain"]
    assert jobs.families_of(BenchConfig(families=chosen)) == ["xor-2-3-3-1", "planted-plain"]


def test_a_job_has_the_options_of_its_network_but_where_the_command_has_others() -> None:
    command = asked(
        "bench.families=[planted-plain]", "bench.seeds=1", "experiment.methods=[eap]", "experiment.bootstrap=2"
    )
    made = jobs.jobs_of(command, None, None, None)
    plan = made.plan("mi-run bench", None)
    assert [job.swept for job in plan.jobs] == [
        {"family": "planted-plain", "setting": formula, "seed": 0} for formula in FORMULAS
    ]
    assert (plan.of, plan.swept, made.n_left) == ("bench", (), 6)
    for job in plan.jobs:
        config = composition.compose(job.overrides)
        network = BENCH_1.network("planted-plain", str(job.swept["setting"]), 0)
        others = [part for part in network.overrides if not part.startswith("experiment.bootstrap=")]
        own = ["experiment.bootstrap=2", "experiment.methods=[random,eap]", "threads=1", "figures=false"]
        assert config_hash(config) == job.config_hash == config_hash(composition.compose([*others, *own]))
        assert config.experiment.bootstrap == 2 and config.threads == 1 and not config.figures.draw


ALL_OTHERS = "bench takes bench.OPTION, experiment.OPTION (not last_layers and truth), threads, device, report, figures"


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        (
            ["bench.part=smal"],
            "bench.part=smal: no part is named 'smal'. Did you mean small? Allowed: all, small, trai",
        ),
        (
            ["bench.part=null"],
            "bench.part=null: no part is named 'null'. Did you mean all? Allowed: all, small, trained, planted.",
        ),
        (["bench.families=[planted-plane]"], "no family is named 'planted-plane'. Did you mean planted-plain? Allowed"),
        (["bench.families=planted-plain"], "must be a list of names: type 'bench.families=[planted-plain]'."),
        (["bench.families=[]"], "bench.families=[]: name at least one of mnist01-3-3-3-1, mnist-3-3-10, xor-2-3-3-1,"),
        (["bench.part=planted", "bench.families=[xor-2-3-3-1]"], "no family is named 'xor-2-3-3-1'. Allowed: planted-"),
        (["bench.networks=bench-2"], "no list of networks is named 'bench-2'. Did you mean bench-1? Allowed: bench-1."),
        (["bench.seeds=0"], "bench.seeds=0: must be at least 1 (seeds of each setting, from 0; null: as many as the"),
        (["bench.seeds=1001"], "bench.seeds=1001: must be at most 1000 ("),
        (["bench.seeds=two"], "bench.seeds=two: must be a whole number."),
        (["bench.seed=1"], "no option of bench is named 'seed'. Did you mean seeds? Allowed: networks, part, families"),
        (["bench.seeds=1,2"], "bench.seeds=1,2: bench takes one value; of a list put brackets around them, [a,b]."),
        (["experiment.methods=eap,acdc"], "bench takes one value; of a list put brackets around them, [a,b]."),
        (
            ["experiment.methods=eap"],
            "experiment.methods=eap: must be a list of names: type 'experiment.methods=[eap]'",
        ),
        (
            ["experiment.methods=[nope]"],
            "experiment.methods has nope: no method is named 'nope'. Allowed: random, magn",
        ),
        (["experiment.methods=[eap,eap]"], "experiment.methods has eap twice. Name it once."),
        (["experiment.methods=[]"], "experiment.methods=[]: name at least one of random, magnitude, "),
        (["experiment.nope=1"], "no key is named 'experiment.nope'. Allowed here: experiment.methods, "),
        (["seed=1"], f"seed=1: {ALL_OTHERS}"),
        (["dataset=mnist"], f"dataset=mnist: {ALL_OTHERS}"),
        (["model.formula=A"], f"model.formula=A: {ALL_OTHERS}"),
        (["experiment=circuits"], f"experiment=circuits: {ALL_OTHERS}"),
        (["experiment.last_layers=2"], f"experiment.last_layers=2: {ALL_OTHERS}"),
        (["experiment.truth=truth.csv"], f"experiment.truth=truth.csv: {ALL_OTHERS}"),
        (["+more=1"], f"+more=1: {ALL_OTHERS}"),
        (["over=checkpoint"], "over=checkpoint: bench has no checkpoints, so it takes no over."),
        (["objective=accuracy"], "so it takes no objective and no hydra/sweeper."),
        (["hydra/launcher=jobli"], "no hydra/launcher is named 'jobli'. Did you mean joblib?"),
        (["hydra/launcher=basic", "hydra.launcher.n_jobs=2"], "hydra/launcher=joblib or "),
        (["-m", "bench.seeds=1"], "mi-run bench runs every network of its list already: leave -m out."),
        (["bench.seeds=1", "--multirun"], "mi-run bench runs every network of its list already: leave --multirun out."),
        (["--vectors", "vectors", "bench.seeds=1"], "bench --vectors FOLDER takes no bench.seeds=1."),
        (["--vectors", "a.txt"], "bench --vectors a.txt: this is a file. Name a folder."),
        (["--vectors"], "expected one argument. Type mi-run bench --help."),
        (["resume=nowhere"], "nowhere is no folder of a sweep: sweep.json can't be read"),
        (["resume=of_sweep"], "resume=of_sweep: this is a sweep. Type mi-run -m resume=of_sweep."),
        (["sweep=of_sweep"], "sweep=of_sweep: this is a sweep. Type mi-run -m sweep=of_sweep."),
    ],
)
def test_a_mistake_says_what_to_type_before_anything_is_made(
    typed: list[str], text: str, mi_run: Callable[..., Ended]
) -> None:
    Path("a.txt").touch()
    write_sweep(Path("of_sweep"), {"seed": []}, overrides=[], base={}, code="", left_out=[])
    ended = mi_run("bench", *typed)
    assert ended.status == 2 and text in ended.err, ended.err
    assert ended.out == "" and sorted(path.name for path in Path().iterdir()) == ["a.txt", "of_sweep"]


def test_a_bench_behind_a_sweeps_flag_is_told_its_place(mi_run: Callable[..., Ended]) -> None:
    ended = mi_run("-m", "bench", "bench.part=small")
    assert ended.status == 2 and "bench is a command of its own, and comes first: type mi-run bench." in ended.err
