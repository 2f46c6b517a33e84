"""What results say that they ran on."""

import os

import pytest

from quaere.running import hardware


def test_a_machine_is_its_processor_and_cores_and_what_limits_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert hardware.describe("cpu").endswith(", 2 cores")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert hardware.describe("cpu").endswith(", 2 cores, 1 thread, 4 processes")


@pytest.mark.parametrize(("count", "named"), [(1, ", NVIDIA H100"), (2, ", 2 × NVIDIA H100")])
def test_a_gpu_is_named_if_torch_sees_it_and_may_take_it(
    monkeypatch: pytest.MonkeyPatch, count: int, named: str
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100")
    assert hardware.describe("auto").endswith(named)
    assert "H100" not in hardware.describe("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "H100" not in hardware.describe("auto")
