"""The launchers for real: workers, processes, a Ray of the test's own; failing jobs, killed workers, killed sweeps."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from mi_runner.config.engine_schemas import RayLauncher
from mi_runner.errors import RunFailed
from mi_runner.runs import run_folder
from mi_runner.sweeps.engines.ray import Node, shares_of_nodes

from .conftest import Ended
from .launched import TINY, Started, statuses, table

DIVERGING = ("training.optimizer=sgd", "model.hidden_sizes=[8,8]", "training.learning_rate=0.1,1e30,0.2,0.3")


def test_jobs_of_which_one_fails(launcher: str, tmp_path: Path, mi_run: Callable[..., Ended]) -> None:
    """Two at once; the tables are those of one job after the other."""
    arguments = (*DIVERGING, "training.epochs=2")
    done = Started(tmp_path, *arguments, launcher, "hydra.launcher.n_jobs=2").ended()
    folder = tmp_path / done.folder
    assert done.status == 1, done.err
    assert statuses(folder) == {0: "done", 1: "failed", 2: "done", 3: "done"}
    assert "4 jobs, 2 at once" in done.err and "training diverged in epoch 1" in done.err
    assert "Traceback" in (folder / "1/run.log").read_text()
    records = [json.loads((folder / str(job) / "run.json").read_text()) for job in range(4)]
    assert os.getpid() not in {record["pid"] for record in records}
    plain = mi_run("-m", *TINY, *arguments)
    rows, wanted = (
        [{key: value for key, value in row.items() if key not in ("folder", "error")} for row in table(of)]
        for of in (folder, plain.folder)
    )
    assert rows == wanted and len(rows) == 13


def test_a_command_gives_the_same_table_alone_in_a_sweep_and_under_each_launcher(
    launcher: str, tmp_path: Path, mi_run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network is so wide, and its inputs so many, that the number of threads decides the last digits.

    The workers have one thread for what no figure depends on. Each of the three trains for itself.
    """
    run = ("dataset=mnist", "dataset.limit=200", "model.hidden_sizes=[1000,1000]", "training.epochs=2", "threads=2")
    workers = (launcher, "hydra.launcher.n_jobs=2", "hydra.launcher.threads=1")
    stores = {"MI_RUN_CACHE": str(tmp_path / "store")}
    done = Started(tmp_path, "seed=0,1", *workers, tiny=run, environment=stores).ended()
    assert done.status == 0, done.err
    monkeypatch.setenv("MI_RUN_CACHE", str(tmp_path / "store of the sweep"))
    plain = mi_run("-m", *run, "seed=0,1")
    monkeypatch.setenv("MI_RUN_CACHE", str(tmp_path / "store of the run"))
    alone = mi_run(*run, "seed=1")
    folders = [tmp_path / done.folder / "1", plain.folder / "1", alone.folder]
    records = [json.loads((folder / "run.json").read_text()) for folder in folders]
    assert [(record["checkpoint"]["from"], record["threads"]) for record in records] == [("training", 2)] * 3
    assert len({(folder / "metrics.csv").read_bytes() for folder in folders}) == 1
    assert len({record["config_hash"] for record in records}) == 1


def test_a_worker_that_is_killed_ends_no_other_job(launcher: str, tmp_path: Path) -> None:
    sweep = Started(tmp_path, "training.epochs=1,100000,2,3", launcher, "hydra.launcher.n_jobs=2")
    record = sweep.wait_for(1, "running")
    os.kill(int(str(record["pid"])), signal.SIGKILL)
    done = sweep.ended()
    assert done.status == 1, done.err
    assert statuses(sweep.folder) == {0: "done", 1: "killed", 2: "done", 3: "done"}, done.err
    rows = {row["job"]: row for row in table(sweep.folder)}
    word = f"process {record['pid']} on {record['host']} ended without a word"
    assert (rows["1"]["status"], rows["1"]["error"]) == ("killed", word)
    assert word in done.err
    found = run_folder.state(sweep.folder / "1")
    assert (found.record["status"], found.exit_status) == ("killed", 1)
    assert {rows[job]["status"] for job in "023"} == {"done"}
    assert tmp_path / done.folder == sweep.folder


def test_jobs_that_need_one_model_train_it_once(tmp_path: Path) -> None:
    pytest.importorskip("joblib")
    methods = "experiment.methods=[zero],[mean],[resample],[zero,mean]"
    workers = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    training = ("model=mlp", "training.epochs=300", "seed=81")
    done = Started(tmp_path, "experiment=ablation", *training, methods, *workers).ended()
    assert done.status == 0, done.err
    records = [json.loads((tmp_path / done.folder / str(job) / "run.json").read_text()) for job in range(4)]
    assert sorted(record["checkpoint"]["from"] for record in records) == [*["model store"] * 3, "training"]


def test_threads_of_a_worker(tmp_path: Path) -> None:
    """The network says in its own run what its worker gave it; torch's threads are those of the config."""
    pytest.importorskip("joblib")
    (tmp_path / "net.py").write_text(
        "import os, json, torch\n"
        "def Net(input_shape, n_outputs):\n"
        "    seen = [torch.get_num_threads(), os.environ.get('NUMBA_NUM_THREADS'), os.environ.get('OMP_NUM_THREADS')]\n"
        "    open(f'seen-{os.getpid()}', 'w').write(json.dumps(seen))\n"
        "    return torch.nn.Linear(input_shape[0], n_outputs)\n"
    )
    network = ("model=external", "model.factory=net:Net", "training.epochs=1", "seed=0,1")
    workers = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.launcher.threads=1")
    done = Started(tmp_path, *network, *workers, "threads=3").ended()
    assert done.status == 0, done.err
    pids = [json.loads((tmp_path / done.folder / str(job) / "run.json").read_text())["pid"] for job in range(2)]
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
