"""The page report.html of a run: made from its folder alone, so at any time, without torch."""

from mi_runner.runs.report.run_report import run_page, write_run_report
from mi_runner.runs.run_folder import REPORT

__all__ = ["REPORT", "run_page", "write_run_report"]
