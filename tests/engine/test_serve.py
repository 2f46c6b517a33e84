"""Serving: the port is one's own before anything is built, and is told if it is not."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from quaere.errors import Faults, MisuseError
from quaere.site import serve
from tests.engine.conftest import Base


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((serve.HOST, 0))
        return int(probe.getsockname()[1])


def test_a_port_that_was_taken_meanwhile_is_told_before_anything_is_built(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "build", lambda *_, **__: pytest.fail("it was built"))
    said: list[str] = []
    with socket.socket() as taken:
        taken.bind((serve.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(MisuseError) as caught:
            serve.serve(base.project, base.library(), port, said.append)
    assert str(caught.value) == (
        f"http://127.0.0.1:{port}/: can't listen on port {port}: address already in use\n"
        "  hint: name another with --port, or leave it out"
    )
    assert said == []


def test_the_port_is_given_back_where_the_site_can_not_be_built(base: Base) -> None:
    base.write({"docs/index.md": "[gone](nowhere.md)\n"})
    port = free_port()
    for _ in range(2):
        with pytest.raises(Faults, match="leads nowhere"):
            serve.serve(base.project, base.library(), port, print)


def test_a_site_is_served_until_it_is_stopped_and_the_next_on_its_port_is_told(base: Base) -> None:
    port = free_port()
    # A shell that runs these tests in its background has Ctrl-C ignored.
    heeding = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from quaere.cli import main; main()"
    )
    command = [sys.executable, "-c", heeding, "serve", "--port", str(port)]
    paths = {"PYTHONPATH": os.pathsep.join(str(Path(path).absolute()) for path in sys.path if path)}
    with subprocess.Popen(
        command, cwd=base.root, stderr=subprocess.PIPE, text=True, env={**os.environ, **paths}
    ) as one:
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/papers/toy/", timeout=60) as page:
                        assert b"Toys" in page.read()
                    break
                except OSError:
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
            other = base.quaere("serve", "--port", str(port))
            assert (other.returncode, "Traceback" in other.stderr) == (2, False)
            assert other.stderr.startswith(f"somebody listens on port {port} already\n  hint: ")
        finally:
            one.send_signal(signal.SIGINT)
            try:
                said = one.communicate(timeout=60)[1]
            finally:
                one.kill()
    assert (one.returncode, said.endswith("stopped\n")) == (0, True), said
