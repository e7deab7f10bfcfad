"""The program. Until it works at a run, Ctrl-C and SIGTERM end it at once, also while its own modules are imported."""

import sys


def main() -> int:
    """Run the command line; return its exit status."""
    from mi_runner import signals

    signals.end_at_once()
    from mi_runner.cli import command

    status = command.main()
    signals.ignore()
    return status


if __name__ == "__main__":
    sys.exit(main())
