"""The launchers for real: workers, processes, a Ray of the test's own; failing jobs, killed workers, killed sweeps."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from mi_runner.config.engine_schemas import RayLauncher
from mi_runner.errors import RunFailed, Terminated
from mi_runner.runs import states
from mi_runner.sweeps.engines.ray import Node, _RayTask, shares_of_nodes
from tests.conftest import Ended
from tests.forked import Forked
from tests.launched import TINY, Started, ended, statuses, table
from tests.pages import shared_folder

WIDE = ("dataset=mnist", "dataset.limit=200", "model.hidden_sizes=[1000,1000]", "threads=2", "--config-dir", "mine")
"""So wide a network, with so many inputs, that the number of threads decides the last digits."""

TRAININGS = {
    "short": "epochs: 1",
    "endless": "epochs: 100000",
    "diverging": "epochs: 2\noptimizer: sgd\nlearning_rate: 1e30",
    "longer": "epochs: 2",
}


def place(folder: Path) -> tuple[Path, dict[str, str]]:
    """The folder with a file for each of these trainings, and an environment whose model store is empty."""
    (folder / "mine/training").mkdir(parents=True)
    for name, options in TRAININGS.items():
        text = f"defaults: [/schema/training@_here_]\n{options}\n"
        (folder / f"mine/training/{name}.yaml").write_text(text)
    return folder, {"MI_RUN_CACHE": str(folder / "store")}


@dataclass(frozen=True)
class Swept:
    """A sweep that has ended, of a job that is done, one whose worker was killed, one that failed, and one done.

    Attributes:
        killed: run.json of the killed job, as it was while the job ran.
    """

    folder: Path
    done: Ended
    killed: dict[str, object]


@pytest.fixture(scope="module")
def swept(launcher: str, tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """Two jobs at once; the workers have one thread for what no figure depends on."""
    at, environment = place(tmp_path_factory.mktemp("swept"))
    workers = (launcher, "hydra.launcher.n_jobs=2", "hydra.launcher.threads=1")
    jobs = "training=short,endless,diverging,longer"
    sweep = Started(at, jobs, *workers, tiny=WIDE, environment=environment)
    killed = sweep.wait_for(1, "running")
    os.kill(int(str(killed["pid"])), signal.SIGKILL)
    done = sweep.ended()
    assert at / done.folder == sweep.folder
    return Swept(sweep.folder, done, killed)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep of the same jobs, but for the endless one, in one process; made once for all launchers."""
    at = shared_folder(tmp_path_factory) / "here"
    with FileLock(f"{at}.lock"):
        if not (at / "done").exists():
            shutil.rmtree(at, ignore_errors=True)
            folder, environment = place(at)
            sweep = Started(folder, "training=short,diverging,longer", tiny=WIDE, environment=environment)
            assert sweep.ended().status == 1
            (at / "done").touch()
    (record,) = at.rglob("v001/sweep.json")
    return record.parent


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the last job as a command of its own; made once for all launchers."""
    at = shared_folder(tmp_path_factory) / "alone"
    with FileLock(f"{at}.lock"):
        if not (at / "done").exists():
            shutil.rmtree(at, ignore_errors=True)
            folder, environment = place(at)
            done = ended(Forked(*WIDE, "training=longer", cwd=folder, environment=environment))
            assert done.status == 0, done.err
            (at / "done").touch()
    (record,) = at.rglob("v001/run.json")
    return record.parent


def record_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text())


def test_a_worker_that_is_killed_and_a_job_that_fails_end_no_other_job(swept: Swept) -> None:
    folder, done = swept.folder, swept.done
    assert done.status == 1, done.err
    assert statuses(folder) == {0: "done", 1: "killed", 2: "failed", 3: "done"}, done.err
    assert "4 jobs, 2 at once" in done.err and "training diverged in epoch 1" in done.err
    assert "Traceback" in (folder / "2/run.log").read_text()
    rows = {row["job"]: row for row in table(folder)}
    word = f"process {swept.killed['pid']} on {swept.killed['host']} ended without a word"
    assert (rows["1"]["status"], rows["1"]["error"]) == ("killed", word)
    assert word in done.err
    found = states.read_state(folder / "1")
    assert (found.record.status, found.exit_status) == ("killed", 1)
    assert {rows[job]["status"] for job in "03"} == {"done"}
    pids = [record_of(folder / str(job))["pid"] for job in range(4)]
    assert swept.killed["pid"] == pids[1] not in (pids[0], pids[2], pids[3])


def test_a_sweeps_table_is_the_same_under_each_launcher_and_in_one_process(swept: Swept, here: Path) -> None:
    jobs = {"0": "0", "2": "1", "3": "2"}  # of the sweep → of the one in one process
    found = [{**row, "job": jobs[row["job"]]} for row in table(swept.folder) if row["job"] in jobs]
    rows, wanted = (
        [{key: value for key, value in row.items() if key not in ("folder", "error")} for row in of]
        for of in (found, table(here))
    )
    assert rows == wanted and len(rows) == 2 * 12 + 1  # of a job done: training, test, and test of each digit
    pids = {record_of(swept.folder / job)["pid"] for job in jobs}
    assert record_of(here / "0")["pid"] not in pids


def test_a_command_gives_the_same_table_alone_in_a_sweep_and_under_each_launcher(
    swept: Swept, here: Path, alone: Path
) -> None:
    """Each of the three trains for itself."""
    folders = [swept.folder / "3", here / "2", alone]
    records = [record_of(folder) for folder in folders]
    assert [(record["checkpoint"]["from"], record["threads"]) for record in records] == [("training", 2)] * 3
    assert len({(folder / "metrics.csv").read_bytes() for folder in folders}) == 1
    assert len({record["config_hash"] for record in records}) == 1


def test_workers_train_a_model_that_all_need_once_and_have_the_threads_that_were_asked_for(tmp_path: Path) -> None:
    """The network says in its own run what its worker gave it; torch's threads are those of the config."""
    pytest.importorskip("joblib")
    (tmp_path / "net.py").write_text(
        "import os, json, torch\n"
        "def Net(input_shape, n_outputs):\n"
        "    seen = [torch.get_num_threads(), os.environ.get('NUMBA_NUM_THREADS'), os.environ.get('OMP_NUM_THREADS')]\n"
        "    open(f'seen-{os.getpid()}', 'w').write(json.dumps(seen))\n"
        "    inner = torch.nn.Linear(input_shape[0], 8)\n"
        "    return torch.nn.Sequential(inner, torch.nn.ReLU(), torch.nn.Linear(8, n_outputs))\n"
    )
    network = ("model=external", "model.factory=net:Net", "training.epochs=300", "threads=3")
    methods = "experiment.methods=[zero],[mean],[resample],[zero,mean]"
    workers = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.launcher.threads=1")
    done = Started(tmp_path, "experiment=ablation", *network, methods, *workers).ended()
    assert done.status == 0, done.err
    records = [record_of(tmp_path / done.folder / str(job)) for job in range(4)]
    assert sorted(record["checkpoint"]["from"] for record in records) == [*["model store"] * 3, "training"]
    pids = {record["pid"] for record in records}
    assert [json.loads((tmp_path / f"seen-{pid}").read_text()) for pid in pids] == [[3, "1", "1"]] * 2


RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """The address of a Ray of two nodes, of one CPU each, that the test starts, and stops."""
    if find_spec("ray") is None:
        pytest.skip("ray is not installed")
    program = (
        "import sys; from ray.cluster_utils import Cluster; "
        "head = {'num_cpus': 1, 'include_dashboard': False}; "
        "cluster = Cluster(initialize_head=True, head_node_args=head); cluster.add_node(num_cpus=1); "
        "print(cluster.address, flush=True); sys.stdin.read(); cluster.shutdown()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, **RAY},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        yield process.stdout.readline().split()[-1]
        process.stdin.close()
        assert process.wait(timeout=60) == 0


def test_a_ray_cluster_that_is_already_there(cluster: str, tmp_path: Path) -> None:
    """A job asks for what a node has: one job at once has not the two CPUs of the cluster, which no node has."""
    where = ("hydra/launcher=ray", f"hydra.launcher.address={cluster}", "hydra.launcher.n_jobs=1")
    done = Started(tmp_path, "training.epochs=1", "seed=0,1", *where, environment=RAY).ended()
    assert done.status == 0 and "2 jobs, 1 at once" in done.err, done.err
    assert statuses(tmp_path / done.folder) == {0: "done", 1: "done"}


def test_a_ray_cluster_that_is_not_there(mi_run: Callable[..., Ended]) -> None:
    pytest.importorskip("ray")
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        of_silent = f"127.0.0.1:{silent.getsockname()[1]}"
        for address in ("127.0.0.1:1", "nowhere.invalid:6379", "host", of_silent):
            done = mi_run("-m", *TINY, "seed=0,1", "hydra/launcher=ray", f"hydra.launcher.address={address}")
            assert done.status == 2 and f"hydra.launcher.address={address}: no Ray answers there" in done.err
    assert time.monotonic() - began < 60 and not Path("outputs").exists()


@pytest.mark.parametrize(
    ("asked", "n_jobs", "nodes", "found"),
    [
        ({}, 10, [Node(2), Node(2)], (4, 1, 0)),
        ({}, 1, [Node(1), Node(1)], (1, 1, 0)),  # not two: no node has them
        ({}, 2, [Node(8), Node(2)], (2, 4, 0)),  # both on the large node
        ({"n_jobs": 3}, 10, [Node(4), Node(4)], (3, 2, 0)),
        ({"n_jobs": 16}, 100, [Node(4)], (16, 1, 0)),
        ({"threads": 3}, 10, [Node(4), Node(4)], (2, 3, 0)),
        ({}, 1, [Node(8, 1), Node(8, 1)], (1, 8, 1)),  # two GPUs are on two nodes
        ({}, 4, [Node(8, 1), Node(8, 1)], (4, 4, 0.5)),
        ({}, 3, [Node(8, 2)], (3, 2, 0.5)),
        ({}, 2, [Node(64), Node(4, 4)], (2, 2, 2)),  # jobs go to nodes with GPUs
        ({"gpus": 0}, 2, [Node(64), Node(4, 4)], (2, 32, 0)),
    ],
)
def test_shares_of_rays_nodes(
    asked: dict[str, int], n_jobs: int, nodes: list[Node], found: tuple[int, int, float]
) -> None:
    slots, threads, gpus = shares_of_nodes(RayLauncher(**asked), n_jobs, nodes)
    assert (slots, threads, gpus) == found
    at_once = sum(min(n.cpus // threads, n.gpus // gpus if gpus else n.cpus) for n in nodes)
    assert at_once >= min(slots, sum(node.cpus for node in nodes))


@pytest.mark.parametrize("asked", [{"threads": 3}, {"gpus": 1}, {"gpus": 0.5}])
def test_jobs_that_no_node_of_ray_can_have(asked: dict[str, float]) -> None:
    with pytest.raises(RunFailed, match="of one node, and the nodes have 2 CPUs and 0 GPUs, 1 CPUs"):
        shares_of_nodes(RayLauncher(**asked), 5, [Node(2), Node(1)])


def test_slurm_that_is_not_there(mi_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    done = mi_run("-m", *TINY, "seed=0,1", "hydra/launcher=submitit_slurm")
    assert done.status == 2 and "hydra/launcher=submitit_local runs here" in done.err
    assert not Path("outputs").exists()


def test_a_library_that_is_not_installed(mi_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("joblib.externals.loky", "submitit", "ray", "optuna"):
        monkeypatch.setitem(sys.modules, name, None)
    for launcher, extra in (("joblib", "parallel"), ("submitit_local", "slurm"), ("ray", "ray")):
        done = mi_run("-m", *TINY, "seed=0,1", f"hydra/launcher={launcher}")
        assert done.status == 2 and f"type pip install 'mi-run[{extra}]'" in done.err
    done = mi_run("-m", *TINY, "seed=0,1", "hydra/sweeper=optuna", "objective=accuracy")
    assert done.status == 2 and "type pip install 'mi-run[optuna]'" in done.err
    assert not Path("outputs").exists()


@pytest.mark.parametrize("raised", [KeyboardInterrupt, Terminated])
def test_an_interruption_inside_rays_compiled_code_is_one(raised: type[BaseException], tmp_path: Path) -> None:
    """Ray's Cython code may return with the exception of a signal set, of which Python makes a SystemError."""

    class Compiled:
        def wait(self, references: object, timeout: float) -> None:
            raise SystemError("returned a result with an exception set") from raised()

    with pytest.raises(raised):
        _RayTask(tmp_path, Compiled(), None).done()
