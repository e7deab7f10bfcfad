"""The pages of a bench: report.html of all methods, and methods/NAME.html of each; made from its folder alone."""

from mi_runner.bench.pages.bench_report import write_pages

__all__ = ["write_pages"]
