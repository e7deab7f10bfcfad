"""`mi-run bench`: judges discovery methods on a fixed list of networks; see `mi_runner.bench.run`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from mi_runner.cli.arguments import Parser
from mi_runner.config.bench_options import BenchConfig
from mi_runner.config.help_page import lines_of_options
from mi_runner.errors import ConfigError, ExitStatus, RunFailed, reason
from mi_runner.tables import console

VECTORS = "--vectors"


def parser() -> Parser:
    """Returns the parser of the command's flags."""
    made = Parser(
        "bench",
        "Judges methods that find circuits on a fixed list of networks, where the best\n"
        "circuit or the truth is known: a run of experiment=discovery on each network,\n"
        "then leaderboard.csv and pages.",
        "\n".join(
            [
                "Options",
                *lines_of_options("bench.", BenchConfig),
                "  experiment.methods=[eap,acdc]   the methods; package.module:callable is your",
                "                                  own. Runs code!",
                "  as for a run of experiment=discovery: experiment.OPTION, threads, report,",
                "  figures, output_dir; as for a sweep: hydra/launcher=NAME, resume=FOLDER,",
                "  sweep=FOLDER, plan=true, on_error",
                "",
                "Examples",
                "  all built-in methods on small networks:",
                "    mi-run bench bench.part=small",
                "  your own method beside EAP:",
                "    mi-run bench experiment.methods=[eap,my_module:score]",
                "  goes on with one that was interrupted:",
                "    mi-run bench resume=outputs/sweeps/bench/v001",
                "  networks and results for other programs:",
                "    mi-run bench --vectors FOLDER",
            ]
        ),
    )
    made.add_argument(
        VECTORS, metavar="FOLDER", help="write small networks with scores, circuits, CPR and CMD, and stop"
    )
    made.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="options")
    return made


def run(arguments: Sequence[str]) -> int:
    """Runs a bench, or writes test vectors, and returns the exit status.

    Raises:
        ConfigError: a mistake in the command.
        RunFailed: files can't be written.
    """
    if flags := [word for word in arguments if word in ("-m", "--multirun")]:
        raise ConfigError(f"mi-run bench runs every network of its list already: leave {flags[0]} out.")
    parsed = parser().parsed(arguments)
    if parsed is None:
        return ExitStatus.DONE
    overrides: list[str] = parsed.overrides
    if parsed.vectors is not None:
        if overrides:
            raise ConfigError(f"bench {VECTORS} FOLDER takes no {overrides[0]}.")
        folder = Path(parsed.vectors).expanduser()
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"bench {VECTORS} {folder}: this is a file. Name a folder.")
        from mi_runner.bench.vectors import write_vectors

        try:
            write_vectors(folder)
        except OSError as error:
            raise RunFailed(f"can't write into {folder} ({reason(error)}): name another folder.") from error
        console.last_line(str(folder))
        return ExitStatus.DONE
    from mi_runner.bench.run import run as run_bench

    return run_bench(overrides, "mi-run " + shlex.join(["bench", *arguments]))
