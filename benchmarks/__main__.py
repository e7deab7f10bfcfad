import sys
from importlib import import_module
from pathlib import Path

from mi_runner.errors import unknown
from mi_runner.machine import threads

threads.let_waiting_threads_sleep()  # as in every run, and before torch is imported

NAMES = sorted(
    path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in ("__init__", "__main__", "timing")
)

for name in sys.argv[1:] or NAMES:
    if name not in NAMES:
        sys.exit(unknown("benchmark", name, NAMES))
    import_module(f"benchmarks.{name}").run()
