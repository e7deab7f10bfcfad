"""Figures that several experiments share.

An experiment's own figures are in its `figures.py`: rows in, matplotlib figures out. A result has functions that draw
them, and the runner calls these when it writes the files.
Figures are made without pyplot, so that they need no screen and leave no global state. matplotlib is imported when the
first is made, because a run that ends with a mistake needs none. Nothing here imports torch: the process that draws
beside a run has none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from mi_runner.experiments import Drawing
from mi_runner.machine import layout
from mi_runner.tables.declaration import Row
from mi_runner.tables.styles import REFERENCE as REFERENCE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from torch import Tensor

    from mi_runner.graph.chain import Part

MOST_CELL_TEXTS = 15
"""Up to this many rows and columns, each cell shows its count."""

MOST_LABELS = 60
"""Largest number of rows or columns of a figure."""

MOST_LETTERS = 24
"""Letters of a name at an axis; … stands for what is left out."""

MOST_OF_CAPTION = 0.8
"""Inches of a line of a picture's caption in a mosaic of a given width; longer ones are broken."""

MOST_LARGE_PICTURES = 25
"""Up to this many pictures, a mosaic draws them larger."""


def confusion(rows: Sequence[Row], class_names: Sequence[str] | None) -> dict[str, Drawing]:
    """Returns a figure of counts by label (down) and predicted label (across), coloured by the shares of each row.

    Mistakes have a colour and a scale of their own, which ends at the largest of them, so that few mistakes are seen
    beside many correct predictions. No figure if there are no rows, or more than `MOST_LABELS` labels.
    """
    if not rows:
        return {}
    labels = sorted({row["label"] for row in rows})
    predicted = sorted({row["predicted"] for row in rows} | set(labels))
    if len(predicted) > MOST_LABELS:
        return {}
    return {"confusion": partial(_confusion, rows, class_names, labels, predicted)}


def _confusion(
    rows: Sequence[Row], class_names: Sequence[str] | None, labels: Sequence[int], predicted: Sequence[int]
) -> Figure:
    counts = np.zeros((len(labels), len(predicted)), dtype=np.float32)
    for row in rows:
        counts[labels.index(row["label"]), predicted.index(row["predicted"])] += row["count"]
    names = dict(enumerate(class_names)) if class_names is not None else {}
    cell = 0.42 if not layout.is_narrow(1.8 + 0.45 * len(predicted)) else 0.24
    figure = layout.blank(1.8 + 0.45 * len(predicted), 1.6 + cell * len(labels))
    axes = figure.subplots()
    shares = counts / counts.sum(1, keepdims=True).clip(min=1)
    is_correct = np.array([[label == guess for guess in predicted] for label in labels])
    most_wrong = float(shares[~is_correct].max()) if (~is_correct).any() else 0.0
    # A colour for each image; NaN is not drawn.
    for cells, cmap, largest in ((is_correct, "Blues", 1.0), (~is_correct, "Reds", most_wrong or 1.0)):
        axes.imshow(np.where(cells, shares, np.float32(math.nan)), cmap=cmap, vmin=0, vmax=largest, aspect="auto")
    if max(len(labels), len(predicted)) <= MOST_CELL_TEXTS:
        of_largest = shares / np.where(is_correct, 1.0, most_wrong or 1.0)
        texts = {(i, j): f"{int(counts[i, j])}" for i, j in np.argwhere(counts).tolist()}
        layout.numbers(axes, texts, of_largest > 0.5)
        axes.set_yticks(range(len(labels)), [names.get(label, str(label)) for label in labels])
        axes.set_xticks(range(len(predicted)), [names.get(guess, str(guess)) for guess in predicted])
    axes.set(xlabel="prediction", ylabel="label")
    scales = f"fractions of a label: blue, correct, 0 to 1; red, mistakes, 0 to {most_wrong:.2g}"
    axes.set_title(f"intact network, test set\n{scales if len(predicted) > 4 else ''}".rstrip(), fontsize=9)
    return figure


def mosaic(pictures: Sequence[NDArray[Any]], captions: Sequence[str], title: str, **colours: Any) -> Figure:
    """Returns a figure of pictures `(H, W)` or `(H, W, 3)` in a grid, with captions of one or more lines above them.

    The grid is one image on one pair of axes, because a hundred pairs of axes take matplotlib seconds.
    """
    height, width = pictures[0].shape[:2]
    across, size, text = math.ceil(math.sqrt(len(pictures))), 0.75 if len(pictures) > MOST_LARGE_PICTURES else 1.1, 5.5
    if (given := layout.given_width()) is not None:
        longest = max(len(line) for caption in captions for line in caption.split("\n"))
        across = max(1, min(across, int(given / max(0.33, min(MOST_OF_CAPTION, longest * layout.LETTER + 0.08)))))
        size, text = given / across, layout.READABLE
        captions = [layout.broken(caption, size) for caption in captions]
    n_lines = max(caption.count("\n") + 1 for caption in captions)
    gap, room = max(1, width // 14), max(2, height // 5) * n_lines
    if given is not None:
        room = math.ceil((0.14 * n_lines + 0.04) / size * (width + gap))
    down = math.ceil(len(pictures) / across)
    shape = (down * (height + room), across * (width + gap), *pictures[0].shape[2:])
    canvas = np.full(shape, math.nan, dtype=np.float32)
    # The pictures' own shape decides the height, so that nothing is empty.
    figure = layout.blank(size * across, size * across * shape[0] / shape[1] + 0.45)
    axes = figure.subplots()
    for index, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        top, left = (index // across) * (height + room) + room, (index % across) * (width + gap)
        canvas[top : top + height, left : left + width] = picture
        above = top - min(room / n_lines * 0.25, 0.06 * height)
        axes.text(left + width / 2, above, caption, ha="center", va="bottom", fontsize=text)
    shown = np.nan_to_num(canvas, nan=1.0) if canvas.ndim == 3 else canvas
    image = axes.imshow(shown, interpolation="nearest", **colours)
    axes.set_axis_off()
    if "vmin" in colours:  # the same colours mean the same in all pictures
        figure.colorbar(image, ax=axes, pad=0.01, location="bottom", fraction=0.04, aspect=40).ax.tick_params(
            labelsize=7
        )
    figure.suptitle(title, fontsize=9)
    return figure


def strips(rows: Sequence[tuple[str, Sequence[NDArray[Any]], str]], captions: Sequence[str], title: str) -> Figure:
    """Returns a figure of rows of pictures `(H, W)` or `(H, W, 3)`, each with a title, a colour map and its scale.

    Args:
        rows: title, pictures of one size, and colour map; as many pictures in each row as captions.
        captions: below each picture.
    """
    size = min(1.2, 12 / len(captions))
    across = len(captions)
    if (given := layout.given_width()) is not None:
        letters = max(len(line) for caption in captions for line in caption.split("\n"))
        across = max(1, min(across, int((given - 0.6) / max(0.3, letters * layout.LETTER + 0.05))))
        size = (given - 0.6) / across
    parts = [range(begin, min(begin + across, len(captions))) for begin in range(0, len(captions), across)]
    heights = [size * pictures[0].shape[0] / pictures[0].shape[1] for _, pictures, _ in rows for _ in parts]
    n_lines = max(caption.count("\n") + 1 for caption in captions)
    room = 0.35 + 0.15 * n_lines
    figure = layout.blank(size * across + 1.4, sum(heights) + room * len(heights) + 0.3)
    grid = figure.subplots(len(heights), 1, squeeze=False)[:, 0].reshape(len(rows), len(parts))
    for line, (name, pictures, cmap) in zip(grid, rows, strict=True):
        scale = {"vmin": min(map(np.min, pictures)), "vmax": max(map(np.max, pictures))}
        for axes, part in zip(line, parts, strict=True):
            shown = [pictures[number] for number in part]
            shown += [np.full_like(shown[0], np.nan)] * (across - len(shown)) if shown[0].ndim == 2 else []
            image = axes.imshow(np.concatenate(shown, axis=1), cmap=cmap, interpolation="nearest", **scale)
            width = pictures[0].shape[1]
            axes.set_xticks([width * (k + 0.5) - 0.5 for k in range(len(part))], [captions[k] for k in part])
            axes.set_yticks([])
            axes.tick_params(length=0, labelsize=7)
        line[0].set_title(name, fontsize=9)
        if pictures[0].ndim == 2:
            figure.colorbar(image, ax=list(line), pad=0.01).ax.tick_params(labelsize=7)
    figure.suptitle(title, fontsize=9)
    return figure


def picture(image: Tensor) -> NDArray[Any]:
    """Returns an image `(C, H, W)` to draw: three channels as `(H, W, 3)` in 0..1, others as their mean `(H, W)`."""
    image = image.detach().cpu()
    if image.shape[0] != 3:
        return image.mean(0).numpy()
    return ((image - image.min()) / (image.max() - image.min()).clamp(min=1e-9)).permute(1, 2, 0).numpy()


def name_ends(axes: Axes, part: Part, layer: int, *, across: bool = True, down: bool = True) -> None:
    """Writes the names of inputs and outputs at a heat map of a layer's edges `(out, in)`, where they have some.

    Args:
        layer: of edges, from 0.
        across, down: whether the neurons that edges come from, and those that they go to, are named.
    """
    n_in, n_out = part.sizes[layer], part.sizes[layer + 1]
    sources = [part.name(layer, neuron) for neuron in range(n_in)]
    targets = [part.name(layer + 1, neuron) for neuron in range(n_out)]
    if across and n_in <= MOST_LABELS and all(name is not None for name in sources):
        axes.set_xticks(range(n_in), [short(str(name)) for name in sources], rotation=90, fontsize=7)
    if down and n_out <= MOST_LABELS and all(name is not None for name in targets):
        axes.set_yticks(range(n_out), [short(str(name)) for name in targets], fontsize=7)


def short(name: str) -> str:
    """Returns a name for an axis: its first letters, and … for what is left out."""
    return name if len(name) <= MOST_LETTERS else f"{name[: MOST_LETTERS - 1]}…"


def tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
