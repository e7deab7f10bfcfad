"""The machine's properties that a figure depends on, besides config, code and versions.

Another processor or another number of threads adds numbers in another order, and training enlarges the difference.
"""

from __future__ import annotations

import os
import platform
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path


def n_cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory() -> int | None:
    """Returns how many bytes of memory are free, here or in this process's container; None: unknown."""
    free = []
    with suppress(OSError, ValueError, KeyError):
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines())
        free.append(1024 * int(lines["MemAvailable"].split()[0]))
    with suppress(OSError, ValueError, KeyError):  # the limit is "max" where there is none
        group = Path("/sys/fs/cgroup")
        kept = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        taken = int((group / "memory.current").read_text()) - int(
            kept["inactive_file"]
        )  # what files fill is given back
        free.append(max(0, int((group / "memory.max").read_text()) - taken))
    return min(free, default=None)


def lacking_memory(n_bytes: float) -> str:
    """Returns a text that says that so many bytes are more than are free; empty if they aren't, or nobody knows."""
    free = free_memory()
    if free is None or n_bytes <= free:
        return ""
    return f"{n_bytes / 1e9:,.3g} GB of memory, and {free / 1e9:.3g} GB are free"


@cache
def processor() -> str:
    """Returns the processor's name; on Linux with family and model, because virtual machines shorten the name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
        fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return f"{fields['model name']} (family {fields['cpu family']}, model {fields['model']})"
    except (OSError, KeyError):
        pass
    if platform.system() == "Darwin":
        try:
            asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            pass
    return platform.processor() or platform.machine()


def instruction_set() -> str:
    """Returns the vector instructions that torch uses on the CPU: AVX512, AVX2, DEFAULT, …"""
    import torch

    return torch.backends.cpu.get_cpu_capability()
