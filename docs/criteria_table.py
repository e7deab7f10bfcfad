"""Prints the tables of docs/criteria.md from the folder of a sweep over seeds: python docs/criteria_table.py FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

BOTH = ["zero", "mean"]


def main(folder: Path) -> None:
    """Prints, in Markdown, the shares that survive each criterion, and how two criteria agree."""
    summary = pd.read_csv(folder / "sweep_summary.csv", dtype={"output": str})
    print("| criterion | survive, zero | chance | untrained | survive, mean | chance | untrained |")
    print("|---|---|---|---|---|---|---|")
    for criterion in dict.fromkeys(summary["criterion"].dropna()):
        cells = [f"`{criterion}`"]
        for ablation in BOTH:
            own = summary[(summary["ablation"] == ablation) & (summary["criterion"] == criterion)]
            by = own.set_index("measure")
            cells += [_cell(by, "share"), _cell(by, "chance", interval=False), _cell(by, "untrained", interval=False)]
        print("| " + " | ".join(cells) + " |")
    survivors = pd.read_csv(folder / "sweep_survivors.csv")
    print("\n| ablation | networks | valid circuits | survive all | one alone |\n|---|---|---|---|---|")
    for row in survivors.to_dict("records"):
        ends = [
            "{:,.0f} to {:,.0f} (median {:,.0f})".format(*(row[f"{name}_{end}"] for end in ("least", "most", "median")))
            for name in ("n_valid", "n_surviving")
        ]
        print(f"| {row['ablation']} | {row['n_networks']} | {ends[0]} | {ends[1]} | {row['n_one']} |")
    taus = pd.read_csv(folder / "sweep_tau.csv")
    for ablation in BOTH:
        own = taus[(taus["ablation"] == ablation) & (taus["tau"].notna())]
        names = list(dict.fromkeys([*own["criterion"], *own["other"]]))
        print(f"\nτ, {ablation}:\n\n| |" + "|".join(f" `{name}` " for name in names[1:]) + "|")
        print("|---" * len(names) + "|")
        for one in names[:-1]:
            cells = []
            for other in names[1:]:
                found = own[(own["criterion"] == one) & (own["other"] == other)]["tau"]
                cells.append(f"{found.iloc[0]:.2f}".replace("-", "−") if len(found) else "")
            print(f"| `{one}` | " + " | ".join(cells) + " |")


def _cell(by: pd.DataFrame, measure: str, *, interval: bool = True) -> str:
    if measure not in by.index or pd.isna(by.loc[measure, "mean"]):
        return ""
    row = by.loc[measure]
    text = f"{100 * row['mean']:.3g} %"
    return f"{text} ({100 * row['low']:.3g} to {100 * row['high']:.3g})" if interval else text


if __name__ == "__main__":
    main(Path(sys.argv[1]))
