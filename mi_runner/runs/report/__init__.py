"""The page report.html of a run: made from its folder alone, so at any time, without torch."""

from mi_runner.runs.report.run_report import REPORT, run_page, write_run_report

__all__ = ["REPORT", "run_page", "write_run_report"]
