"""Describe the hardware that a result was computed on."""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path
from typing import Literal


def describe(device: str = "auto") -> str:
    """Return the processor, the cores that this process may use, its threads if limited, and its GPUs."""
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
    return ", ".join([*parts, *_accelerators(device)])


def accelerator(device: str = "auto") -> Literal["cuda", "mps", ""]:
    """Return the kind of accelerator that torch uses, `cuda` or `mps`; nothing if it uses none, or isn't loaded."""
    torch = sys.modules.get("torch")
    if torch is None or device == "cpu":
        return ""
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else ""


def _accelerators(device: str) -> list[str]:
    """Name the accelerators that torch uses."""
    kind = accelerator(device)
    if kind == "cuda":
        torch = sys.modules["torch"]
        count, name = torch.cuda.device_count(), torch.cuda.get_device_name()
        return [f"{count} × {name}" if count > 1 else name]
    return ["Apple GPU"] if kind else []
