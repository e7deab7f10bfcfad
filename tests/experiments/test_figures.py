"""Each figure shows the numbers of its tables: what its bars, lines, points and images hold, beside the run's files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from safetensors.torch import load_file
from torch.nn import functional

from mi_runner.config import composition
from mi_runner.datasets import Dataset
from mi_runner.machine import drawing
from mi_runner.runs.choices import load_dataset
from mi_runner.tables import styles
from tests.conftest import Ended

pytestmark = pytest.mark.drawn

Drawn = tuple[Ended, Mapping[str, Figure]]
DrawnBy = Callable[..., Drawn]


@pytest.fixture
def drawn_by(mi_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch) -> DrawnBy:
    """A command, once it has run, and the figures of its folder, by name."""
    drawn: dict[Path, Figure] = {}
    save = drawing.save_figure

    def keep(drawing: Callable[[], Figure], path: Path) -> None:
        figure = drawn[Path(path)] = drawing()  # beside its place: .NAME.png.0123.tmp.png
        save(lambda: figure, path)

    monkeypatch.setattr(drawing, "save_figure", keep)

    def run(*arguments: str) -> Drawn:
        drawn.clear()
        ended = mi_run(*arguments)
        assert ended.status == 0, ended.err
        of_folder = {
            path.name.removeprefix(".").partition(".png")[0]: figure
            for path, figure in drawn.items()
            if path.parent.resolve() == (ended.folder / "figures").resolve()
        }
        assert set(of_folder) == {path.stem for path in ended.folder.glob("figures/*.png")} != set()
        return ended, of_folder

    return run


def table(of: Ended, name: str) -> pd.DataFrame:
    return pd.read_csv(of.folder / f"{name}.csv", keep_default_na=False, na_values=[""])


def dataset_of(*arguments: str) -> Dataset:
    config = composition.compose(list(arguments))
    return load_dataset(config.dataset, seed=config.seed)


def near(values: object) -> object:
    return pytest.approx(np.asarray(values, dtype=float), rel=1e-5, abs=1e-7, nan_ok=True)


def labels(ticks: list[object]) -> list[str]:
    return [tick.get_text() for tick in ticks]


def legend(axes: Axes) -> list[str]:
    return axes.get_legend_handles_labels()[1]


def image_of(axes: Axes) -> np.ndarray:
    """The numbers of the image on a pair of axes."""
    return np.ma.filled(axes.images[0].get_array().astype(float), np.nan)


def pictures(axes: Axes, size: int) -> dict[str, np.ndarray]:
    """Caption → picture of a mosaic of square pictures; a caption stands above the middle of its picture."""
    canvas = image_of(axes)
    found = {}
    for text in axes.texts:
        middle, above = text.get_position()
        left, top = round(middle - size / 2), int(np.ceil(above))
        while np.isnan(canvas[top, left]):
            top += 1
        found[text.get_text()] = canvas[top : top + size, left : left + size]
    return found


# --- train -----------------------------------------------------------------------------------------------------------


def test_history_confusion_and_mistakes_of_a_training(drawn_by: DrawnBy) -> None:
    small = ("dataset=mnist", "dataset.limit=80", "model.hidden_sizes=[8]", "training.epochs=2", "seed=0")
    ended, drawn = drawn_by(*small)
    assert set(drawn) == {"history", "confusion", "mistakes", "classes"}
    history, (left, right) = table(ended, "history"), drawn["history"].axes
    for axes, columns in ((left, ["loss", "test_loss"]), (right, ["test_accuracy"])):
        lines = axes.lines[: len(columns)]
        assert [list(line.get_xdata()) for line in lines] == [[1, 2]] * len(columns)
        for line, column in zip(lines, columns, strict=True):
            assert line.get_ydata() == near(history[column])
    labels_of_test = table(ended, "confusion").groupby("label")["count"].sum()
    assert right.lines[-1].get_ydata() == near([labels_of_test.max() / labels_of_test.sum()] * 2)  # the floor
    assert legend(left) == ["training", "test"] and right.get_ylabel() == "test accuracy"

    (axes,) = drawn["confusion"].axes
    counts = table(ended, "confusion").pivot_table(index="label", columns="predicted", values="count", fill_value=0)
    assert labels(axes.get_yticklabels()) == [str(label) for label in counts.index]
    shown = [str(label) for label in sorted({*counts.index, *counts.columns})]
    assert labels(axes.get_xticklabels()) == shown
    counts = counts.reindex(columns=[int(label) for label in shown], fill_value=0).to_numpy()
    shares = counts / counts.sum(1, keepdims=True)
    is_correct = np.array([[name == guess for guess in shown] for name in labels(axes.get_yticklabels())])
    right, wrong = (np.ma.filled(image.get_array().astype(float), np.nan) for image in axes.images)
    assert right == near(np.where(is_correct, shares, np.nan)) and wrong == near(np.where(is_correct, np.nan, shares))
    # The largest mistake has the darkest red, however small it is.
    assert [image.get_clim() for image in axes.images] == [(0, 1), (0, pytest.approx(shares[~is_correct].max()))]
    texts = {(int(text.get_position()[1]), int(text.get_position()[0])): int(text.get_text()) for text in axes.texts}
    assert texts == {(int(i), int(j)): counts[i, j] for i, j in zip(*np.nonzero(counts), strict=True)}

    (axes,) = drawn["mistakes"].axes
    data, weights = dataset_of(*small), load_file(ended.folder / "model.safetensors")
    first, last = ((weights[f"layers.{at}.weight"], weights[f"layers.{at}.bias"]) for at in (0, 2))
    logits = functional.linear(functional.relu(functional.linear(data.x_test.flatten(1), *first)), *last)
    answers = logits.argmax(1)
    wrong = (answers != data.y_test).nonzero().squeeze(1).tolist()
    captions = [
        f"{label}, read as {answer}\nlogits {logits[example, label]:.1f}, {logits[example, answer]:.1f}"
        for example in wrong[:25]
        for label, answer in [(int(data.y_test[example]), int(answers[example]))]
    ]
    assert [text.get_text() for text in axes.texts] == captions
    example, caption = next(pair for pair in zip(wrong, captions, strict=False) if captions.count(pair[1]) == 1)
    assert pictures(axes, 28)[caption] == near(data.x_test[example].reshape(28, 28))

    for axes, of_images in zip(drawn["classes"].axes, (np.mean, np.var), strict=False):
        names = [int(name) for name in labels(axes.get_xticklabels())]
        assert names == sorted(set(data.y_test.tolist()))
        for place, name in enumerate(names):
            images = data.x_test[data.y_test == name].reshape(-1, 28, 28).numpy()
            assert image_of(axes)[:, 28 * place : 28 * (place + 1)] == near(of_images(images, axis=0))


def test_many_seeds(drawn_by: DrawnBy) -> None:
    ended, drawn = drawn_by("dataset=mod_add", "dataset.train_size=60", "training.epochs=3", "seeds=3")
    left, right = drawn["seeds"].axes
    tested = table(ended, "metrics").query("split == 'test' and `class` == 'all'")
    points, _, (bars,) = left.containers[0].lines
    assert (points.get_xdata(), points.get_ydata()) == (near(tested["seed"]), near(tested["accuracy"]))
    ends = np.array(bars.get_segments())[:, :, 1]
    assert ends == near(tested[["accuracy_low", "accuracy_high"]])
    (summary,) = table(ended, "seeds_summary").query(
        "split == 'test' and `class` == 'all' and measure == 'accuracy'"
    ).to_dict("records")  # fmt: skip
    assert left.lines[-1].get_ydata() == near([summary["mean"]] * 2)
    (band,) = left.patches
    box = band.get_bbox()
    assert (box.y0, box.y1) == (pytest.approx(summary["low"]), pytest.approx(summary["high"]))
    history = table(ended, "history")
    for line, (_, rows) in zip(right.lines, history.groupby("seed"), strict=True):
        assert (line.get_xdata(), line.get_ydata()) == (near(rows["epoch"]), near(rows["test_accuracy"]))


# --- ablation --------------------------------------------------------------------------------------------------------


def test_ablation(drawn_by: DrawnBy) -> None:
    small = ("dataset=mnist01", "dataset.limit=60", "model=mlp", "model.hidden_sizes=[6,5]", "training.epochs=1")
    ended, drawn = drawn_by("experiment=ablation", *small, "experiment.granularity=unit", "experiment.repeats=2")
    assert set(drawn) == {"accuracy", "confusion", "units", "weights_layers.0"}
    rows = table(ended, "metrics")
    intact, ablated = rows.iloc[0], rows.iloc[1:]
    targets, methods = list(dict.fromkeys(ablated["target"])), ["zero", "mean", "resample"]
    (axes,) = drawn["accuracy"].axes
    assert labels(axes.get_yticklabels()) == targets
    assert legend(axes) == ["commonest class alone", "intact", "zero", "mean", "resample (mean of 2)"]
    means = ablated.groupby(["method", "target"])["accuracy"].mean()
    expected = [means[method, target] for method in methods for target in targets]
    assert [bar.get_width() for bar in axes.patches] == near(expected)
    marks = [line for line in axes.lines if line.get_marker() == "."]
    for line, method in zip(marks, methods, strict=True):
        of_method = ablated[ablated["method"] == method]
        assert line.get_xdata() == near(of_method["accuracy"])
        places = [targets.index(target) for target in of_method["target"]]
        assert np.abs(line.get_ydata() - places).max() < 0.5
    assert axes.lines[-1].get_xdata() == near([intact["accuracy"]] * 2)

    units = table(ended, "units")
    for axes in drawn["units"].axes:
        for method, line in zip(methods, axes.lines, strict=False):
            drops = units.query("method == @method and target == @axes.get_title()")["accuracy_drop"]
            assert line.get_ydata() == near(sorted(drops, reverse=True)) and line.get_label() == method
    assert [axes.get_title() for axes in drawn["units"].axes] == list(dict.fromkeys(units["target"]))

    checkpoint = load_file(ended.record["checkpoint"]["path"])
    axes, scale = drawn["weights_layers.0"].axes
    assert scale.get_xlim()[0] == pytest.approx(-scale.get_xlim()[1])
    shown = pictures(axes, 28)
    assert list(shown) == [str(unit) for unit in range(6)]
    for unit, weight in enumerate(checkpoint["layers.0.weight"]):
        assert shown[str(unit)] == near(weight.reshape(28, 28))


def test_the_value_that_enters_the_last_layer_as_an_image(drawn_by: DrawnBy) -> None:
    small = ("dataset=mnist", "dataset.limit=60", "training.epochs=1", "experiment.targets=[relu]")
    ended, drawn = drawn_by("experiment=ablation", "model=skip", *small, "experiment.examples=[3,41]")
    image, value, *_ = drawn["entering"].axes
    weights, data = load_file(ended.record["checkpoint"]["path"]), dataset_of(*small[:2])
    x = data.x_test.flatten(1)[[3, 41]]
    entering = x + functional.relu(functional.linear(x, weights["first.weight"], weights["first.bias"]))
    answers = functional.linear(entering, weights["last.weight"], weights["last.bias"]).argmax(1).tolist()
    assert value.get_title() == "add, which last reads"
    assert image_of(image) == near(torch.cat([*x.reshape(2, 28, 28)], 1))
    assert image_of(value) == near(torch.cat([*entering.reshape(2, 28, 28)], 1))
    expected = [f"{at}: {int(data.y_test[at])}\nread as {answer}" for at, answer in zip((3, 41), answers, strict=True)]
    assert labels(value.get_xticklabels()) == expected
    # Without a choice the first example of each class; 9 units are a square, 5 none.
    small = ("dataset=mnist01", "dataset.target=class", "dataset.limit=60", "model=mlp", "training.epochs=1")
    for width, is_drawn in ((9, True), (5, False)):
        ended, drawn = drawn_by("experiment=ablation", *small, f"model.hidden_sizes=[{width}]")
        assert ("entering" in drawn) is is_drawn
        if is_drawn:
            y = dataset_of(*small[:3]).y_test.tolist()
            assert image_of(drawn["entering"].axes[1]).shape == (3, 6)
            assert [text.partition("\n")[0] for text in labels(drawn["entering"].axes[1].get_xticklabels())] == [
                f"{y.index(label)}: {label}" for label in (0, 1)
            ]


# --- circuits --------------------------------------------------------------------------------------------------------


def test_circuits(drawn_by: DrawnBy) -> None:
    small = ("dataset=mod_add", "dataset.target=value", "model.hidden_sizes=[2,2]", "training.epochs=3")
    ended, drawn = drawn_by("experiment=circuits", *small, "experiment.accuracy_threshold=0.6")
    assert set(drawn) == {"sparsity_0", "edges_0", "sparsest_0", "overlaps_0"}
    overlaps = table(ended, "overlaps")
    for axes, (_, bins) in zip(drawn["overlaps_0"].axes, overlaps.groupby("which", sort=False), strict=True):
        for stairs, column in zip(axes.patches, ("share", "share_chance"), strict=True):
            assert stairs.get_data().values == near(bins[column].to_numpy())
            assert stairs.get_data().edges[1:] == near(bins["overlap_to"].to_numpy())
    circuits = pd.read_parquet(ended.folder / "circuits.parquet")
    hexagons = drawn["sparsity_0"].axes[0].collections[0]
    assert hexagons.get_array().sum() == len(circuits)
    centres = hexagons.get_offsets()
    assert centres[:, 0].max() == pytest.approx(circuits["sparsity"].max(), abs=0.02)

    shares = table(ended, "edges")["share"].to_numpy()
    assert len(set(shares)) > 5  # so that an edge in another's place would be seen
    blocks = [image_of(axes) for axes in drawn["edges_0"].axes if axes.images]
    assert [block.shape for block in blocks] == [(2, 4), (2, 2), (1, 2)]
    assert np.concatenate([block.ravel() for block in blocks]) == near(shares)
    written = [float(text.get_text()) for axes in drawn["edges_0"].axes for text in axes.texts]
    assert written == pytest.approx(shares, abs=0.0051)

    weights = load_file(ended.record["checkpoint"]["path"])
    by_layer = [weights[f"layers.{at}.weight"].numpy() for at in (0, 2, 4)]
    sparsest = circuits[circuits["valid"]].nsmallest(6, ["n_edges", "circuit"])
    assert len(drawn["sparsest_0"].axes) == len(sparsest) == 6
    for axes, circuit in zip(drawn["sparsest_0"].axes, sparsest.itertuples(), strict=True):
        assert axes.get_title() == f"{circuit.n_edges} of 14 edges\naccuracy {circuit.accuracy:.3f}"
        bits = [int(circuit.circuit) >> bit & 1 for bit in range(14)]
        kept = [
            (layer, weight.ravel()[place] / np.abs(weight).max())
            for layer, weight in enumerate(by_layer)
            for place in range(weight.size)
            if bits[sum(before.size for before in by_layer[:layer]) + place]
        ]
        assert len(axes.lines) == len(kept)
        for line, (layer, weight) in zip(axes.lines, kept, strict=True):
            assert list(line.get_xdata()) == [layer, layer + 1]
            assert line.get_color() == (styles.POSITIVE if weight > 0 else styles.NEGATIVE)
            assert line.get_linewidth() == pytest.approx(0.5 + 2.5 * abs(weight), rel=1e-5)
        black = sum((neurons.get_facecolor() == to_rgba("black")).all(1).sum() for neurons in axes.collections)
        assert black == 4 + circuit.n_nodes + 1  # inputs, active hidden neurons, the output


# --- clusters --------------------------------------------------------------------------------------------------------


def test_clusters(drawn_by: DrawnBy) -> None:
    small = ("dataset.limit=100", "training.epochs=2", "model.hidden_sizes=[8,6]")
    options = ("experiment.n_clusters=2", "experiment.controls=0", "experiment.pruning_layers=[]", "experiment.top_k=5")
    ended, drawn = drawn_by("experiment=clusters", *small, *options)
    of_units = {f"units_{network}_layers.{at}" for network in ("clustered", "twin") for at in (1, 3, 4)}
    assert set(drawn) == {"weights", "edges", "off_on", "distinct_classes", "training", *of_units}
    panels = [axes for axes in drawn["weights"].axes if axes.images]
    assert [axes.get_title() for axes in panels] == ["before training", "clustered", "twin"]
    weight = load_file(ended.record["checkpoint"]["path"])["layers.2.weight"]
    assert image_of(panels[1]) == near(weight.abs())
    sizes = table(ended, "clusters").query("network == 'clustered'")
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in panels] == [
        ("input unit", "output unit"), ("input unit", ""), ("input unit", ""),
    ]  # fmt: skip
    of_edges = drawn["edges"].axes
    assert [axes.get_title() for axes in of_edges] == ["before training", "clustered", "twin"]
    # The middle matrix, 8 units to 6, has no bundles: an edge for each weight, from the input unit to the output unit.
    heights = [np.linspace(1, 0, units + 2)[1:-1] for units in (8, 6)]
    middle = of_edges[1].collections[1]
    ends = {
        (int(np.argmin(abs(heights[0] - y0))), int(np.argmin(abs(heights[1] - y1)))): tuple(colour[:3])
        for ((x0, y0), (x1, y1)), colour in zip(middle.get_segments(), middle.get_colors(), strict=True)
        if (x0, x1) == (1, 2)
    }
    assert ends == {
        (source, target): to_rgba(styles.POSITIVE if weight[target, source] > 0 else styles.NEGATIVE)[:3]
        for source in range(8)
        for target in range(6)
    }
    columns = [text.split("\n") for text in labels(of_edges[1].get_xticklabels())]
    assert [text[1] for text in columns] == ["784 units", "8 units", "6 units", "10 units"]
    assert columns[0][2] == "56 bundles"
    for axes in panels:
        assert [frame.get_height() for frame in axes.patches] == near(sizes["n_outputs"])
        assert [frame.get_width() for frame in axes.patches] == near(sizes["n_inputs"])

    metrics = table(ended, "metrics").query("partition == 'trained'")
    for axes in (axes for axes in drawn["off_on"].axes if axes.images):
        rows = metrics[metrics["network"] == axes.get_title()]
        names = [
            "full network" if row.cluster == "none" else f"cluster {row.cluster} {row.state}"
            for row in rows[rows["class"] == "all"].itertuples()
        ]
        assert labels(axes.get_xticklabels()) == ["all", *map(str, range(10))]
        assert len(names) == 5 and names == labels(panel_labels(drawn["off_on"]))
        assert image_of(axes) == near(rows["accuracy"].to_numpy().reshape(5, 11))
        assert len(axes.texts) == 55

    units = table(ended, "units")
    histograms, lines = drawn["distinct_classes"].axes[:3], drawn["distinct_classes"].axes[3:]
    assert [axes.get_title() for axes in histograms] == list(dict.fromkeys(units["layer"]))
    for axes, cumulative in zip(histograms, lines, strict=True):
        layer = axes.get_title()
        for network, line in zip(("clustered", "twin"), cumulative.lines, strict=True):
            mine = units[(units["layer"] == layer) & (units["network"] == network)]["distinct"]
            assert line.get_ydata() == near([(mine <= distinct).mean() for distinct in range(1, 11)])
        counts = [
            ((units["layer"] == layer) & (units["network"] == network) & (units["distinct"] == distinct)).sum()
            for network in ("clustered", "twin")
            for distinct in range(1, 11)
        ]
        assert [bar.get_height() for bar in axes.patches] == counts and sum(counts) > 0

    history = table(ended, "history")
    for axes, column in zip(drawn["training"].axes, ("clusterability", "test_accuracy"), strict=True):
        assert [line.get_label() for line in axes.lines] == ["clustered", "twin"]
        for line in axes.lines:
            mine = history[history["network"] == line.get_label()]
            assert (line.get_xdata(), line.get_ydata()) == (near(mine["epoch"]), near(mine[column]))

    images, data = table(ended, "unit_images"), dataset_of("experiment=clusters", *small)
    for name in sorted(of_units):
        of_layer = dict(zip(("network", "layer"), name.split("_")[1:], strict=True))
        (axes,) = drawn[name].axes
        canvas, shown = image_of(axes), []
        for text in axes.texts:
            right, middle = text.get_position()
            if not text.get_text().startswith("cluster"):
                left, top = round(right + 0.2 * 28), round(middle - 14)
                shown.append(int(text.get_text()))
                rows = images[_named(images, unit=shown[-1], **of_layer)]
                for place, example in enumerate(rows["index"]):
                    drawn_image = canvas[top : top + 28, left + 30 * place :][:, :28]
                    assert drawn_image == near(data.x_test[example].reshape(28, 28))
        assert shown == units[_named(units, **of_layer)]["unit"].tolist()


def _named(frame: pd.DataFrame, **values: object) -> pd.Series:
    """Which rows have these values."""
    return (frame[list(values)] == list(values.values())).all(axis=1)


def panel_labels(figure: Figure) -> list[object]:
    """The labels of the first panel's rows; the others share them."""
    return figure.axes[0].get_yticklabels()


# --- decoder ---------------------------------------------------------------------------------------------------------


def test_decoder(drawn_by: DrawnBy) -> None:
    ended, drawn = drawn_by(
        *("experiment=decoder", "training.epochs=2", "experiment.epochs=2", "experiment.min_target_accuracy=0"),
    )
    assert set(drawn) == {"kernels", "filtered", "layers", "distances", "layer_similarity"}
    kernels = table(ended, "kernels").pivot_table(index=["kernel", "row"], columns="column", values="weight")
    weights = kernels.to_numpy().reshape(-1, 2, 2)
    shown = [axes for axes in drawn["kernels"].axes if axes.images]
    assert [axes.get_title() for axes in shown] == [f"kernel {number}" for number in range(len(weights))]
    assert np.stack([image_of(axes) for axes in shown]) == near(weights)
    assert [float(text.get_text()) for text in shown[0].texts] == pytest.approx(weights[0].ravel(), rel=0.01)

    grid = [axes for axes in drawn["filtered"].axes if axes.images]
    across = len(weights) + 2
    rows = [grid[start : start + across] for start in range(0, len(grid), across)]
    examples = table(ended, "answers")["example"].tolist()
    assert {row[0].get_ylabel() for row in rows} <= {example.replace(", ", "\n") for example in examples}
    for row in rows:
        image, *responses, largest = (torch.tensor(image_of(axes)) for axes in row)
        seen = functional.conv2d(image[None, None].float(), torch.tensor(weights, dtype=torch.float32)[:, None])
        differences = torch.stack(responses) - seen[0]
        # Each kernel has a bias of its own, the same everywhere.
        assert torch.allclose(differences, differences[:, :1, :1].expand_as(differences), atol=1e-5)
        assert torch.allclose(largest, torch.stack(responses).amax(0).tanh(), atol=1e-6)

    (axes,) = drawn["layers"].axes
    metrics = table(ended, "metrics")
    metrics = metrics[metrics["control"].isin(["linear", "none"])]
    names = list(dict.fromkeys(metrics["decoded"]))
    assert len(axes.containers) == len(names) == 5
    for name, drawn_points in zip(names, axes.containers, strict=True):
        of_name = metrics[metrics["decoded"] == name].sort_values("control", kind="stable")
        points, _, (bars,) = drawn_points.lines
        assert drawn_points.get_label() == name and points.get_ydata() == near(of_name["accuracy"])
        assert np.array(bars.get_segments())[:, :, 1] == near(of_name[["accuracy_low", "accuracy_high"]])
    sites = list(dict.fromkeys(metrics[metrics["control"] == "linear"]["site"]))
    assert labels(axes.get_xticklabels()) == [*sites[:-1], "all sites", "decoder"]


# --- iit -------------------------------------------------------------------------------------------------------------

IIT = (
    *("experiment=iit", "dataset.train_size=60", "dataset.test_size=40", "training.epochs=1", "experiment.epochs=2"),
    *("experiment.batch_size=20", "experiment.train_pairs=60", "experiment.test_pairs=50"),
)


def test_iit(drawn_by: DrawnBy) -> None:
    ended, drawn = drawn_by(*IIT, "experiment.controls=[untrained]")
    assert set(drawn) == {"training", "controls", "examples"}
    history = table(ended, "iit_history") if (ended.folder / "iit_history.csv").exists() else table(ended, "history")
    if "control" in history:
        history = history[history["control"] == "none"]
    left, right = drawn["training"].axes
    columns = ["iia", "iia_changed", "iia_unchanged", "task_accuracy", "train_iia"]
    for axes, shown in ((left, columns), (right, ["loss"])):
        for line, column in zip(axes.lines, shown, strict=True):
            rows = history[history[column].notna()]
            assert (line.get_xdata(), line.get_ydata()) == (near(rows["epoch"]), near(rows[column])), column

    metrics = table(ended, "metrics")
    (axes,) = drawn["controls"].axes
    bars = [metrics[metrics["subset"] == subset] for subset in ("changed", "unchanged")]
    assert [bar.get_width() for bar in axes.patches] == near(pd.concat(bars)["iia"])
    whole = metrics[metrics["subset"] == "all"]
    ticks = [line for line in axes.lines if line.get_color() == "black" and len(line.get_xdata()) == 2]
    assert [line.get_xdata()[0] for line in ticks] == near(whole["iia"])
    names = [row.phase if row.control == "none" else row.control for row in whole.itertuples()]
    assert labels(axes.get_yticklabels()) == names and len(names) == 3

    pairs, data = table(ended, "pairs"), dataset_of(*IIT)
    assert data.image_shape is not None
    (source,) = [column for column in pairs if column.startswith("source_")]
    grid = np.array(drawn["examples"].axes).reshape(-1, 3)
    assert [axes.get_title().split("\n")[0] for axes in grid[0]] == ["base", "source of", "test image nearest to"]
    for row, pair in zip(grid, pairs.to_dict("records"), strict=False):
        for axes, index in zip(row, (pair["base"], pair[source]), strict=False):
            image = data.x_test[index].reshape(data.image_shape).mean(0)
            assert image_of(axes) == near(image)
            assert axes.get_ylabel() == f"label {float(data.y_test[index]):g}"
        assert row[2].get_ylabel().startswith(f"should be {float(pair['counterfactual_label']):g}\n")


def test_iit_at_several_sites(drawn_by: DrawnBy) -> None:
    several = ("experiment.variables=[[a],[b]]", "experiment.site=[layers.0,layers.2]", "experiment.controls=[]")
    more = ("dataset=mod_add", "model=mlp", "training.epochs=20", "experiment.epochs=5", "experiment.test_pairs=200")
    ended, drawn = drawn_by(*IIT, *several, *more)
    after = table(ended, "metrics").query("phase == 'after'")
    shown = [axes for axes in drawn["iia"].axes if axes.images and axes.get_title()]
    assert after["iia"].nunique() > 4  # so that a cell in another's place would be seen
    for axes, subset in zip(shown, ("all", "changed"), strict=True):
        grid = after[after["subset"] == subset].pivot_table(
            index="variables", columns="site", values="iia", sort=False, dropna=False
        )
        assert image_of(axes) == near(grid)
        assert labels(axes.get_xticklabels()) == list(grid.columns) == ["layers.0", "layers.2"]
        written = [float(text.get_text()) for text in axes.texts]
        assert written == pytest.approx([value for value in grid.to_numpy().ravel() if not np.isnan(value)], abs=0.0051)
    assert labels(shown[0].get_yticklabels()) == ["a", "b"]


# --- sweeps ----------------------------------------------------------------------------------------------------------


def test_a_sweep(drawn_by: DrawnBy) -> None:
    small = ("dataset=mod_add", "dataset.train_size=60", "dataset.test_size=60")
    ended, drawn = drawn_by("-m", *small, "training.epochs=1,2", "seed=0,1")
    assert {"sweep", "sweep_rows"} <= set(drawn)
    summary = table(ended, "sweep_summary")
    whole = summary.query("split == 'test' and `class` == 'all'")
    for axes in drawn["sweep"].axes:
        rows = whole[whole["measure"] == axes.get_ylabel()]
        if len(rows):
            points, _, _ = axes.containers[0].lines
            assert (points.get_xdata(), points.get_ydata()) == (near([1, 2]), near(rows["mean"]))
    assert "accuracy" in [axes.get_ylabel() for axes in drawn["sweep"].axes]
    (axes,) = drawn["sweep_rows"].axes
    rows = summary[summary["measure"] == "accuracy"]
    names = list(dict.fromkeys(zip(rows["split"], rows["class"], strict=True)))
    assert labels(axes.get_yticklabels()) == [" ".join(name) for name in names] and len(names) > 2
    means = [line for line in axes.lines if line.get_markersize() == 4 and len(line.get_xdata()) == 1]
    assert [line.get_xdata()[0] for line in means] == near(rows["mean"])
    for line, name in zip(means, zip(rows["split"], rows["class"], strict=True), strict=True):
        assert abs(line.get_ydata()[0] - names.index(name)) < 0.5
