"""Tasks of a Ray cluster."""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import signal
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from mi_runner.config.engine_schemas import RayLauncher
from mi_runner.errors import ConfigError, RunFailed, Terminated, one_line, reason
from mi_runner.machine import hardware
from mi_runner.machine.imports import safe_path
from mi_runner.runs import run_folder
from mi_runner.sweeps.engines.engine import OfThisProcess, Running, ending_of, wait_for
from mi_runner.sweeps.worker import Ending, Task, Worker, run_task

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
EMPTY_SETTINGS = b"\0\0\0\x04\0\0\0\0\0"

LOOPBACK = "127.0.0.1"

HAS_CLUSTERS = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""The variable that says to Ray whether it can be a cluster of several machines."""

SECONDS_TO_CONNECT = 5.0
"""How long a cluster has to answer at its address."""

SECONDS_BETWEEN_CANCELS = 1.0
"""How often a task that goes on is cancelled again: a worker that is just beginning it misses what was sent once."""


@dataclass(frozen=True)
class Node:
    """What a node of a cluster has for jobs: cores, and GPUs."""

    cpus: int
    gpus: float = 0.0


def shares_of_nodes(config: RayLauncher, n_jobs: int, nodes: Sequence[Node]) -> tuple[int, int, float]:
    """Returns the number of jobs at once, and the cores and GPUs of each, so that each job fits on one node.

    Args:
        n_jobs: jobs that there are to run.

    Raises:
        RunFailed: no node has what a job is to have; the text says what nodes have.
    """
    able = nodes
    if config.gpus or (config.gpus is None and any(node.gpus for node in nodes)):
        able = [node for node in nodes if node.gpus]
    slots = config.n_jobs or max(1, min(sum(node.cpus for node in able), n_jobs))

    def n_fitting(threads: int, gpus: float) -> int:
        by_gpus = [math.floor(node.gpus / gpus + 1e-6) if gpus else node.cpus for node in able]
        return sum(min(node.cpus // threads, most) for node, most in zip(able, by_gpus, strict=True))

    most_cpus, most_gpus = max((node.cpus for node in able), default=0), max((node.gpus for node in able), default=0.0)
    threads = config.threads or max((n for n in range(1, most_cpus + 1) if n_fitting(n, 0) >= slots), default=1)
    gpus = config.gpus
    if gpus is None:
        # Ray gives whole GPUs, or a fraction of one, of at most four digits.
        fractions = [math.floor(10_000 / n) / 10_000 for n in range(slots, 0, -1)]
        amounts = [*fractions, *map(float, range(2, int(most_gpus) + 1))] if most_gpus else []
        gpus = max((amount for amount in amounts if n_fitting(1, amount) >= slots), default=min(amounts, default=0.0))
    if not n_fitting(threads, gpus):
        have = ", ".join(f"{node.cpus} CPUs and {node.gpus:g} GPUs" for node in nodes) or "nothing"
        raise RunFailed(
            f"a job asks for {threads} CPUs and {gpus:g} GPUs of one node, and the nodes have {have}: "
            "hydra.launcher.threads and hydra.launcher.gpus say how much a job asks for."
        )
    return (slots if config.n_jobs else min(slots, n_fitting(threads, gpus))), threads, gpus


def check(config: RayLauncher) -> None:
    """Checks that the cluster answers at its address, without making a file.

    Raises:
        ConfigError: nothing does within `SECONDS_TO_CONNECT`.
    """
    address = (config.address or "").removeprefix("ray://")
    host, _, port = address.rpartition(":")
    if config.address is None or address in ("auto", "local"):
        return
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS_TO_CONNECT) as connection:
            if os.environ.get("RAY_USE_TLS", "0") != "0":
                return
            # Ray would try for minutes. Its servers speak HTTP/2, in which each end begins with its settings.
            connection.sendall(HTTP2_PREFACE + EMPTY_SETTINGS)
            if connection.recv(9)[3:4] == EMPTY_SETTINGS[3:4]:
                return
        raise ConnectionError("what answers is not Ray")
    except (OSError, ValueError, OverflowError) as error:
        why = reason(error) if isinstance(error, OSError) else "it has no number of a port"
        raise ConfigError(
            f"hydra.launcher.address={config.address}: no Ray answers there ({why}). Type HOST:PORT, as "
            "ray start --head said it."
        ) from error


@contextmanager
def _on_loopback(wanted: bool) -> Iterator[None]:
    """Makes Ray take the loopback's address for this machine's within the block, where nobody else can reach it.

    By itself it takes one that other machines can reach, and its servers listen on all, whatever address it is given.
    Where it has no clusters, as on macOS, it takes the loopback: this variable and this constant say so.
    """
    if not wanted:
        yield
        return
    constants: Any = import_module("ray._private.ray_constants")
    before, known = os.environ.get(HAS_CLUSTERS), constants.ENABLE_RAY_CLUSTER
    os.environ[HAS_CLUSTERS], constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = known
        if before is None:
            del os.environ[HAS_CLUSTERS]
        else:
            os.environ[HAS_CLUSTERS] = before


@contextmanager
def _interruptions() -> Iterator[None]:
    """Raises what a signal raises within the block, which Ray's compiled code may turn into a SystemError."""
    try:
        yield
    except SystemError as error:
        if isinstance(error.__cause__, KeyboardInterrupt | Terminated):
            raise error.__cause__ from None
        raise


class _RayTask:
    def __init__(self, folder: Path, ray: Any, reference: Any) -> None:
        self.folder, self.ray, self.reference = folder, ray, reference

    def done(self) -> bool:
        with _interruptions():
            return bool(self.ray.wait([self.reference], timeout=0)[0])

    def ending(self) -> Ending:
        def result() -> Ending:
            with _interruptions():
                return self.ray.get(self.reference)

        return ending_of(result)


class Ray(OfThisProcess):
    """Tasks of a Ray cluster, or of one that is started here for as long as the sweep lasts."""

    def __init__(self, config: RayLauncher, n_jobs: int) -> None:
        started_here = config.address is None
        # Ray reads these when it is imported.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if started_here and "RAY_AUTH_MODE" not in os.environ:
            # Nobody else may use it; a token that Ray makes itself stays in ~/.ray.
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self.ray = import_module("ray")
        where: Mapping[str, Any] = {"address": config.address}
        if started_here:
            loopback = {"_node_ip_address": LOOPBACK, "include_dashboard": False}
            where = {"address": "local", "num_cpus": hardware.n_cores(), **loopback}
        self._empty = tempfile.TemporaryDirectory(prefix="mi-run-", ignore_cleanup_errors=True)
        on_sigterm = signal.getsignal(signal.SIGTERM)
        try:
            # Ray's workers take modules first from where they are started: from an empty folder.
            with safe_path(), contextlib.chdir(self._empty.name), _on_loopback(started_here):
                self.ray.init(**where, log_to_driver=False, logging_level="ERROR")
        except Exception as error:
            what = "can't start Ray here" if started_here else f"hydra.launcher.address={config.address}"
            raise RunFailed(f"{what}: {one_line(error)}") from error
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray has set its own, which ends us without a word
        try:
            self.slots, self.threads, gpus = shares_of_nodes(config, n_jobs, self._nodes())
        except RunFailed:
            self.close()
            raise
        self.gpus = gpus
        # Ray must not run a job again that died: the job itself may be the cause.
        self._run = self.ray.remote(num_cpus=self.threads, num_gpus=gpus, max_retries=0)(run_task)
        self._tasks: list[_RayTask] = []

    def _nodes(self) -> list[Node]:
        has = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        return [Node(int(of_node.get("CPU", 0)), of_node.get("GPU", 0.0)) for of_node in has]

    def waiting(self) -> str:
        n_waiting = sum(not task.done() and not (task.folder / run_folder.RECORD).exists() for task in self._tasks)
        if not n_waiting:
            return ""
        free, all_of_them = self.ray.available_resources(), self.ray.cluster_resources()
        told = [f"{free.get(kind, 0):g} of {all_of_them.get(kind, 0):g} {kind}s" for kind in ("CPU", "GPU")]
        asks = f"{self.threads} CPUs" + (f" and {self.gpus:g} GPUs" if self.gpus else "")
        return f"{n_waiting} jobs wait for Ray: each asks for {asks} of one node, {' and '.join(told)} are free"

    def submit(self, slot: int, task: Task) -> Running:
        place = Worker(os.getcwd(), self.threads)
        handed = _RayTask(task.folder, self.ray, self._run.remote(replace(task, worker=place)))
        self._tasks = [*(earlier for earlier in self._tasks if not earlier.done()), handed]
        return handed

    def stop(self) -> None:
        cancelled_at: dict[int, float] = {}

        def cancel(task: _RayTask) -> None:
            now = time.monotonic()
            if now - cancelled_at.get(id(task), -math.inf) < SECONDS_BETWEEN_CANCELS:
                return
            cancelled_at[id(task)] = now
            with suppress(Exception):
                self.ray.cancel(task.reference)  # raises KeyboardInterrupt in it

        wait_for(self._tasks, meanwhile=cancel)
        self.close()

    def close(self) -> None:
        self.ray.shutdown()
        self._empty.cleanup()
