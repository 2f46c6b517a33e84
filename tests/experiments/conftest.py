"""Processes that are forked from one that has imported what takes long."""

import json
import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PRELOADED = [
    "IPython.core.interactiveshell",
    "beartype",
    "matplotlib.backends.backend_svg",
    "matplotlib.figure",
    "reference_impl.experiments.training",
    "scipy.stats",
    "sklearn.datasets",
    "tests.experiments.called",
    "torch._dynamo",
]


def environment() -> dict[str, str]:
    """Shapes are not checked in a run, and small nets are fastest with one thread."""
    without = {name: value for name, value in os.environ.items() if name != "REFERENCE_IMPL_CHECK_SHAPES"}
    return {**without, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default", "COLUMNS": "200"}


@pytest.fixture(scope="session")
def server() -> Any:
    """Return what forks processes from one that has imported what takes long."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with pytest.MonkeyPatch.context() as patch, pool_of(1, context) as pool:
        patch.chdir(ROOT)
        patch.delenv("REFERENCE_IMPL_CHECK_SHAPES", raising=False)
        for name, value in environment().items():
            patch.setenv(name, value)
        # It begins with the environment of this moment.
        pool.submit(os.getpid).result()
    return context


def pool_of(processes: int, context: Any) -> ProcessPoolExecutor:
    """Return a pool in which each call has a process of its own."""
    return ProcessPoolExecutor(processes, context, max_tasks_per_child=1)


def in_two(server: Any, folder: Path, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Do work in two forked processes, with the variables that the launcher sets; return what each returns."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    files = {rank: folder / rank for rank in "01"}
    both = [
        server.Process(target=_write, args=(file, {"RANK": rank, "LOCAL_RANK": rank, **shared}, work, arguments))
        for rank, file in files.items()
    ]
    try:
        for process in both:
            process.start()
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline and {None} <= {process.exitcode for process in both} <= {None, 0}:
            time.sleep(0.02)
        assert [process.exitcode for process in both] == [0, 0]
    finally:
        # If one fails, the other waits for it.
        for process in both:
            process.kill()
            process.join()
    return [json.loads(file.read_text(encoding="utf-8")) for file in files.values()]


def _write(file: Path, variables: Mapping[str, str], work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    os.environ.update(variables)
    file.write_text(json.dumps(work(*arguments)), encoding="utf-8")
