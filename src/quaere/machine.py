"""What a result says that it ran on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path


def describe(device: str = "auto") -> str:
    """Return the processor, the cores that this process may use, its threads if limited, and the GPU in use."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    name = found[1] if found else platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parts = [f"{name}, {cores} core{'s' * (cores != 1)}"]
    if threads := os.environ.get("OMP_NUM_THREADS"):
        parts.append(f"{threads} thread{'s' * (threads != '1')}")
    if (processes := os.environ.get("WORLD_SIZE", "1")) != "1":
        parts.append(f"{processes} processes")
    if device in ("auto", "cuda"):
        parts += dict.fromkeys(_gpus())
    return ", ".join(parts)


def _gpus() -> list[str]:
    try:
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.split("\n")[:-1]
    except (OSError, subprocess.SubprocessError):
        return []
