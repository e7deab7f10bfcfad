"""The page of one method: where it is good, where it is bad, and its worst networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from mi_runner.bench.networks import PLANTED, TRAINED
from mi_runner.bench.pages.saved_bench import BENCH, INTERVALS, Row, SavedBench, links_to_jobs, with_intervals
from mi_runner.bench.pages.worst_networks import worst_networks
from mi_runner.bench.tables import AHEAD, BEHIND, DIGITS, LEADERBOARD, RANDOM, RESULTS, ROWS, TIES
from mi_runner.runs.report import REPORT, rendering
from mi_runner.runs.report.tables import Table, number
from mi_runner.tables.declaration import Declarations, Note, TableType
from mi_runner.tables.names import ALL
from mi_runner.tables.pairwise import fewest_units

BEST = "best"

STANDING = TableType(
    "standing",
    "The method on the networks of every family: where it is good, and where it is bad",
    (
        *(column for column in LEADERBOARD.columns if column.name not in ("method", "best")),
        Note(
            "standing",
            f"{BEST}: the method has the best mean rank, which is the lowest; {TIES}: it is not told apart from the "
            f"method that has it; {BEHIND}: it is",
        ),
        Note("best_method", "the method with the best mean rank"),
        Note(
            "above_best",
            "cpr of the method minus that of the method with the best mean rank, mean over the units",
            interval=True,
        ),
        Note("above_random", "cpr of the method minus that of random, mean over the units", interval=True),
    ),
)
"""Besides these it has the ends of the intervals of the leaderboard's measures."""

FIRST = (
    *(ROWS.name, "standing", "mean_rank", "cpr", "best_method", "above_best", "p_best"),
    *("beside_random", "above_random", "p_random"),
)
"""The columns that come first."""


def method_page(bench: SavedBench, method: str) -> str:
    """Returns the page of a method, which lies in a folder of the bench's folder."""
    rows = [_standing(bench, networks, method) for networks in bench.networks if (networks, method) in bench.standings]
    found = worst_networks(bench.rows(RESULTS), method, bench.folder)
    pages = links_to_jobs(({"job": one.job} for one in found), bench.folder, REPORT)
    drawn = {f"worst-{place}": one.picture for place, one in enumerate(found) if one.picture is not None}
    return rendering.page(
        "method.html",
        ["report.js", *(["layers.js", "method.js"] if drawn else [])],
        title=f"{method} · bench",
        folder=str(bench.folder.absolute()),
        report=f"../{REPORT}",
        said=list(_sentences(rows, method, fewest_units(len(bench.pages)))) if len(bench.pages) > 1 else [],
        intervals=INTERVALS,
        tables=[table] if (table := _table(rows)) else [],
        worst=[(one, f"../{pages[one.job]}" if one.job in pages else "") for one in found],
        data={"worst": drawn} if drawn else {},
        others=[(name, Path(page).name) for name, page in bench.pages.items() if name != method],
    )


def _table(rows: Sequence[Row]) -> Table | None:
    declared = Declarations(tables=(STANDING, *BENCH.tables))
    return with_intervals(STANDING.name, rows, declared, meaning=STANDING.caption, first=FIRST)


def best_methods(bench: SavedBench, networks: str) -> list[str]:
    """Returns the methods with the lowest mean rank on these networks: several if they are equal but for rounding."""
    ranks = {
        method: round(value, DIGITS)
        for of, method in bench.standings
        if of == networks and (value := number(bench.standings[of, method].get("mean_rank", ""))) is not None
    }
    return [method for method, value in ranks.items() if value == min(ranks.values())]


def _standing(bench: SavedBench, networks: str, method: str) -> Row:
    """Returns the row of a method's page on these networks."""
    row = bench.standings[networks, method]
    best = best_methods(bench, networks)
    place = BEST if method in best else TIES if row.get("best") == "True" else BEHIND
    other = method if method in best else next(iter(best), "")
    return {
        **{name: value for name, value in row.items() if name not in ("method", "best")},
        "standing": place if row.get("mean_rank") else "",
        "best_method": ", ".join(best),
        **_difference(bench, networks, method, other, "above_best"),
        **_difference(bench, networks, method, RANDOM, "above_random"),
    }


def _difference(bench: SavedBench, networks: str, method: str, other: str, name: str) -> Row:
    found = bench.difference(networks, method, other) or ("", "", "")
    return dict(zip((name, f"{name}_low", f"{name}_high"), map(str, found), strict=True))


def _sentences(rows: Sequence[Row], method: str, fewest: int) -> Iterator[str]:
    """Yields on which families the method is at the top, and where it lies beside random; as paired tests say it."""
    families = [row for row in rows if row[ROWS.name] not in (ALL, TRAINED, PLANTED) and row["standing"]]
    tested = [row for row in families if (number(row.get("n_units", "")) or 0) >= fewest]
    if tested:
        top = [row[ROWS.name] for row in tested if row["standing"] != BEHIND]
        yield (
            f"{method} has the best mean rank, or ties with the method that has it, on {_counted(top, tested)}. "
            "What ties is not told apart."
        )
    if any(row.get("beside_random") for row in tested):
        ahead, behind = (
            [row[ROWS.name] for row in tested if row.get("beside_random") == where] for where in (AHEAD, BEHIND)
        )
        yield (
            f"It is ahead of {RANDOM} on {_counted(ahead, tested)}, and behind it on {_counted(behind, tested)}; "
            "on the others the two are not told apart."
        )
    if len(tested) < len(families):
        n = len(families) - len(tested)
        of = f"{n} famil{'y' if n == 1 else 'ies'} of fewer than {fewest} units"
        yield f"On {of} nothing is told apart."


def _counted(names: Sequence[str], of: Sequence[Row]) -> str:
    """Returns how many families these are, and which, where it isn't all of them."""
    named = f" ({', '.join(names)})" if 0 < len(names) < len(of) else ""
    return f"{len(names)} of {len(of)} families{named}"
