"""The program. Before a run begins, Ctrl-C and SIGTERM end it at once, even while it imports its own modules."""

import sys


def main() -> int:
    """Runs the command line and returns its exit status."""
    from mi_runner import signals

    signals.end_at_once()
    from mi_runner.cli import command

    status = command.main()
    signals.ignore()
    return status


if __name__ == "__main__":
    sys.exit(main())
