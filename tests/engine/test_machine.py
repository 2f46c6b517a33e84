"""What results say that they ran on."""

import os
import subprocess

import pytest

from quaere import machine


def test_a_machine_is_its_processor_and_cores_and_what_limits_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert machine.describe("cpu").endswith(", 2 cores")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert machine.describe("cpu").endswith(", 2 cores, 1 thread, 4 processes")


def test_a_gpu_is_named_once_however_many_there_are_and_only_if_it_may_be_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def two(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 0, "NVIDIA H100\nNVIDIA H100\n")

    monkeypatch.setattr(subprocess, "run", two)
    assert machine.describe("auto").endswith(", NVIDIA H100")
    assert machine.describe("auto").count("H100") == 1
    assert "H100" not in machine.describe("cpu")
