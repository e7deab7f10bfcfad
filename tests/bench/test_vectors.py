"""Test vectors are checked by numpy alone, from the files and the code that docs/vectors.md shows.

Nothing here that recomputes imports mi_runner. `faults` returns what in a folder is not what its definitions say.
Letters: B examples, E edges, M circuits, S sizes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import mi_runner
from mi_runner.bench import vectors
from mi_runner.bench.small_networks import small_networks
from mi_runner.bench.terms import METHODS_EXACTLY
from mi_runner.methods.discovery.records import METHODS
from mi_runner.progress import Advance, Progress
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs/vectors.md").read_text(encoding="utf-8")
FUNCTIONS, LOOP = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
NAMES: dict[str, Any] = {}
exec(compile(FUNCTIONS, "vectors.md", "exec"), NAMES)
SHOWN = SimpleNamespace(**NAMES)

ARRAYS, NUMBERS = "The arrays of a network", "The numbers of a network"
"""Headings of the page."""

Arrays = dict[str, np.ndarray]

SMALL = ("ties-2-4-1", "planted-xor")
"""Networks that take no time."""

# --- what the definitions say, in numpy ------------------------------------------------------------------------------

SLOPES: dict[str, Callable[[Any, float], Any]] = {
    "identity": lambda z, slope: np.ones_like(z),
    "relu": lambda z, slope: (z > 0) * 1.0,
    "leaky_relu": lambda z, slope: np.where(z > 0, 1, slope),
    "tanh": lambda z, slope: 1 - np.tanh(z) ** 2,
}
METHODS_OF_GRADIENTS = ("eap", "eap_ig", "eap_signed", "eap_ig_signed")


def sizes_of(circuits: np.ndarray) -> np.ndarray:
    """The number of edges of circuits (M,) uint64."""
    return np.unpackbits(circuits.astype("<u8")[:, None].view(np.uint8), axis=1).sum(1, dtype=int)


class Recomputed:
    """A network of a folder with one ablation."""

    def __init__(self, network: dict[str, Any], arrays: dict[str, np.ndarray], ablation: str) -> None:
        self.network, self.arrays, self.ablation = network, arrays, ablation
        self.n_layers = len(network["layers"])
        columns = (arrays[f"edge_{name}"].tolist() for name in ("layer", "source", "target"))
        self.ends = list(zip(*columns, strict=True))
        self.n_examples = len(arrays["x"])
        self.closed = cache(self._closed)
        self.full = self.closed(sum(1 << edge for edge in np.flatnonzero(arrays["family"]).tolist()))
        self.sizes = range(self.full.bit_count() + 1)
        self.known: dict[int, float] = {}
        self.n_edges = sizes_of(arrays["every_circuit"]) if "every_circuit" in arrays else None

    def _closed(self, circuit: int) -> int:
        """Takes edges away that nothing enters or that lead nowhere, until nothing changes."""
        while True:
            kept = [end for edge, end in enumerate(self.ends) if circuit >> edge & 1]
            reached = {(0, source) for _, source, _ in kept} | {(layer + 1, target) for layer, _, target in kept}
            reached = {end for end in reached if end[0] == 0 or any((la + 1, t) == end for la, _, t in kept)}
            needed = {(layer, source) for layer, source, _ in kept}
            after = sum(
                1 << edge
                for edge, (layer, source, target) in enumerate(self.ends)
                if circuit >> edge & 1
                and (layer, source) in reached
                and (layer + 1 == self.n_layers or (layer + 1, target) in needed)
            )
            if after == circuit:
                return circuit
            circuit = after

    def measures(self, circuits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """mse and accuracy (M,)."""
        found: tuple[np.ndarray, np.ndarray] = SHOWN.measures_of(circuits, self.network, self.arrays, self.ablation)
        return found

    def mse(self, circuit: int) -> float:
        if circuit not in self.known:
            self.known[circuit] = float(self.measures(np.array([circuit], dtype=np.uint64))[0][0])
        return self.known[circuit]

    def outputs(self, circuits: np.ndarray) -> np.ndarray:
        found: np.ndarray = SHOWN.outputs_of(circuits, self.network, self.arrays, self.ablation)
        return found

    def losses(self, circuits: np.ndarray) -> np.ndarray:
        """The mean loss (M,)."""
        outputs, target = self.outputs(circuits), self.arrays["target"]
        if self.network["loss"] == "squared_error":
            return np.array(((outputs[..., 0] - target) ** 2).mean(1))
        if self.network["loss"] == "logistic":
            signs = np.where(target == 1, 1, -1)
            return np.array(np.log1p(np.exp(-signs * (outputs[..., 0] - 0.5))).mean(1))
        chosen = outputs[:, np.arange(self.n_examples), target]
        return np.array((np.log(np.exp(outputs).sum(2)) - chosen).mean(1))

    def are_valid(self, circuits: np.ndarray) -> np.ndarray:
        answer = SHOWN.ANSWERS[self.network["answers"]]
        goal = self.arrays["target"] if self.network["valid_by"] == "task" else answer(self.arrays["full"])
        share = (answer(self.outputs(circuits)) == goal).mean(1)
        return np.array((share > self.network["accuracy_threshold"]) & (circuits > 0))

    def layers(self) -> Iterator[tuple[np.ndarray, np.ndarray, dict[str, Any]]]:
        for number, layer in enumerate(self.network["layers"]):
            yield self.arrays[f"weight_{number}"], self.arrays[f"bias_{number}"], layer

    def entering(self, x: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
        """What enters each layer, what enters its activations, and the outputs."""
        values, entering, sums = x, [], []
        for weight, bias, layer in self.layers():
            entering.append(values)
            sums.append(values @ weight.T + bias)
            values = SHOWN.ACTIVATIONS[layer["activation"]](sums[-1], layer["slope"])
        return entering, sums, values

    def gradients(self, x: np.ndarray) -> list[np.ndarray]:
        """The gradient of the mean loss by what enters the activations of each layer, by a backward pass."""
        _, sums, outputs = self.entering(x)
        target = self.arrays["target"]
        if self.network["loss"] == "squared_error":
            by_output = 2 * (outputs - target[:, None])
        elif self.network["loss"] == "logistic":
            by_output = 1 / (1 + np.exp(-(outputs - 0.5))) - target[:, None]
        else:
            by_output = np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True) - np.eye(outputs.shape[1])[target]
        by_output, found = by_output / len(x), []
        for (weight, _, layer), before in zip(reversed(list(self.layers())), reversed(sums), strict=True):
            found.append(by_output * SLOPES[layer["activation"]](before, layer["slope"]))
            by_output = found[-1] @ weight
        return found[::-1]

    def scores(self, method: str) -> np.ndarray | None:
        """The scores (E,) of a method that scores; None of others."""
        x = self.arrays["x"]
        entering = self.entering(x)[0]
        by_layer: list[np.ndarray]
        if method == "magnitude":
            by_layer = [abs(weight) for weight, _, _ in self.layers()]
        elif method == "activation":
            mean = [abs(values).mean(0) for values in entering]
            by_layer = [abs(weight) * size for (weight, _, _), size in zip(self.layers(), mean, strict=True)]
        elif method == "edge_patching":
            circuits = [self.closed(self.full & ~(1 << edge)) for edge in range(len(self.ends))]
            outputs = self.entering(x)[2]  # in float64
            distances = ((self.outputs(np.array(circuits, dtype=np.uint64)) - outputs) ** 2).mean((1, 2))
            return np.where(np.array(circuits) == self.full, 0, distances)
        elif method in METHODS_OF_GRADIENTS:
            ablated = [values.mean(0) * (self.ablation == "mean") for values in entering]
            shares = np.arange(1, 11) / 10 if "ig" in method.split("_") else np.ones(1)
            steps = [self.gradients(ablated[0] + share * (x - ablated[0])) for share in shares]
            gradients = [np.mean(of_layer, axis=0) for of_layer in zip(*steps, strict=True)]
            by_layer = [
                np.einsum("oi,bi,bo->oi", weight, fixed - values, gradient)
                for (weight, _, _), fixed, values, gradient in zip(
                    self.layers(), ablated, entering, gradients, strict=True
                )
            ]
            by_layer = by_layer if method.endswith("signed") else [abs(scores) for scores in by_layer]
        else:
            return None
        return np.concatenate([scores.reshape(-1) for scores in by_layer])

    def ranked(self, scores: np.ndarray) -> list[int]:
        """The circuits at each size of a ranking."""
        order = sorted(np.flatnonzero(self.arrays["family"]).tolist(), key=lambda edge: (-scores[edge], edge))
        grown = [0]
        for edge in order:
            grown.append(grown[-1] | 1 << edge)
        closed = [self.closed(circuit) for circuit in grown]
        return [[circuit for circuit in closed if circuit.bit_count() <= k][-1] for k in self.sizes]

    def searched(self, found: list[int]) -> list[int]:
        """The circuits at each size of a search."""

        def best(k: int) -> int:
            fitting = [circuit for circuit in found if circuit.bit_count() <= k]
            return min(fitting, key=lambda circuit: (-circuit.bit_count(), self.mse(circuit)), default=0)

        return [best(k) for k in self.sizes]

    def greedy(self) -> list[int]:
        path = [self.full]
        while path[-1]:
            edges = [edge for edge in range(len(self.ends)) if path[-1] >> edge & 1]
            path.append(min((self.closed(path[-1] & ~(1 << edge)) for edge in edges), key=self.mse))
        return path

    def acdc(self) -> list[int]:
        found = []
        edges = sorted(range(len(self.ends)), key=lambda edge: (-self.ends[edge][0], edge))
        for threshold in np.logspace(-6, 0, 50) * self.mse(0):
            circuit = self.full
            for edge in edges:
                without = self.closed(circuit & ~(1 << edge))
                if without and self.mse(without) - self.mse(circuit) < threshold:
                    circuit = without
            found.append(circuit)
        return found

    def every(self) -> np.ndarray:
        """All closed circuits of a small family (M,) uint64, by closing every set of its edges."""
        edges = np.flatnonzero(self.arrays["family"]).tolist()
        sets = (
            sum(1 << edge for place, edge in enumerate(edges) if bits >> place & 1) for bits in range(1 << len(edges))
        )
        return np.array([circuit for circuit in sets if circuit and self.closed(circuit) == circuit], dtype=np.uint64)


def area_by_pairs(scores: np.ndarray, truth: np.ndarray) -> float | None:
    """The area under the ROC (M,), pair by pair."""
    pairs = [(a > b) + (a == b) / 2 for a in scores[truth] for b in scores[~truth]]
    return float(np.mean(pairs)) if pairs else None


# --- what is compared ------------------------------------------------------------------------------------------------


class Faults:
    """What differs, as `NETWORK ablation method name`."""

    def __init__(self, where: str) -> None:
        self.where, self.found = where, list[str]()

    def compare(self, name: str, given: Any, expected: Any, rtol: float = 1e-9) -> None:
        pair = [np.array(np.nan if value is None else value, dtype=float) for value in (given, expected)]
        same = pair[0].shape == pair[1].shape and np.allclose(*pair, rtol=rtol, atol=1e-12, equal_nan=True)
        if not same:
            self.found.append(f"{self.where} {name}")


def faults(folder: Path, names: tuple[str, ...] = ()) -> list[str]:
    """Returns what is not what it should be; of all networks, or of some."""
    description = json.loads((folder / "vectors.json").read_text(encoding="utf-8"))
    found = []
    for network in description["networks"]:
        if network["name"] in names or not names:
            with np.load(folder / network["file"], allow_pickle=False) as file:
                arrays = dict(file)
            for ablation in network["ablations"]:
                found += faults_of(Recomputed(network, arrays, ablation))
    return found


def faults_of(of: Recomputed) -> list[str]:
    network, arrays, ablation = of.network, of.arrays, of.ablation
    judged = network["ablations"][ablation]
    check = Faults(f"{network['name']} {ablation}")
    entering, _, outputs = of.entering(arrays["x"])
    for number, values in enumerate(entering):
        check.compare(f"mean_{number}", arrays[f"mean_{number}"], values.mean(0))
    check.compare("full", arrays["full"], outputs, rtol=1e-5)
    check.compare("n_edges", network["n_edges"], of.full.bit_count())
    is_right = SHOWN.ANSWERS[network["answers"]](arrays["full"]) == arrays["target"]
    check.compare("accuracy", network["accuracy"], is_right.mean())
    every = arrays.get("every_circuit")
    if every is not None:
        of_every(check, of, every)
    best = arrays[f"{ablation}/best/mse"], arrays[f"{ablation}/best/accuracy"]
    for name, values in zip(("mse", "accuracy"), best, strict=True):
        chosen = arrays[f"{ablation}/best/circuit_by_{name}"]
        check.compare(f"best circuit by {name}", of.measures(chosen)[name == "accuracy"], values)
        check.compare(f"best circuit by {name} closed", chosen, [of.closed(int(each)) for each in chosen])
        check.compare(f"best circuit by {name} at most k", (sizes_of(chosen) <= of.sizes).all(), True)
    check.compare("best cpr", judged["best_cpr"], SHOWN.area(SHOWN.recovered(-best[0], 0)))
    check.compare("best cmd", judged["best_cmd"], SHOWN.area(abs(1 - SHOWN.recovered(best[1], network["accuracy"]))))
    for method, numbers in judged["methods"].items():
        of_method = Faults(f"{check.where} {method}")
        compare_method(of_method, of, method, numbers, best)
        check.found += of_method.found
    return check.found


def of_every(check: Faults, of: Recomputed, every: np.ndarray) -> None:
    """Compares what is known of all circuits."""
    arrays, judged = of.arrays, of.network["ablations"][of.ablation]
    if arrays["family"].sum() <= 14:
        check.compare("every_circuit", every, of.every())
    every = np.concatenate([np.zeros(1, np.uint64), every])
    (mse, accuracy), n_edges, valid = of.measures(every), sizes_of(every), of.are_valid(every)
    check.compare("every_mse", arrays[f"{of.ablation}/every_mse"], mse[1:])
    for name, chosen in (("n_circuits", every > 0), ("n_valid", valid)):
        counts = np.bincount(n_edges[chosen], minlength=len(of.sizes))
        check.compare(f"{name} by size", arrays[f"{of.ablation}/{name}"], counts)
        check.compare(name, judged[name], counts.sum())
    check.compare("fewest_valid", judged["fewest_valid"], n_edges[valid].min() if valid.any() else None)
    check.compare("best mse", arrays[f"{of.ablation}/best/mse"], [mse[n_edges <= k].min() for k in of.sizes])
    highest = [accuracy[n_edges <= k].max() for k in of.sizes]
    check.compare("best accuracy", arrays[f"{of.ablation}/best/accuracy"], highest)


def compare_method(check: Faults, of: Recomputed, method: str, numbers: Any, best: Any) -> None:
    """Compares what the files say of a method."""
    prefix = f"{of.ablation}/{method}"
    own = {name: of.arrays[f"{prefix}/{name}"] for name in (*vectors.OF_SIZES, "circuit", "valid")}
    scores, circuits = of.arrays.get(f"{prefix}/scores"), own["circuit"]
    family = of.arrays["family"]
    expected = of.scores(method)
    if expected is not None:
        check.compare("scores", scores, np.where(family, expected, np.nan))
    if scores is not None:
        check.compare("circuit", circuits, of.ranked(scores))
    elif method in ("greedy", "acdc"):
        check.compare("circuit", circuits, of.searched(of.greedy() if method == "greedy" else of.acdc()))
    mse, accuracy = of.measures(circuits)
    check.compare("closed", circuits, [of.closed(int(circuit)) for circuit in circuits])
    check.compare("mse", own["mse"], mse)
    check.compare("accuracy", own["accuracy"], accuracy)
    check.compare("loss", own["loss"], of.losses(circuits))
    check.compare("valid", own["valid"], of.are_valid(circuits))
    check.compare("regret_mse", own["regret_mse"], mse - best[0])
    check.compare("regret_accuracy", own["regret_accuracy"], best[1] - accuracy)
    check.compare("no circuit is better than the best", min(own["regret_mse"].min(), own["regret_accuracy"].min()), 0)
    valid = sizes_of(circuits)[own["valid"]]
    check.compare("smallest_valid", numbers["smallest_valid"], min(valid, default=None))
    check.compare("cpr", numbers["cpr"], SHOWN.area(SHOWN.recovered(-mse, 0)))
    check.compare("cmd", numbers["cmd"], SHOWN.area(abs(1 - SHOWN.recovered(accuracy, of.network["accuracy"]))))
    check.compare("mean mse", numbers["mse"], mse.mean())
    check.compare("mean regret", numbers["regret_mse"], (mse - best[0]).mean())
    if "every_circuit" in of.arrays:
        check.compare("percentile", own["percentile"], [percentile(of, k, circuits[k]) for k in of.sizes])
    at = range(of.n_layers, len(of.sizes) - 1)
    check.compare("n_sizes_percentile", numbers["n_sizes_percentile"], len(at))
    check.compare("mean percentile", numbers["percentile"], own["percentile"][at].mean())
    if "truth" in of.arrays:
        truth = of.arrays["truth"]
        area = None if scores is None else area_by_pairs(scores[family], truth[family])
        check.compare("roc_auc", numbers["roc_auc"], area)
        kept = [int(circuits[truth.sum()]) >> edge & 1 for edge in range(len(truth))]
        both = (truth * kept).sum()
        check.compare("precision", numbers["precision"], both / sum(kept) if any(kept) else None)
        check.compare("recall", numbers["recall"], both / truth.sum() if any(kept) else None)


def percentile(of: Recomputed, k: int, circuit: np.uint64) -> float:
    """The percentile of the circuit at size k, from the list of every circuit's mse."""
    if not of.n_layers <= k < len(of.sizes) - 1:
        return np.nan
    every, mse = of.arrays["every_circuit"], of.arrays[f"{of.ablation}/every_mse"]
    n_edges = of.n_edges
    size = int(circuit).bit_count() or max(n_edges[n_edges <= k])
    others = mse[(n_edges == size) & (every != circuit)]
    if not len(others):
        return np.nan
    own = of.mse(int(circuit))
    is_equal = abs(others - own) <= 1e-6 * own
    return float((((others < own) & ~is_equal).sum() + is_equal.sum() / 2) / len(others))


# --- the tests -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the command writes; nothing changes it."""
    folder = tmp_path_factory.mktemp("written") / "vectors"
    files = vectors.write_vectors(folder)
    assert sorted(files) == sorted(folder.iterdir()) and files[-1].name == "vectors.json"
    return folder


def changed(folder: Path, to: Path, name: str, change: Callable[[Arrays, Any], None]) -> Path:
    """A folder with one network, in which a function has changed the arrays or the numbers."""
    description = json.loads((folder / "vectors.json").read_text(encoding="utf-8"))
    (network,) = description["networks"] = [each for each in description["networks"] if each["name"] == name]
    arrays = dict(np.load(folder / network["file"]))
    change(arrays, network)
    np.savez(to / network["file"], **arrays)
    (to / "vectors.json").write_text(json.dumps(description), encoding="utf-8")
    return to


def test_all_is_what_the_definitions_say(folder: Path) -> None:
    assert faults(folder) == []


def negated(name: str, place: int) -> Callable[[Arrays, Any], None]:
    def change(arrays: Arrays, network: Any) -> None:
        arrays[name][place] *= -1

    return change


def added(name: str, place: int, value: float) -> Callable[[Arrays, Any], None]:
    def change(arrays: Arrays, network: Any) -> None:
        arrays[name][place] += value

    return change


def without(name: str, place: int) -> Callable[[Arrays, Any], None]:
    """Takes an entry out of what is known of every circuit."""

    def change(arrays: Arrays, network: Any) -> None:
        for each in (name, "zero/every_mse", "mean/every_mse"):
            arrays[each] = np.delete(arrays[each], place)

    return change


def swapped(first: str, second: str) -> Callable[[Arrays, Any], None]:
    """Swaps two arrays."""

    def change(arrays: Arrays, network: Any) -> None:
        arrays[first], arrays[second] = arrays[second], arrays[first]

    return change


def cmd_for_cpr(arrays: Arrays, network: Any) -> None:
    numbers = network["ablations"]["zero"]["methods"]["greedy"]
    numbers["cpr"], numbers["cmd"] = numbers["cmd"], numbers["cpr"]


def area_of_negative_scores(arrays: Arrays, network: Any) -> None:
    numbers = network["ablations"]["mean"]["methods"]["eap"]
    numbers["roc_auc"] = 1 - numbers["roc_auc"]


def one_valid_more(arrays: Arrays, network: Any) -> None:
    network["ablations"]["zero"]["n_valid"] += 1


def another_truth(arrays: Arrays, network: Any) -> None:
    arrays["truth"][np.flatnonzero(arrays["truth"])[0]] = False


MISTAKES = {
    "a sign": ("ties-2-4-1", negated("zero/eap_signed/scores", 1), "zero eap_signed scores"),
    "a score of -|w|": ("planted-xor", negated("mean/magnitude/scores", 0), "mean magnitude scores"),
    "two methods": ("planted-xor", swapped("mean/eap/scores", "mean/eap_ig/scores"), "mean eap scores"),
    "two ablations": ("ties-2-4-1", swapped("zero/greedy/mse", "mean/greedy/mse"), "zero greedy mse"),
    "the path of greedy": (
        "ties-2-4-1",
        swapped("mean/greedy/circuit", "mean/magnitude/circuit"),
        "mean greedy circuit",
    ),
    "circuits of ACDC": ("ties-2-4-1", swapped("zero/acdc/circuit", "zero/eap/circuit"), "zero acdc circuit"),
    "CMD for CPR": ("planted-xor", cmd_for_cpr, "zero greedy cpr"),
    "a percentile": ("ties-2-4-1", added("zero/greedy/percentile", 5, 0.1), "zero greedy percentile"),
    "an optimum": ("planted-xor", added("mean/best/mse", 4, 1e-3), "mean best mse"),
    "an accuracy": ("ties-2-4-1", added("mean/best/accuracy", 3, 1 / 16), "mean best accuracy"),
    "a loss": ("planted-xor", added("mean/greedy/loss", 3, 1e-6), "mean greedy loss"),
    "an mse": ("ties-2-4-1", added("zero/every_mse", 100, 1e-6), "zero every_mse"),
    "a missing circuit": ("ties-2-4-1", without("every_circuit", 7), "zero every_circuit"),
    "a mean": ("ties-2-4-1", added("mean_1", 0, 0.125), "mean mean_1"),
    "a count": ("planted-xor", one_valid_more, "zero n_valid"),
    "an area": ("planted-cancelling", area_of_negative_scores, "mean eap roc_auc"),
    "the truth": ("planted-xor", another_truth, "zero magnitude precision"),
}
"""What is wrong → in which network, what makes it wrong, and the fault that is found."""


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found(mistake: str, folder: Path, tmp_path: Path) -> None:
    name, change, fault = MISTAKES[mistake]
    assert f"{name} {fault}" in faults(changed(folder, tmp_path, name, change))


def test_what_is_changed_by_nothing_has_no_fault(folder: Path, tmp_path: Path) -> None:
    assert faults(changed(folder, tmp_path, "planted-xor", lambda arrays, network: None)) == []


def test_the_page_recomputes_cpr_and_cmd(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    exec(compile(LOOP, "vectors.md", "exec"), dict(NAMES))
    (tmp_path / "vectors").mkdir()
    changed(folder, tmp_path / "vectors", "planted-xor", cmd_for_cpr)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError, match="'planted-xor', 'greedy'"):
        exec(compile(LOOP, "vectors.md", "exec"), dict(NAMES))


def named_in(section: str) -> set[str]:
    """The names in the first column of a section's table."""
    rows = re.findall(r"^\|(.*?)\|", PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0], re.MULTILINE)
    return {name for row in rows for name in re.findall("`(.*?)`", row)}


def test_the_page_names_every_array_and_every_number(folder: Path) -> None:
    description = json.loads((folder / "vectors.json").read_text(encoding="utf-8"))
    methods = {method.name for method in METHODS if not method.draws}
    arrays: set[str] = set()
    for network in description["networks"]:
        for judged in network["ablations"].values():
            assert set(judged["methods"]) == methods == set(description["methods"])
        arrays |= set(np.load(folder / network["file"]))
    kinds = {re.sub("^mean/", "zero/", name) for name in arrays}
    kinds = {re.sub(rf"^zero/({'|'.join(methods)})/", "zero/METHOD/", name) for name in kinds}
    kinds = {name for name in kinds if not re.fullmatch(r"(weight|bias|mean)_[1-9]", name)}
    short = {
        name if "/" in name or f"zero/METHOD/{name}" not in kinds else f"zero/METHOD/{name}"
        for name in named_in(ARRAYS)
    }
    assert short == kinds
    numbers = {*named_in(NUMBERS), "ablations"}
    assert numbers - {"ablations"} == set(judged)
    text = PAGE.split(f"\n## {NUMBERS}\n")[1]
    named = set(re.findall("`(.*?)`", text))
    assert {*network, *(name for each in judged["methods"].values() for name in each)} <= named
    assert set(re.findall(r"^\| `(\S+-\S+)` \|", PAGE, re.MULTILINE)) == {
        each["name"] for each in description["networks"]
    }


def test_the_description_says_which_version_it_is(folder: Path) -> None:
    description = json.loads((folder / "vectors.json").read_text(encoding="utf-8"))
    assert description["version"] == "bench-1" and description["mi_run"] == mi_runner.__version__
    assert len(description["definitions"]) > 15 and all(
        text.endswith(".") for text in description["definitions"].values()
    )


def test_files_have_plain_numbers(folder: Path) -> None:
    for file in folder.glob("*.npz"):
        assert {str(array.dtype) for array in np.load(file, allow_pickle=False).values()} <= {
            *("float64", "int64", "uint64", "bool")
        }


COUNTS = {
    "leaky_relu-2-3-3-1": 10_647,
    "tanh-2-3-3-1": 10_647,
    "relu-3-3-3-1": 124_999,  # as published
    "logits-3-2-4": 11_235,  # (1 + 7 · 15)² − 1
    "ties-2-4-1": 255,  # (1 + 3)⁴ − 1
    "planted-xor": 15,
    "planted-copies": 9_999,
}
"""Network → its circuits, as docs/planted.md has them or by counting."""


def test_counts_are_known_ones(folder: Path) -> None:
    networks = json.loads((folder / "vectors.json").read_text(encoding="utf-8"))["networks"]
    for ablation in ("zero", "mean"):
        counted = {network["name"]: network["ablations"][ablation]["n_circuits"] for network in networks}
        assert {name: counted[name] for name in COUNTS} == COUNTS


def test_the_networks_never_change() -> None:
    """Other weights or inputs make other vectors, with another version."""
    digests = {}
    for network in small_networks():
        tensors = [*network.model.state_dict().values(), network.x, network.target]
        numbers = b"".join(tensor.double().numpy().tobytes() for tensor in tensors)
        digests[network.name] = hashlib.sha256(numbers).hexdigest()[:8]
    assert digests == {
        "leaky_relu-2-3-3-1": "45b6a660",
        "tanh-2-3-3-1": "681de5f3",
        "relu-3-3-3-1": "e1e23248",
        "logits-3-2-4": "f33f7c8b",
        "ties-2-4-1": "b1a74ab9",
        "planted-xor": "c34900a1",
        "planted-cancelling": "993f50f8",
        "planted-copies": "820494cf",
    }


def test_outputs_are_exact_but_those_of_tanh(folder: Path) -> None:
    for network in json.loads((folder / "vectors.json").read_text(encoding="utf-8"))["networks"]:
        arrays = dict(np.load(folder / network["file"]))
        of = Recomputed(network, arrays, "mean")
        assert np.array_equal(of.entering(arrays["x"])[2], arrays["full"]) == (not network["name"].startswith("tanh"))
        assert len(arrays["x"]).bit_count() == 1


def test_the_same_bytes_are_written_again(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = [network for network in small_networks() if network.name in SMALL]
    monkeypatch.setattr(vectors, "small_networks", lambda: some)
    (tmp_path / "vectors.json").write_text("of another time")
    bar = Counted()
    files = vectors.write_vectors(tmp_path, progress=bar)
    assert [file.name for file in files] == [*(f"{network.name}.npz" for network in some), "vectors.json"]
    assert bar.noted == [network.name for network in some]
    for file in files[:-1]:
        assert file.read_bytes() == (folder / file.name).read_bytes()
    again, before = (json.loads((where / "vectors.json").read_text(encoding="utf-8")) for where in (tmp_path, folder))
    assert again["networks"] == [network for network in before["networks"] if network["name"] in SMALL]
    assert sorted(tmp_path.iterdir()) == sorted(files)


class Counted(Progress):
    """Notes what is done."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[str] = []

    @contextmanager
    def bar(self, description: str, total: int) -> Iterator[Advance]:
        def advance(steps: int, note: str = "", /) -> None:
            self.noted += [note] * steps

        yield advance
        assert len(self.noted) == total


def test_the_best_circuits_of_xor_by_hand(folder: Path) -> None:
    """The network is 1 - relu(1 - relu(a - b) - relu(b - a)), and the targets over (a, b) are 0, 1, 1, 0.

    With zero ablation the empty circuit answers 1, so two squares are 1. Three edges are one path: the output is a or b
    or 0, which errs twice, too. With four edges it is relu(a - b), which errs once; all seven are needed for XOR.
    """
    arrays = np.load(folder / "planted-xor.npz")
    assert arrays["zero/best/mse"].tolist() == [0.5] * 4 + [0.25] * 3 + [0]
    assert arrays["zero/best/accuracy"].tolist() == [0.5] * 4 + [0.75] * 3 + [1]
    networks = json.loads((folder / "vectors.json").read_text(encoding="utf-8"))["networks"]
    (judged,) = [network["ablations"]["zero"] for network in networks if network["name"] == "planted-xor"]
    # f is 0 up to 3 edges, 1/2 up to 6, 1 at 7.
    assert (judged["best_cpr"], judged["best_cmd"]) == pytest.approx((2 / 7, 5 / 7))
    assert (judged["n_circuits"], judged["n_valid"], judged["fewest_valid"]) == (15, 1, 7)


def test_the_files_alone_say_what_each_method_computes() -> None:
    drawn_from_nothing = {method.name for method in METHODS if not method.draws}
    assert drawn_from_nothing == set(METHODS_EXACTLY)
