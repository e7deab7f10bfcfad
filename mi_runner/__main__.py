"""The program: Ctrl-C is heard from the first moment on, also while the command line's own modules are imported."""

import sys


def main() -> int:
    """Run the command line; return its exit status."""
    try:
        from mi_runner import cli

        return cli.main()
    except KeyboardInterrupt:  # before the command line listens, or after
        from mi_runner import console

        console.error("interrupted (Ctrl-C)")
        return 130


if __name__ == "__main__":
    sys.exit(main())
