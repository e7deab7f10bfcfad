"""Which job of a cluster's queue is which job of a sweep: written down as the cluster gives the ids.

A job that waits in a queue has no run folder yet. Without its id a resumed sweep would submit it a second time.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mi_runner.machine.files import written_whole
from mi_runner.machine.reading import Unreadable
from mi_runner.machine.typed_json import read_file

FOLDER = ".jobs"
"""In a sweep's folder: a file for each job that was submitted to a cluster."""


@dataclass(frozen=True)
class Submission:
    """A job of a sweep in a cluster's queue.

    Attributes:
        launcher: the name of the launcher that submitted it.
        id: the cluster's.
        name: that it has in the queue, which no other sweep's job has.
    """

    launcher: str
    id: str
    name: str

    def write(self, job_folder: Path) -> None:
        """Writes that it is for the job of this run folder; the job's latest submission counts."""
        (place := _place(job_folder)).parent.mkdir(exist_ok=True)
        with written_whole(place) as beside:
            beside.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")


def read_submission(job_folder: Path) -> Submission | None:
    """Returns the latest submission of the job of a run folder; None if there is none that can be read."""
    try:
        return read_file(_place(job_folder), Submission)
    except (OSError, Unreadable):
        return None


def _place(job_folder: Path) -> Path:
    return job_folder.parent / FOLDER / f"{job_folder.name}.json"
