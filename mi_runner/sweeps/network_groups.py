"""Which jobs of a sweep have networks to compare? Those that differ in the seed alone, or in the checkpoint.

Checkpoints that a user names are the networks in question, and no sample: what one of them does says nothing of others.
With `over=checkpoint` the user says that they are networks of one setting, as those of several seeds are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mi_runner.config.run_schema import CHECKPOINT, SEED
from mi_runner.runs.plan import Value
from mi_runner.sweeps.sweep_tables import Ended, short_checkpoints
from mi_runner.tables.over_seeds import have_twins


@dataclass(frozen=True)
class NetworkGroup:
    """Jobs whose networks are compared.

    Attributes:
        over: the key that tells the networks apart, seed or checkpoint.
        jobs: at least two, of one experiment; no two have the same network.
        labels: of each job how tables name its network.
        swept: what else is swept, and its value in these jobs.
        are_sample: whether the networks are drawn from one setting.
    """

    over: str
    jobs: tuple[Ended, ...]
    labels: tuple[str, ...]
    swept: Mapping[str, Value]
    are_sample: bool


def groups(jobs: Sequence[Ended]) -> list[NetworkGroup]:
    """Returns the jobs to compare: done, equal in code and in swept values but those that name the network.

    With several checkpoints these are the checkpoint and the options of the model: the weights of another architecture
    are loaded by another model. Otherwise it is the seed.
    """
    done = [job for job in jobs if job.state.done]
    over = CHECKPOINT if any(CHECKPOINT in job.job.swept for job in done) else SEED
    found: dict[tuple[str, ...], list[Ended]] = {}
    for job in done:
        others = [f"{key}={value}" for key, value in job.job.swept.items() if not _names_network(key, over)]
        found.setdefault((job.code, str(job.state.record.experiment), *others), []).append(job)
    made = [_group(members, over) for members in found.values()]
    return [group for group in made if group is not None]


def _names_network(key: str, over: str) -> bool:
    key = key.lstrip("+")
    return key == SEED if over == SEED else key in (CHECKPOINT, "model") or key.startswith("model.")


def _group(members: Sequence[Ended], over: str) -> NetworkGroup | None:
    """Returns the group of these jobs; None if fewer than two have different networks."""
    members = sorted(members, key=lambda job: job.job.number)
    if over == SEED:
        if len(members) < 2 or have_twins(job.start for job in members):
            return None
        labels = [str(job.job.swept.get(SEED, job.state.record.seed)) for job in members]
    else:
        members = _distinct(members)
        short = short_checkpoints(members)
        labels = [short[str(job.job.swept[CHECKPOINT])] for job in members]
        if len(set(labels)) < len(labels):  # the same weights in two models
            labels = [" ".join([label, *_of_model(job)]) for label, job in zip(labels, members, strict=True)]
    if len(members) < 2:
        return None
    swept = {key: value for key, value in members[0].job.swept.items() if not _names_network(key, over)}
    are_sample = over == SEED or CHECKPOINT in members[0].repeated
    return NetworkGroup(over, tuple(members), tuple(labels), swept, are_sample)


def _of_model(job: Ended) -> list[str]:
    swept = job.job.swept.items()
    return [f"{key}={value}" for key, value in swept if key != CHECKPOINT and _names_network(key, CHECKPOINT)]


def _distinct(members: Sequence[Ended]) -> list[Ended]:
    """Returns the jobs without those whose network an earlier one has."""
    seen: set[str] = set()
    found = []
    for job in members:
        if job.start is None or job.start not in seen:
            found.append(job)
        seen |= set() if job.start is None else {job.start}
    return found


def same_weights(jobs: Sequence[Ended]) -> list[str]:
    """Returns a line for checkpoints that have the same weights and data: they are one network."""
    by_start: dict[str, dict[str, None]] = {}
    for job in jobs:
        if job.state.done and job.start is not None and CHECKPOINT in job.job.swept:
            by_start.setdefault(job.start, {})[str(job.job.swept[CHECKPOINT])] = None
    short = short_checkpoints(jobs)
    return [
        f"the checkpoints {' and '.join(short[name] for name in names)} have the same weights: they are one network, "
        "which is compared once."
        for names in dict.fromkeys(tuple(names) for names in by_start.values() if len(names) > 1)
    ]
