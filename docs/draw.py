"""Draws the pictures of the documentation: each is a figure of a fresh run of a command that the pages show.

`make docs` draws all of them, `python docs/draw.py NAME` one. machine.md, beside them, says what each depends on.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from PIL import Image

from mi_runner.runs.record import read_run

IMAGES = Path(__file__).parent / "images"

PICTURES = {
    "ablation": ("experiment=ablation model=skip", "accuracy.png"),
    "circuits": ("experiment=circuits", "sparsest_0.png"),
    "clusters": ("experiment=clusters", "off_on.png"),
    "explanations": ("experiment=explanations", "alignment_0.png"),
    "maps": ("experiment=das dataset=equality model=mlp seed=0", "maps.png"),
}
"""Name of the picture → arguments of mi-run, and the figure of that run."""

LARGEST = 100_000
"""Bytes of a picture at the most, because each version of it stays in the repository."""

MACHINE = ("processor", "instruction_set", "threads")
VERSIONS = ("python", "torch", "torchvision", "numpy", "pandas", "code")
"""Fields of run.json, and of its versions, that a figure depends on."""

COLORS = 256
"""Colors of a picture: as many as one byte a pixel can name, which halves its size."""


def run(arguments: list[str]) -> Path:
    """The folder of a run, which is the last line that mi-run prints."""
    done = subprocess.run(
        [sys.executable, "-m", "mi_runner", *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    return Path(done.stdout.splitlines()[-1])


def draw(images: Path, names: Iterable[str] = PICTURES, run: Callable[[list[str]], Path] = run) -> None:
    """Writes these pictures to the folder `images`, and what they depend on to its machine.md.

    Raises:
        ValueError: a picture is too large.
    """
    images.mkdir(parents=True, exist_ok=True)
    page = images / "machine.md"
    rows = rows_of(page)
    for name in names:
        arguments, figure = PICTURES[name]
        with tempfile.TemporaryDirectory() as outputs:
            folder = run([*arguments.split(), f"output_dir={outputs}"])
            record, _ = read_run(folder / "run.json")
            picture = images / f"{name}.png"
            with Image.open(folder / "figures" / figure) as drawn:
                drawn.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(picture, optimize=True)
        if picture.stat().st_size > LARGEST:
            raise ValueError(f"{picture} has {picture.stat().st_size:,} bytes; {LARGEST:,} are allowed.")
        depends_on = [*(getattr(record, key) for key in MACHINE), *(record.versions[key] for key in VERSIONS)]
        rows[name] = row(f"[{name}.png]({name}.png)", f"`mi-run {arguments}`", *depends_on)
    head = ("picture", "command", *(key.replace("_", " ") for key in (*MACHINE, *VERSIONS)))
    lines = [
        "# The machines that drew these pictures",
        "",
        "`make docs` writes this page and the pictures. Figures depend on the machine:",
        "[what the same means](../runs.md#what-the-same-means).",
        "",
        row(*head),
        "|---" * len(head) + "|",
        *(rows[name] for name in PICTURES if name in rows),
    ]
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")


def row(*cells: object) -> str:
    """Returns a row of a table."""
    return f"| {' | '.join(map(str, cells))} |"


def rows_of(page: Path) -> dict[str, str]:
    """Returns the rows of the pictures that are there already, by name."""
    lines = page.read_text(encoding="utf-8").splitlines() if page.exists() else []
    return {line.partition(".png]")[0].removeprefix("| ["): line for line in lines if line.startswith("| [")}


if __name__ == "__main__":
    draw(IMAGES, sys.argv[1:] or PICTURES)
