"""Workers of pytest-xdist that are copies of one process, which has imported what all of them need.

To import torch and what else the tests take from others lasts as long as a tenth of all tests; the workers would each
do it, for each collects all tests. `share_imports` is called where the workers are about to be started; this file
itself is what they, and the process that they are copies of, run.
"""

import gc
import importlib
import os
import pkgutil
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import types
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

IMPORTED = (
    "accelerate",
    "benchmarks.__main__",
    "matplotlib.backends.backend_svg",
    "mcp",
    "playwright.sync_api",
    "tests.own",
    "torch._dynamo",
    "torch.distributed.checkpoint",
    *(f"transformers.models.{one}.modeling_{one}" for one in ("auto", "bert", "bloom", "detr", "gptj", "llama", "vit")),
)
IMPLEMENTATION = "reference_impl"
"""Of which all modules are imported, with what they import."""


def share_imports(specs: Iterable[Any]) -> Callable[[], object]:
    """Let execnet start these workers as copies of a process; return what ends that process, and what is left of them.

    The process begins with the variables and the folder of this moment.
    """
    folder = tempfile.TemporaryDirectory()
    address = f"{folder.name}/workers"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        command = [sys.executable, __file__, str(listening.fileno())]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[listening.fileno()])
    for spec in specs:
        spec.python = shlex.join([sys.executable, "-S", "-E", __file__, address])

    def end() -> None:
        process.communicate()
        folder.cleanup()

    return end


def begin(address: str, code: str) -> None:
    """Begin a worker that has the streams of this process, and wait for its end."""
    with socket.socket(socket.AF_UNIX) as asked:
        asked.connect(address)
        socket.send_fds(asked, [code.encode()], [0, 1, 2])
        asked.recv(1)


def import_all() -> None:
    # In the place of this file's own folder.
    sys.path[0] = str(Path(__file__).parents[1])
    with warnings.catch_warnings():
        # As in tests; pyproject.toml.
        warnings.simplefilter("error")
        for name in IMPORTED:
            importlib.import_module(name)
        for module in pkgutil.walk_packages(importlib.import_module(IMPLEMENTATION).__path__, f"{IMPLEMENTATION}."):
            importlib.import_module(module.name)
    gc.freeze()


def serve(listening: socket.socket) -> str:
    """Make a copy for each worker, until nobody is there to ask for one; in each copy, return the code that it runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import_all()
    begun = []
    while listening in select.select([listening, sys.stdin], [], [])[0]:
        asked, _ = listening.accept()
        code, streams, _, _ = socket.recv_fds(asked, 1000, 3)
        if not (pid := os.fork()):
            # Whoever asked for it sees that it has ended when its end of the socket is closed.
            asked.detach()
            listening.close()
            become(streams)
            return code.decode()
        begun.append(pid)
        asked.close()
        for stream in streams:
            os.close(stream)
    for pid in begun:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    os._exit(0)


def become(streams: Iterable[int]) -> None:
    """Make this copy what `python -c` is that begins with these streams."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
    sys.argv, sys.path[0] = ["-c"], ""
    sys.modules["__main__"] = types.ModuleType("__main__")


if __name__ == "__main__":
    if sys.argv[1].isdigit():
        exec(serve(socket.socket(fileno=int(sys.argv[1]))), vars(sys.modules["__main__"]))
    else:
        begin(sys.argv[1], sys.argv[-1])
