"""The program. Before a run begins, Ctrl-C and SIGTERM end it at once, even while it imports its own modules."""

import gc
import os
import sys

if __name__ == "__main__" and not sys.flags.safe_path and sys.path[:1] in ([""], [os.getcwd()]):
    # `python -m` puts the working directory first: a file random.py in it would be taken for Python's own.
    del sys.path[0]


def main() -> int:
    """Runs the command line and returns its exit status."""
    from mi_runner.machine import signals, streams

    streams.prepare()
    signals.end_at_once()
    gc.disable()  # what is imported stays: a search for what doesn't takes a tenth of the imports' time
    from mi_runner.cli import command

    gc.freeze()
    gc.enable()
    status = command.main()
    signals.ignore()
    return status


if __name__ == "__main__":
    sys.exit(main())
