"""Prints the tables of docs/bench.md from the folder of a bench: python docs/bench_table.py FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from mi_runner.tables.pairwise import fewest_units

MEASURES = {
    "cpr": "CPR",
    "regret": "regret",
    "percentile": "percentile",
    "cmd": "CMD",
    "edges_over_fewest": "edges over fewest",
    "jaccard": "Jaccard",
    "n_forward": "passes",
    "seconds": "seconds",
}
"""Measure → its head."""

DETECTION = {
    "roc_auc": "area under the ROC",
    "precision": "precision",
    "recall": "recall",
    "truth_found": "truth found",
}

KINDS = ("all", "trained", "planted")


def main(folder: Path) -> None:
    """Prints, in Markdown, the leaderboard of all networks, of each kind, the ranks in each family, and the spread."""
    board = pd.read_csv(folder / "leaderboard.csv")
    everything = board[board["networks"] == "all"]
    _measured(everything, MEASURES)
    _measured(board[board["networks"] == "planted"], DETECTION)
    order = list(everything["method"])
    families = [name for name in dict.fromkeys(board["networks"]) if name not in KINDS]
    print("\n| mean rank in | " + " | ".join(f"`{method}`" for method in order) + " |")
    print("|---" * (len(everything) + 1) + "|")
    for name in [*KINDS, *families]:
        own = board[board["networks"] == name].set_index("method")
        can_tell = own["n_units"].iloc[0] >= fewest_units(len(own))
        ranks = own["mean_rank"].map("{:.1f}".format)
        cells = [f"**{ranks[method]}**" if can_tell and own["best"][method] else ranks[method] for method in order]
        print(f"| {name}, {own['n_networks'].iloc[0]} networks | " + " | ".join(cells) + " |")
    spread = pd.read_csv(folder / "spread.csv")
    print("\n| method | sd of CPR | setting | seed | ablation | rest |\n|---|---|---|---|---|---|")
    for row in spread[spread["networks"] == "all"].to_dict("records"):
        shares = [f"{100 * row[f'of_{name}']:.0f} %" for name in ("setting", "seed", "ablation", "rest")]
        print(f"| `{row['method']}` | {row['sd']:.3f} | " + " | ".join(shares) + " |")


def _measured(board: pd.DataFrame, measures: dict[str, str]) -> None:
    """Prints a table of means with their intervals."""
    print("\n| method | mean rank | p | " + " | ".join(measures.values()) + " |")
    print("|---" * (len(measures) + 3) + "|")
    for row in board.to_dict("records"):
        rank = f"**{row['mean_rank']:.2f}**" if row["best"] else f"{row['mean_rank']:.2f}"
        p = "" if pd.isna(row["p_best"]) else f"{row['p_best']:.2g}"
        print(f"| `{row['method']}` | {rank} | {p} | " + " | ".join(_cell(row, name) for name in measures) + " |")


def _cell(row: dict[str, float], name: str) -> str:
    if pd.isna(row[name]):
        return ""
    form = ".0f" if name == "n_forward" else ".3g"
    text = f"{row[name]:{form}}"
    if name in ("n_forward", "seconds") or pd.isna(row[f"{name}_low"]):
        return text.replace("-", "−")
    return f"{text} ({row[f'{name}_low']:.3g} to {row[f'{name}_high']:.3g})".replace("-", "−")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
