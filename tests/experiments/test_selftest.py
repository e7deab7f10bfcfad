"""The self-test: every check holds, and each is shown to fail where what it checks is broken on purpose."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import mi_runner
from mi_runner.cli import command
from mi_runner.config.experiments.selftest import Group
from mi_runner.datasets import algorithms
from mi_runner.experiments.selftest import checks, experiment
from mi_runner.experiments.selftest.records import Check, Compared
from mi_runner.machine import compiled
from mi_runner.training.model_store import Stored

BY_NAME: dict[str, Check] = {f"{group}/{one.name}": one for group, all_of in checks.CHECKS.items() for one in all_of}
BY_NAME |= {
    f"devices/{one.name}": Check(one.name, one.sentence, partial(one.compare, torch.device("cpu")))
    for one in checks.DEVICES
}

Break = Callable[[Any], Any]
"""What is in the library → what stands in its place."""


# --- ways to break a function ----------------------------------------------------------------------------------------


def after(change: Callable[[Any], Any]) -> Break:
    """Changes what a function returns."""
    return lambda original: lambda *args, **kwargs: change(original(*args, **kwargs))


def instead(value: Any) -> Break:
    """Puts something else in its place."""
    return lambda original: value


def before(change: Callable[..., tuple[tuple[Any, ...], Mapping[str, Any]]]) -> Break:
    """Changes what a function is given."""

    def broken(original: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = change(*args, **kwargs)
            return original(*args, **kwargs)

        return call

    return broken


def with_names(**changes: Callable[[Any], Any]) -> Break:
    """Changes attributes of the frozen value that a function returns."""
    return after(
        lambda value: dataclasses.replace(value, **{name: of(getattr(value, name)) for name, of in changes.items()})
    )


def second_time(change: Callable[[Any], Any]) -> Break:
    """Changes what a function returns from its second call on, as another device would."""

    def broken(original: Any) -> Any:
        calls = itertools.count()

        def call(*args: Any, **kwargs: Any) -> Any:
            value = original(*args, **kwargs)
            return change(value) if next(calls) else value

        return call

    return broken


def swapped_answers(answers: list[Any]) -> list[Any]:
    return [1 - values for values in answers]


def mean_of_means(original: Any) -> Any:
    return lambda batches: torch.stack([batch.double().mean(0) for batch in batches]).mean(0)


def swapped_summands(value: tuple[Any, dict[str, str]]) -> tuple[Any, dict[str, str]]:
    graph, names = value
    return graph, dict(zip(names, [*list(names.values())[1:], *list(names.values())[:1]], strict=True))


def without_last(measured: Any) -> Any:
    return measured.kept(np.arange(len(measured) - 1))


def in_place(original: Any) -> Any:
    @contextmanager
    def write(path: Path, **kwargs: Any) -> Iterator[Path]:
        yield path

    return write


def untidy(original: Any) -> Any:
    @contextmanager
    def write(path: Path, **kwargs: Any) -> Iterator[Path]:
        path.with_name("left").touch()
        with original(path, **kwargs) as beside:
            yield beside

    return write


def trusting(original: Any) -> Any:
    def read(folder: Path, network: Any, *, is_shared: bool = False) -> Any:
        return (Stored(folder / "model.safetensors", "", [], False), network.state_dict()) if folder.exists() else None

    return read


def always_the_first(original: Any) -> Any:
    return lambda self, k, n: np.repeat(original(self, k, 1), n, axis=0)


def leaking(original: Any) -> Any:
    def probe(features: Any, targets: Any, folds: Any, **kwargs: Any) -> Any:
        held_out = original(features, targets, folds, **kwargs)
        return dataclasses.replace(held_out, predictions=targets)

    return probe


def by_magnitude(weight: Any, inside: Any) -> Any:
    return (weight * inside).abs().sum() / weight.abs().sum()


def shifted_examples(value: tuple[Any, Any]) -> tuple[Any, Any]:
    entering, gradients = value
    return [values.flip(0) for values in entering], gradients


def of_b(model: Any, values: Any, places: Any, n: int, **kwargs: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    return (model, values, [("b",)], n), kwargs


def other_cluster(weight: Any, partition: Any, cluster: int, state: str) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    return (weight, partition, cluster, "on" if state == "off" else "off"), {}


def smaller_k(graph: Any, x: Any, sites: Any, k: int) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    return (graph, x, sites, k - 1), {}


def never_cut(*args: Any, threshold: float, **kwargs: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    return args, {**kwargs, "threshold": -1.0}


def other_units(graph: Any, target: str, source: Any, units: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    return (graph, target, source, ~units), {}


def one_fold(target: Any, predictions: Any, folds: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    return (target, predictions, [torch.cat(list(folds))]), {}


METHODS, SELF = "mi_runner.methods", "mi_runner.experiments.selftest"

OF_TREES = " ".join(f"explanations/{name}" for name in ("trees_1", "trees_2", "trees_3", "xor", "and", "or", "nimp"))
OF_OBJECTIVE = (
    "discovery/patching_zero discovery/patching_mean discovery/ranked discovery/greedy "
    "discovery/patching_linear_zero discovery/patching_linear_mean"
)

BREAKS: list[tuple[str, str, Break, str]] = [
    # what is broken, where, how, the checks that fail
    (
        "swapped outputs",
        "mi_runner.graph.model_graph:ModelGraph.__call__",
        after(lambda outputs: outputs.flip(1)),
        "ablation/intact",
    ),
    ("1 in place of 0", f"{SELF}.ablation:zero", instead(torch.ones_like), "ablation/zero ablation/skip_edge"),
    (
        "an edge is taken as its site",
        "mi_runner.graph.model_graph:ModelGraph.resolve",
        after(lambda steps: steps[:1]),
        "ablation/edge ablation/skip_edge ablation/path",
    ),
    (
        "a path loses its last step",
        "mi_runner.graph.model_graph:ModelGraph.resolve",
        after(lambda steps: steps[:3]),
        "ablation/path",
    ),
    ("the other units", f"{SELF}.ablation:interchange", before(other_units), "ablation/swapped_unit"),
    (
        "a wrong sign of the mean",
        "mi_runner.graph.interventions:Runs.means",
        after(lambda means: {site: -mean for site, mean in means.items()}),
        "ablation/mean",
    ),
    (
        "a swapped index of sources",
        f"{METHODS}.replacements:Replacements._index",
        after(lambda index: tuple(rows.roll(1) for rows in index)),
        "ablation/resample",
    ),
    (
        "a swapped index of units",
        f"{METHODS}.ablation:_each_unit",
        after(lambda pairs: ((1 - unit, outputs) for unit, outputs in pairs)),
        "ablation/unit",
    ),
    ("a mean of batch means", f"{SELF}.ablation:mean", mean_of_means, "ablation/mean_of_batches"),
    (
        "swapped summands",
        "mi_runner.graph.model_graph:ModelGraph.split_output",
        after(swapped_summands),
        "contributions/x contributions/relu",
    ),
    ("a summand is forgotten", f"{SELF}.ablation:contributions", after(lambda rows: rows[1:]), "contributions/sum"),
    (
        "an empty row is allowed",
        f"{METHODS}.circuits.space:ways_into_layer",
        after(lambda ways: {active: n + 1 for active, n in ways.items()}),
        "circuits/count_2331 circuits/count_3441",
    ),
    (
        "a circuit is left out",
        f"{METHODS}.circuits.search:_measured",
        after(without_last),
        "circuits/listed circuits/listed_any",
    ),
    (
        "valid with one answer less",
        f"{METHODS}.circuits.examples:CircuitExamples.fewest_right",
        after(lambda n: n - 1),
        "circuits/valid_zero circuits/valid_mean census/valid_zero",
    ),
    (
        "a wrong sign of the mean",
        "mi_runner.graph.chain:Part.means",
        after(lambda means: tuple(-mean for mean in means)),
        "circuits/valid_mean circuits/mse_mean census/valid_mean census/edges",
    ),
    (
        "a sum in place of a mean",
        f"{METHODS}.circuits.search:_measured",
        with_names(squares=lambda squares: 4 * squares + 1),
        "circuits/mse_zero circuits/mse_mean",
    ),
    (
        "valid circuits are forgotten",
        f"{METHODS}.circuits.minimality:kernels.has_bits",
        after(np.zeros_like),
        "circuits/minimal",
    ),
    (
        "a circuit is left out",
        f"{METHODS}.circuits.family:circuits_of_family",
        after(lambda circuits: circuits[:-1]),
        "circuits/planted_number circuits/planted",
    ),
    (
        "counts shifted by one answer",
        f"{METHODS}.circuits.search:take_census",
        after(lambda found: (dataclasses.replace(found[0], counts=np.roll(found[0].counts, 1, 2)), found[1])),
        "census/counts_zero census/counts_mean census/valid_zero",
    ),
    (
        "a swapped index of edges",
        f"{METHODS}.circuits.search:take_census",
        after(lambda found: (dataclasses.replace(found[0], edge_counts=np.roll(found[0].edge_counts, 1)), found[1])),
        "census/edges",
    ),
    (
        "boxes twice as wide",
        f"{METHODS}.robustness.certify:spread_of",
        after(lambda spread: 2 * spread),
        "regions/largest regions/proved",
    ),
    (
        "boxes half as wide",
        f"{METHODS}.robustness.certify:spread_of",
        after(lambda spread: 0.5 * spread),
        "regions/largest regions/refuted",
    ),
    (
        "everything is proved",
        f"{METHODS}.robustness.certify:decide_all",
        instead(lambda *arguments: arguments[10].fill(1)),
        "regions/largest regions/contradicted",
    ),
    (
        "a wrong sign of the output",
        f"{METHODS}.robustness.difference:largest_difference",
        after(lambda found: (0.5 * found[0], 0.5 * found[1], found[2])),
        "regions/difference",
    ),
    (
        "a variable is forgotten",
        f"{SELF}.explanations:algorithms",
        after(lambda found: found[1:]),
        "explanations/trees_0",
    ),
    (
        "a pair of subtrees is forgotten",
        "mi_runner.datasets.algorithms:_pairs",
        after(lambda pairs: (pairs[0][1:], pairs[1][1:])),
        OF_TREES,
    ),
    (
        "an edge is dropped",
        f"{METHODS}.explanations.groundings:_kept",
        after(lambda kept: kept & ~1),
        "explanations/groundings",
    ),
    (
        "no set of neurons carries a node",
        f"{METHODS}.explanations.alignments:Interchange.sets_of_nodes",
        after(lambda sets: [[] for _ in sets]),
        "explanations/alignments explanations/joint",
    ),
    (
        "neurons may have two nodes",
        f"{METHODS}.explanations.alignments:_disjoint",
        instead(lambda of_nodes: iter(())),
        "explanations/joint",
    ),
    (
        "a wrong sign of the objective",
        f"{METHODS}.discovery.masked:MaskedPart.objective",
        after(lambda values: -values),
        OF_OBJECTIVE,
    ),
    (
        "scores in the order of the edges",
        f"{METHODS}.discovery.scores:random",
        after(lambda layers: [torch.arange(layer.numel()).reshape(layer.shape) for layer in layers]),
        "discovery/random",
    ),
    (
        "ties count in full",
        f"{METHODS}.discovery.detection:rankdata",
        instead(lambda scores: np.array([(scores <= one).sum() for one in scores])),
        "discovery/area",
    ),
    (
        "an edge is dropped",
        f"{SELF}.discovery:acdc",
        after(lambda found: dataclasses.replace(found, circuits=[found.circuits[0][:, ::-1]])),
        "discovery/acdc",
    ),
    (
        "gates are read the wrong way around",
        f"{SELF}.discovery:edge_pruning",
        after(lambda circuits: ~circuits),
        "discovery/edge_pruning",
    ),
    (
        "a wrong sign of the mean",
        f"{METHODS}.discovery.scores:mean_values",
        after(lambda means: tuple(-mean for mean in means)),
        "discovery/eap_mean",
    ),
    (
        "a swapped index of examples",
        f"{METHODS}.discovery.scores:_gradients",
        after(shifted_examples),
        "discovery/eap_zero discovery/eap_mean discovery/eap_ig",
    ),
    (
        "widths are forgotten",
        f"{METHODS}.discovery.curves:_area",
        instead(lambda values, sizes: float(values.mean())),
        "discovery/cpr",
    ),
    (
        "always the same draw",
        f"{METHODS}.discovery.sampling:CircuitSampler.draw",
        always_the_first,
        "discovery/sampled",
    ),
    ("weights are not squared", f"{SELF}.clusters:clusterability", instead(by_magnitude), "clusters/clusterability"),
    (
        "on and off are swapped",
        f"{METHODS}.clusters:switched_weight",
        before(other_cluster),
        "clusters/off clusters/on clusters/own_class",
    ),
    ("no edge is cut", f"{SELF}.clusters:prune", before(never_cut), "clusters/prune"),
    ("one example too few", f"{SELF}.clusters:top_examples", before(smaller_k), "clusters/interpretability"),
    ("the share inside", f"{SELF}.clusters:pruned_share", after(lambda share: 1 - share), "clusters/pruned_share"),
    (
        "the source is ignored",
        "mi_runner.datasets.causal_models:CausalModel.counterfactual",
        instead(lambda self, base, sources: self.mechanism(base)),
        "iit/labels iit/planted_unit",
    ),
    (
        "the other units",
        f"{METHODS}.alignment:Units.forward",
        instead(lambda self, base, sources: torch.where(self.masks[0], base, sources[0])),
        "iit/planted_unit iit/other_unit",
    ),
    ("directions of length 2", f"{METHODS}.maps.bijections:orthonormal", after(lambda rows: 2 * rows), "iit/projected"),
    ("labels of another variable", f"{SELF}.iit:draw_pairs", before(of_b), "iit/direction"),
    (
        "a swapped index of base examples",
        f"{METHODS}.interchange:Aligned.values_on",
        after(lambda values: (values[0].flip(0), values[1])),
        "iit/not_carried",
    ),
    (
        "a swapped index of examples",
        f"{SELF}.probes:probe",
        with_names(predictions=lambda found: {name: rows.roll(1, 0) for name, rows in found.items()}),
        "probes/planted probes/class",
    ),
    ("held-out examples leak", f"{SELF}.probes:probe", leaking, "probes/noise"),
    ("the total is about the overall mean", f"{SELF}.probes:score", before(one_fold), "probes/r2"),
    ("answers are swapped", f"{SELF}.decoder:decode", after(swapped_answers), "decoder/planted"),
    (
        "codes are not shuffled",
        f"{SELF}.decoder:shuffled_labels",
        instead(lambda labels, seed: labels),
        "decoder/noise",
    ),
    ("answers are swapped", f"{SELF}.decoder:linear_probe", after(swapped_answers), "decoder/probe"),
    ("rows are swapped", f"{SELF}.decoder:activation_images", after(lambda images: images.flip(1)), "decoder/images"),
    ("a square root is forgotten", f"{SELF}.decoder:distance_matrix", after(torch.square), "decoder/distances"),
    ("a 68 % interval", "mi_runner.tables.intervals:Z_95", instead(1.0), "intervals/wilson intervals/wilson_end"),
    (
        "Wilson's in place of the exact one",
        f"{SELF}.intervals:clopper_pearson",
        instead(mi_runner.tables.intervals.wilson_interval),
        "intervals/exact_end",
    ),
    (
        "the normal distribution's quantile of 68 %",
        "mi_runner.tables.intervals:t_quantile",
        instead(lambda freedom: 1.0),
        "intervals/accuracies intervals/losses intervals/student",
    ),
    ("files are written in place", f"{SELF}.folders:written_whole", in_place, "folders/killed_write"),
    ("a file is left over", f"{SELF}.folders:written_whole", untidy, "folders/finished_write"),
    (
        "a killed run is called done",
        f"{SELF}.folders:_statuses",
        after(lambda statuses: ["done" if status == "killed" else status for status in statuses]),
        "folders/killed_run",
    ),
    (
        "another digest",
        f"{SELF}.folders:sha256",
        instead(lambda path: hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()),
        "folders/digest",
    ),
    (
        "the store is never read",
        "mi_runner.training.model_store:_read",
        instead(lambda *args, **kwargs: None),
        "folders/store",
    ),
    (
        "digest and record are not looked at",
        "mi_runner.training.model_store:_read",
        trusting,
        "folders/store_cut folders/store_killed",
    ),
    (
        "a device that is off by 0.001",
        f"{SELF}.devices:run_with",
        second_time(lambda outputs: outputs + 1e-3),
        "devices/intervention",
    ),
    (
        "a device that is off by 0.001",
        f"{SELF}.devices:_ablated",
        second_time(lambda losses: [loss + 1e-3 for loss in losses]),
        "devices/ablation",
    ),
    (
        "a device that counts one circuit more",
        f"{SELF}.devices:_measured",
        second_time(lambda found: [found[0] + 1, *found[1:]]),
        "devices/circuits",
    ),
    (
        "a device on which a criterion is another",
        f"{SELF}.devices:_judged",
        second_time(lambda values: [values[0] + 0.01, *values[1:]]),
        "devices/criteria",
    ),
    (
        "a device with a wrong sign",
        f"{SELF}.devices:eap",
        second_time(lambda layers: [-layer for layer in layers]),
        "devices/eap",
    ),
    (
        "a device that is off by 0.001",
        f"{SELF}.devices:_probed",
        second_time(lambda values: [value + 1e-3 for value in values]),
        "devices/probes",
    ),
]


@pytest.fixture(autouse=True)
def uncached() -> Iterator[None]:
    """Forgets what is kept of a broken library."""
    kept = [algorithms.algorithms, import_module(f"{METHODS}.circuits.space")._count]
    for function in kept:
        function.cache_clear()
    yield
    for function in kept:
        function.cache_clear()


def broken_at(monkeypatch: pytest.MonkeyPatch, place: str, broken: Break) -> None:
    module, _, path = place.partition(":")
    owner: Any = import_module(module)
    *owners, name = path.split(".")
    for step in owners:
        owner = getattr(owner, step)
    monkeypatch.setattr(owner, name, broken(getattr(owner, name)))


@pytest.mark.parametrize("name", BY_NAME)
def test_a_check_holds(name: str) -> None:
    compared = BY_NAME[name].compare()
    assert compared.holds, compared


@pytest.mark.parametrize(("what", "place", "broken", "names"), BREAKS, ids=[f"{row[0]}-{row[3]}" for row in BREAKS])
def test_a_check_fails_where_something_is_broken(
    monkeypatch: pytest.MonkeyPatch, what: str, place: str, broken: Break, names: str
) -> None:
    for name in names.split():
        with monkeypatch.context() as patched:
            broken_at(patched, place, broken)
            row = experiment.row_of("", BY_NAME[name])
        assert not row["ok"], f"{name} holds although there is {what}: {row}"
        assert row["error"] is None, f"{name} ends with an error, which shows nothing: {row}"


def test_every_check_has_a_break() -> None:
    assert {name for *_, names in BREAKS for name in names.split()} == set(BY_NAME)


def test_groups_of_the_option_are_those_of_the_checks() -> None:
    assert [group.name for group in Group] == [*checks.CHECKS, "devices"]


def test_names_are_different_within_a_group_and_sentences_say_something() -> None:
    for all_of in checks.CHECKS.values():
        assert len({one.name for one in all_of}) == len(all_of)
    assert all(len(one.sentence) > 15 for one in BY_NAME.values())


def test_values_hold_within_the_tolerance_alone() -> None:
    assert Compared(1.0, 1.25, 0.25).holds
    assert not Compared(1.0, 1.25, 0.2).holds
    assert not Compared(1.0, float("nan"), 9.0).holds


def test_an_error_of_a_method_is_a_row() -> None:
    def compare() -> Compared:
        raise ZeroDivisionError("by zero")

    row = experiment.row_of("circuits", Check("odd", "a sentence", compare))
    assert (row["ok"], row["found"], row["error"]) == (False, None, "ZeroDivisionError: by zero")
    assert experiment.answer([row]) == "Of 1 check 1 doesn't hold: circuits/odd (ZeroDivisionError: by zero)."


ONE_GROUP = ["experiment=selftest", "experiment.only=[contributions]", "report=false"]


def test_a_run_has_its_table_and_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([*ONE_GROUP, f"output_dir={tmp_path}"]) == 0
    folder = Path(capsys.readouterr().out.splitlines()[-1])
    assert folder == tmp_path / "selftest/logic-planted/v001"
    frame = pd.read_csv(folder / "metrics.csv")
    assert frame["check"].tolist() == ["x", "relu", "sum"] and frame["ok"].all()
    assert list(frame) == ["group", "check", "expected", "found", "tolerance", "ok", "seconds", "error"]
    assert mi_runner.open(folder).answer == "All 3 checks hold."


def test_a_run_ends_with_status_3_and_has_its_table_if_a_check_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_at(monkeypatch, "mi_runner.graph.model_graph:ModelGraph.split_output", after(swapped_summands))
    assert command.main([*ONE_GROUP, f"output_dir={tmp_path}"]) == 3
    said = capsys.readouterr()
    assert "n_failed = " in said.err and "contributions/x doesn't hold: what the skip connection adds" in said.err
    frame = pd.read_csv(tmp_path / "selftest/logic-planted/v001/metrics.csv")
    assert len(frame) == 3 and not frame["ok"].all()


def test_an_expectation_of_ones_own_counts_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [*ONE_GROUP, f"output_dir={tmp_path}", 'expect={n_checks: ">=4"}']
    assert command.main(asked) == 3
    assert "n_checks = 3, expected >= 4" in capsys.readouterr().err


def test_the_bound_of_the_self_test_holds_beside_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken_at(monkeypatch, "mi_runner.graph.model_graph:ModelGraph.split_output", after(swapped_summands))
    asked = [*ONE_GROUP, f"output_dir={tmp_path}", 'expect={n_checks: "==3"}']
    assert command.main(asked) == 3


def test_devices_are_refused_on_the_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["experiment=selftest", "experiment.only=[devices]", "device=cpu", f"output_dir={tmp_path}"]
    assert command.main(asked) == 2
    assert "Type device=cuda" in capsys.readouterr().err


def test_another_device_is_compared_with_the_cpu() -> None:
    cpu, meta = torch.device("cpu"), torch.device("meta")
    n_of_cpu = len(checks.checks_of([], cpu))
    assert len(checks.checks_of([], meta)) == n_of_cpu + len(checks.DEVICES)
    assert [group for group, _ in checks.checks_of(["devices"], meta)] == ["devices"] * len(checks.DEVICES)
    assert not checks.checks_of(["devices"], cpu)


def test_the_seconds_of_a_check_leave_out_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of five seconds three are spent on kernels."""
    now, kernels = [100.0], SimpleNamespace(done=False, duration=0.0)
    monkeypatch.setattr(compiled, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(compiled, "_preparing", kernels)

    def compare() -> Compared:
        now[0] += 5
        kernels.done, kernels.duration = True, 3.0
        return Compared(1.0, 1.0)

    assert experiment.row_of("circuits", Check("slow", "a sentence", compare))["seconds"] == 2
