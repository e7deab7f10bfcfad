"""Which machine is this? What a figure depends on besides config, code and versions.

Another processor, or another number of threads, adds in another order; a network that is trained so ends elsewhere.
"""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from pathlib import Path


def n_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def processor() -> str:
    """The processor's name, on Linux with its family and model, because virtual machines shorten the name."""
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
    """The vector instructions that torch computes with on the CPU: AVX512, AVX2, DEFAULT, …"""
    import torch

    return torch.backends.cpu.get_cpu_capability()
