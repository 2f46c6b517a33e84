"""The child's side of `verify`: a process that imports modules, forks others like it, and in the end runs one answer.

It obeys orders, which come over a socket as lines of JSON, and reports on each with a line that begins with the order's
nonce. An answer doesn't know its nonce: whatever it writes, and wherever, is nobody's report. Only the standard library
is imported here, so that an answer finds nothing in its process but what it needs.
"""

from __future__ import annotations

import contextlib
import ctypes
import doctest
import gc
import importlib
import io
import os
import signal
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from json import dumps, loads
from pathlib import Path
from typing import Any

LONGEST = 10_000
"""Characters that one example may print, and that are kept of a failure."""

_ADOPTS_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER of <sys/prctl.h>


def start() -> None:
    """Serve as the first of the processes; the socket is standard input, which answers find empty."""
    if sys.platform == "win32":
        channel = socket.fromshare(sys.stdin.buffer.read())
    else:
        channel = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = io.StringIO()
    _serve(channel)


def _serve(channel: socket.socket) -> None:
    """Obey orders until the other side is gone, whatever the reason; then end what was forked, and this process."""
    forked, spared = 0, frozenset[int]()
    while received := _received(channel):
        order, files = received
        report: Mapping[str, object] = {}
        if "import" in order:
            _import(order["import"])
        elif "fork" in order:
            spared = frozenset(_children())
            forked = _fork()
            if not forked:
                channel.close()
                channel = _begun(*files)
                continue
            for file in files:
                os.close(file)
            report = {"pid": forked}
        elif "end" in order:
            report, forked = {"status": _end(forked, spared)}, 0
        else:
            _run(channel, order)
        _report(channel, order["nonce"], report)
    if forked:
        _end(forked)
    os._exit(0)


def _received(channel: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Return the next order, and the files that came with it; None if there will be none."""
    line, files = b"", list[int]()
    while not line.endswith(b"\n"):
        if sys.platform != "win32":
            part, more, _, _ = socket.recv_fds(channel, 1 << 16, 2)
            files += more
        else:
            part = channel.recv(1 << 16)
        if not part:
            return None
        line += part
    return loads(line), files


def _report(channel: socket.socket, nonce: str, report: Mapping[str, object]) -> None:
    channel.setblocking(True)
    # What was written before may have no line end.
    channel.sendall(f"\n{nonce} {dumps(report)}\n".encode())


def _import(modules: Iterable[str]) -> None:
    """Import modules ahead of an answer; one that fails makes the answer's own import fail, where it is shown."""
    for name in modules:
        with contextlib.suppress(BaseException):
            importlib.import_module(name)


def _fork() -> int:
    """Fork; whoever is left over by the new process when it ends becomes a child of this one, where Linux runs."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_ADOPTS_ORPHANS, 1, 0, 0, 0)
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    # What is there already is not looked through for garbage in each process: that would copy its memory.
    gc.freeze()
    return os.fork()


def _begun(channel: int, log: int) -> socket.socket:
    """Begin as a forked process: with a session, a channel and a log of its own, and nothing of the parent's."""
    os.setsid()
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
    os.set_inheritable(channel, False)
    return socket.socket(fileno=channel)


def _end(pid: int, spared: Iterable[int] = ()) -> int:
    """Kill a forked process and all that it started.

    Args:
        pid: The process.
        spared: Children of this process that an import started.

    Returns:
        How it ended, as `os.waitpid` tells.
    """
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(OSError):
            kill(pid, signal.SIGKILL)
    status = 0
    with contextlib.suppress(ChildProcessError):
        _, status = os.waitpid(pid, 0)
    # Processes in sessions of their own were orphaned by that, each of them in turn, and are children of this one.
    while orphans := _children() - set(spared):
        for orphan in orphans:
            with contextlib.suppress(OSError):
                os.kill(orphan, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(orphan, 0)
    return status


def _children() -> set[int]:
    """Return the children of this process, where the system tells them."""
    try:
        return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}
    except OSError:
        return set()


def _run(channel: socket.socket, order: Mapping[str, Any]) -> None:
    """Run an answer, report, and end this process."""
    # Afterwards nothing is as it was: what is needed then is at hand now.
    pid, nonce, getpid, leave, write, report = os.getpid(), order["nonce"], os.getpid, os._exit, os.write, _report
    outcome = _run_doctest(order["id"], order["run"])
    # The answer may have forked: its copy came this far, too.
    if getpid() == pid:
        try:
            report(channel, nonce, outcome)
        except OSError as error:
            write(2, f"its report can't be sent: {error.strerror}\n".encode())
            leave(1)
    leave(0)


def _run_doctest(id: str, code: str) -> dict[str, str | float]:
    # Without a file's name, doctest's report counts lines in the doctest; in the file there may be prose between them.
    test = doctest.DocTestParser().get_doctest(code, {"__name__": "__main__"}, id, None, None)
    failure, transcript = io.StringIO(), io.StringIO()
    runner, clock = _Runner(transcript), time.perf_counter
    started = clock()
    runner.run(test, out=failure.write)
    return {
        "failure": _clean(failure.getvalue().rstrip()),
        "seconds": clock() - started,
        "transcript": _clean(transcript.getvalue()),
    }


def _clean(text: str) -> str:
    """Return what can be stored and shown of a text."""
    kept = text if len(text) <= LONGEST else f"{text[:LONGEST]}\n… and {len(text) - LONGEST:,} characters more"
    return kept.encode("utf-8", errors="backslashreplace").decode("utf-8")


class _Output(io.StringIO):
    """What an example prints, as doctest reads it (ended by a line end, emptied for the next), but not without end."""

    def write(self, text: str) -> int:
        if self.tell() + len(text) > LONGEST:
            raise ValueError(f"an example may print {LONGEST:,} characters")
        return super().write(text)

    def getvalue(self) -> str:
        value = super().getvalue()
        return value if value.endswith("\n") or not value else f"{value}\n"

    def truncate(self, size: int | None = None) -> int:
        self.seek(size or 0)
        return super().truncate()


class _Runner(doctest.DocTestRunner):
    """A doctest runner that also writes down each example with what it really printed."""

    def __init__(self, transcript: io.StringIO) -> None:
        super().__init__(verbose=False)
        self._transcript = transcript
        self._fakeout = _Output()

    def report_start(self, out: object, test: doctest.DocTest, example: doctest.Example) -> None:
        lines = example.source.rstrip("\n").split("\n")
        self._transcript.write(f">>> {lines[0]}\n" + "".join(f"... {line}\n" for line in lines[1:]))

    def report_success(self, out: object, test: doctest.DocTest, example: doctest.Example, got: str) -> None:
        self._transcript.write(got)

    def report_failure(self, out: object, test: doctest.DocTest, example: doctest.Example, got: str) -> None:
        self._transcript.write(got)
        super().report_failure(out, test, example, got)  # type: ignore[arg-type]  # typeshed wants its own Out

    def report_unexpected_exception(
        self, out: object, test: doctest.DocTest, example: doctest.Example, exc_info: object
    ) -> None:
        super().report_unexpected_exception(out, test, example, exc_info)  # type: ignore[arg-type]
