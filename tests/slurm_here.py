"""A Slurm that really runs, for the tests: its controller, two nodes and, if wanted, accounting, on this machine.

Everything is in one folder: munge's key and socket, the configuration, the state, the logs, the data base. It listens
on ports of the loopback alone, and `stop` ends exactly the processes that `start` began. It needs root and the Debian
packages of `PACKAGES`. The node `elsewhere` has a host name of its own, as a node of a real cluster has.

    python -m tests.slurm_here FOLDER [accounting]    # until Ctrl-C; it prints the variable to export
    python -m tests.slurm_here --packages             # which packages it needs
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
PACKAGES_OF_ACCOUNTING = ("slurmdbd", "mariadb-server-core", "mariadb-client-core")
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "unshare")
PROGRAMS_OF_ACCOUNTING = ("slurmdbd", "mariadbd", "mariadb-install-db", "mariadb")

CPUS = 2
"""Of each node, whatever the machine has."""

SECONDS_TO_START = 60.0
SECONDS_TO_STOP = 20.0


def missing(*, accounting: bool = False) -> str:
    """Why this machine can't run it; empty where it can."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "Slurm's tests need root on Linux"
    needed = (*PROGRAMS, *(PROGRAMS_OF_ACCOUNTING if accounting else ()))
    absent = [name for name in needed if shutil.which(name, path=_path()) is None]
    if absent:
        packages = " ".join((*PACKAGES, *(PACKAGES_OF_ACCOUNTING if accounting else ())))
        return f"Slurm's tests need {', '.join(absent)}: apt-get install --no-install-recommends {packages}"
    return ""


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _free_ports(n: int) -> list[int]:
    sockets = [socket.socket() for _ in range(n)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class SlurmHere:
    """A cluster of the nodes `here` and `elsewhere`, each with two CPUs.

    | partition   | nodes       | what for                              |
    |-------------|-------------|---------------------------------------|
    | `all`       | both        | the default                           |
    | `here`      | `here`      | jobs on the sweep's own host          |
    | `elsewhere` | `elsewhere` | jobs under another host name          |
    | `short`     | `here`      | jobs of a minute at most              |

    Args:
        folder: where everything is kept; a short path, because sockets are in it.
        accounting: with slurmdbd and MariaDB; `sacct` fails without.
    """

    def __init__(self, folder: Path, *, accounting: bool = False) -> None:
        self.folder, self.accounting = folder, accounting
        self.hosts = {"here": socket.gethostname(), "elsewhere": "elsewhere"}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.ports = dict(zip(("slurmctld", "here", "elsewhere", "slurmdbd"), _free_ports(4), strict=True))

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which Slurm's commands find it."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf"), "SLURM_TIME_FORMAT": "standard", "PATH": _path()}

    # --- up and down -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """All its processes, until the nodes are idle."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        for name in ("state", "spool-here", "spool-elsewhere", "log", "munge"):
            (self.folder / name).mkdir()
        (self.folder / "munge").chmod(0o755)
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        (self.folder / "hosts").write_text(f"127.0.0.1 localhost {' '.join(self.hosts.values())}\n")
        (self.folder / "slurm.conf").write_text(self._configuration())
        try:
            self._start_munge()
            if self.accounting:
                self._start_accounting()
            self.start_controller()
            for node in ("here", "elsewhere"):
                self.start_node(node)
            self._wait("the nodes are idle", lambda: self.run("sinfo", "-h", "-o", "%T").split() == ["idle"])
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every process that was begun, jobs included."""
        with suppress(Exception):
            self.run("scancel", "--user=root", "--signal=KILL", "--full", timeout=5)
            self.run("scancel", "--user=root", timeout=5)
            self._wait("no job is left", lambda: not self.run("squeue", "-h").strip(), seconds=5)
        for name in reversed(list(self.processes)):
            self.end(name)

    def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """One of the processes."""
        process = self.processes.pop(name)
        process.send_signal(number)
        try:
            process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def start_controller(self) -> None:
        self._begin("slurmctld", "slurmctld", "-D", "-i")
        self._wait("the controller answers", lambda: "UP" in self.run("scontrol", "ping"))

    def start_node(self, node: str) -> None:
        """A slurmd that takes itself for the host of a node; it must be able to resolve that name."""
        become = f"mount --bind {self.folder}/hosts /etc/hosts && hostname {self.hosts[node]} && exec slurmd -D"
        self._begin(node, "unshare", "--uts", "--mount", "sh", "-c", become)

    def _start_munge(self) -> None:
        at = self.folder / "munge"
        options = {
            "key-file": self.folder / "munge.key",
            "socket": at / "socket",
            "pid-file": at / "pid",
            "log-file": at / "log",
            "seed-file": at / "seed",
        }
        self._begin("munged", "munged", "--foreground", "--force", *(f"--{key}={at}" for key, at in options.items()))
        self._wait("munge answers", (at / "socket").exists)

    def _start_accounting(self) -> None:
        database, at = self.folder / "database", self.folder / "mariadb.socket"
        install = ["mariadb-install-db", f"--datadir={database}", "--auth-root-authentication-method=normal"]
        quick = ["--user=root", "--skip-test-db", "--innodb-log-file-size=8M", "--innodb-buffer-pool-size=16M"]
        self.run(*install, *quick, "--skip-name-resolve", timeout=60)
        places = [f"--datadir={database}", f"--socket={at}", "--skip-networking", "--user=root"]
        speed = ["--innodb-log-file-size=8M", "--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=0"]
        self._begin("mariadbd", "mariadbd", "--no-defaults", *places, *speed)
        self._wait("the data base answers", lambda: self.run("mariadb", f"--socket={at}", "-e", "select 1"))
        self.run("mariadb", f"--socket={at}", "-e", "create user slurm@localhost; grant all on *.* to slurm@localhost")
        configuration = self.folder / "slurmdbd.conf"
        configuration.write_text(
            f"AuthType=auth/munge\nAuthInfo=socket={self.folder}/munge/socket\n"
            f"DbdHost=localhost\nDbdAddr=127.0.0.1\nDbdPort={self.ports['slurmdbd']}\nSlurmUser=root\n"
            f"LogFile={self.folder}/log/slurmdbd\nPidFile={self.folder}/slurmdbd.pid\n"
            "CommunicationParameters=NoInAddrAny\nStorageType=accounting_storage/mysql\nStorageHost=localhost\n"
            "StorageUser=slurm\nStorageLoc=slurm\n"
        )
        configuration.chmod(0o600)
        self._begin("slurmdbd", "slurmdbd", "-D", environment={"MYSQL_UNIX_PORT": str(at)})
        self._wait("slurmdbd answers", lambda: self.run("sacctmgr", "-n", "list", "user"))
        for words in (["cluster", "cluster"], ["account", "lab"], ["user", "root", "account=lab"]):
            with suppress(subprocess.CalledProcessError):  # the cluster may have registered itself
                self.run("sacctmgr", "-i", "add", *words)

    def _configuration(self) -> str:
        accounting = "AccountingStorageType=accounting_storage/none\n"
        if self.accounting:
            accounting = (
                "AccountingStorageType=accounting_storage/slurmdbd\nAccountingStorageHost=127.0.0.1\n"
                f"AccountingStoragePort={self.ports['slurmdbd']}\nAccountingStorageEnforce=associations,limits\n"
                f"AccountingStoragePass={self.folder}/munge/socket\n"
            )
        nodes = "".join(
            f"NodeName={node} NodeHostname={self.hosts[node]} NodeAddr=127.0.0.1 Port={self.ports[node]} CPUs={CPUS} "
            "RealMemory=64000 State=UNKNOWN\n"
            for node in ("here", "elsewhere")
        )
        return (
            "ClusterName=cluster\nSlurmctldHost=localhost(127.0.0.1)\nSlurmUser=root\nSlurmdUser=root\n"
            f"SlurmctldPort={self.ports['slurmctld']}\nAuthType=auth/munge\n"
            f"AuthInfo=socket={self.folder}/munge/socket\nCommunicationParameters=NoCtldInAddrAny,NoInAddrAny\n"
            f"StateSaveLocation={self.folder}/state\nSlurmdSpoolDir={self.folder}/spool-%n\n"
            f"SlurmctldPidFile={self.folder}/slurmctld.pid\nSlurmdPidFile={self.folder}/slurmd-%n.pid\n"
            f"SlurmctldLogFile={self.folder}/log/slurmctld\nSlurmdLogFile={self.folder}/log/slurmd-%n\n"
            "ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSelectType=select/cons_tres\n"
            "SelectTypeParameters=CR_CPU_Memory\nSlurmdParameters=config_overrides\nMpiDefault=none\n"
            "JobAcctGatherType=jobacct_gather/linux\nJobAcctGatherFrequency=1\nJobAcctGatherParams=OverMemoryKill\n"
            "SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1,sched_min_interval=0\n"
            "ReturnToService=2\nKillWait=10\nMinJobAge=60\nPreemptType=preempt/none\n"
            f"{accounting}{nodes}"
            "PartitionName=all Nodes=here,elsewhere Default=YES\n"
            "PartitionName=here Nodes=here\nPartitionName=elsewhere Nodes=elsewhere\n"
            "PartitionName=short Nodes=here MaxTime=0:01:00\n"
        )

    # --- commands --------------------------------------------------------------------------------------------------

    def run(self, *command: str, timeout: float = 20) -> str:
        """The standard output of one of Slurm's commands."""
        environment = {**os.environ, **self.environment}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout, check=True)
        return done.stdout

    def jobs(self) -> dict[str, tuple[str, str]]:
        """Id → name and state of every job that the controller knows, ended ones included."""
        lines = self.run("squeue", "-h", "--states=all", "-o", "%i|%j|%T").splitlines()
        return {job: (name, state) for job, name, state in (line.split("|") for line in lines)}

    def _begin(self, name: str, *command: str, environment: Mapping[str, str] | None = None) -> None:
        log = self.folder / "log" / f"{name}.out"
        with log.open("ab") as file:
            self.processes[name] = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, **self.environment, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def _wait(self, what: str, ready: object, seconds: float = SECONDS_TO_START) -> None:
        assert callable(ready)
        deadline = time.monotonic() + seconds
        while True:
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended: {self._log_end(name)}")
            with suppress(subprocess.SubprocessError):
                if ready() or ready() == "":
                    return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not after {seconds:.0f} s. {self._log_end(*self.processes)}")
            time.sleep(0.1)

    def _log_end(self, *names: str) -> str:
        texts = []
        for path in sorted((self.folder / "log").iterdir()):
            texts.append(f"{path.name}: {path.read_text(errors='replace')[-600:]}")
        return "\n".join(texts)


def main(arguments: Sequence[str]) -> None:
    if arguments[0] == "--packages":
        print(*PACKAGES, *PACKAGES_OF_ACCOUNTING)
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    cluster = SlurmHere(Path(arguments[0]).resolve(), accounting="accounting" in arguments)
    cluster.start()
    print(f"export SLURM_CONF={cluster.folder}/slurm.conf", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        cluster.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
