"""Draws the pictures of the documentation: each is a figure of a fresh run of the command that the README shows.

`make docs` runs it. machine.md, beside the pictures, says what they depend on.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image

IMAGES = Path(__file__).parent / "images"

PICTURES = {
    "ablation": ("experiment=ablation model=skip", "accuracy.png"),
    "circuits": ("experiment=circuits", "sparsest_0.png"),
    "clusters": ("experiment=clusters", "off_on.png"),
}
"""Name of the picture → arguments of mi-run, and the figure of that run."""

LARGEST = 100_000
"""Bytes of a picture at the most, because each version of it stays in the repository."""

MACHINE = ("processor", "instruction_set", "threads")
"""Fields of run.json that the figures depend on, besides its versions."""

COLORS = 256
"""Colors of a picture: as many as one byte a pixel can name, which halves its size."""


def run(arguments: list[str]) -> Path:
    """The folder of a run, which is the last line that mi-run prints."""
    done = subprocess.run(
        [sys.executable, "-m", "mi_runner", *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    return Path(done.stdout.splitlines()[-1])


def draw(images: Path, run: Callable[[list[str]], Path] = run) -> None:
    """Writes the pictures and machine.md to the folder `images`.

    Raises:
        ValueError: a picture is too large, or the runs depend on different machines or versions.
    """
    images.mkdir(parents=True, exist_ok=True)
    machines = []
    for name, (arguments, figure) in PICTURES.items():
        with tempfile.TemporaryDirectory() as outputs:
            folder = run([*arguments.split(), f"output_dir={outputs}"])
            record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            picture = images / f"{name}.png"
            with Image.open(folder / "figures" / figure) as drawn:
                drawn.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(picture, optimize=True)
        if picture.stat().st_size > LARGEST:
            raise ValueError(f"{picture} has {picture.stat().st_size:,} bytes; {LARGEST:,} are allowed.")
        machines.append({key: record[key] for key in MACHINE} | record["versions"])
    if any(machine != machines[0] for machine in machines):
        raise ValueError(f"The runs depend on different machines or versions: {machines}. Draw the pictures again.")
    lines = [
        "# The machine that drew these pictures",
        "",
        "`make docs` writes this page and the pictures. Figures depend on the machine:",
        "[what the same means](../runs.md#what-the-same-means).",
        "",
        "| picture | command |",
        "|---|---|",
        *(f"| [{name}.png]({name}.png) | `mi-run {arguments}` |" for name, (arguments, _) in PICTURES.items()),
        "",
        "| what | value |",
        "|---|---|",
        *(f"| {key.replace('_', ' ')} | {value} |" for key, value in machines[0].items()),
    ]
    (images / "machine.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    draw(IMAGES)
