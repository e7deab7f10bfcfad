"""`mi-run` as a process of its own that needs no second to start: forked from a process that has imported torch.

A test that looks at what a command does, and not at how Python starts it, saves 2 seconds of a processor by it.

The process is a real one: it has a process id, an environment, a working directory and two streams of its own, it gets
signals, and it ends with an exit status. It imports mi_runner itself, as a command from the shell does. Nothing was
computed before the fork, so the threads of torch and of the compiled kernels start in it as well. What the fork shares
is what a library reads when it is imported: of the environment OMP_* and the like are those of the tests.

Nothing here may import torch or mi_runner, because the process imports this module first. The pictures of its runs have
one pixel.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

from tests.undrawn import one_pixel

LIBRARIES = (
    *("torch", "torch.optim", "torch.func", "torch.fx.experimental.proxy_tensor", "safetensors.torch", "numpy.random"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "mpl_toolkits.mplot3d", "PIL.PngImagePlugin", "pandas"),
    *("hydra", "hydra.core.override_parser.overrides_parser", "hydra._internal.utils", "rich.console", "rich.table"),
    *("yaml", "filelock", "platformdirs", "statistics"),
)
"""What a run imports, but for mi_runner."""

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload([*LIBRARIES, __name__])


def start_server() -> str:
    """Starts the process that is forked, and returns its address, for `use_server` in another process.

    Empty from Python 3.14 on: there the server answers those alone who know its key.
    """
    forkserver.ensure_running()
    server: Any = forkserver._forkserver
    return "" if hasattr(server, "_forkserver_authkey") else server._forkserver_address


def use_server(address: str) -> None:
    """Processes are forked from the server of another process, which has imported torch once for all.

    multiprocessing has no public name for this. The server lives until the process ends that started it; the file
    descriptor that would say so is that of nothing here.
    """
    server: Any = forkserver._forkserver
    server._forkserver_address, server._forkserver_alive_fd = address, os.open(os.devnull, os.O_WRONLY)
    server.ensure_running = resource_tracker.ensure_running


class Forked:
    """`mi-run` with these arguments as a process of its own. It has what the tests need of `subprocess.Popen`."""

    def __init__(self, *arguments: str, cwd: Path, environment: Mapping[str, str] | None = None) -> None:
        out, out_of_process = SERVER.Pipe(duplex=False)
        err, err_of_process = SERVER.Pipe(duplex=False)
        given = {**os.environ, **(environment or {})}
        streams = out_of_process, err_of_process
        self._process = SERVER.Process(target=_become_the_command, args=(arguments, str(cwd), given, *streams))
        self._process.start()
        self.stdout, self.stderr = _reader(out), _reader(err)
        for stream in streams:
            stream.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, or minus the signal that ended it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float) -> None:
        """Waits until it has ended and closes its streams, which processes that it started may have still."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("mi-run", timeout)
        self.stdout.close()
        self.stderr.close()

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Waits until it has ended and closed its streams, and returns what is left to read of them.

        Raises:
            subprocess.TimeoutExpired: it has not ended in time.
        """
        texts = ["", ""]

        def read(place: int, stream: IO[str]) -> None:
            texts[place] = stream.read()

        readers = [threading.Thread(target=read, args=of, daemon=True) for of in enumerate((self.stdout, self.stderr))]
        for reader in readers:
            reader.start()
        self._process.join(timeout)
        for reader in readers:
            reader.join(timeout)
        if self.returncode is None or any(reader.is_alive() for reader in readers):
            raise subprocess.TimeoutExpired("mi-run", timeout, texts[0], texts[1])
        self.stdout.close()
        self.stderr.close()
        return texts[0], texts[1]


def _reader(pipe: Connection) -> IO[str]:
    with pipe:
        return os.fdopen(os.dup(pipe.fileno()), encoding="utf-8")


def _become_the_command(
    arguments: tuple[str, ...], cwd: str, environment: dict[str, str], out: Connection, err: Connection
) -> None:
    for stream, number in ((out, 1), (err, 2)):
        os.dup2(stream.fileno(), number)
        stream.close()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = [cwd, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = ["mi-run", *arguments]
    from mi_runner.machine import drawing

    drawing.save_figure = one_pixel
    try:
        runpy.run_module("mi_runner", run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()
