"""Run answers, each in a process of its own, several at once.

This side imports nothing that answers import: `child` is the other side. It has one thread. What waits for a process is
a generator, which yields the files that it waits for.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import secrets
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from quaere.content.model import Answer, Verdict

_FORKS = hasattr(os, "fork")
_FOR_IMPORTS = 60.0  # seconds more than for the answer itself
_PATIENCE = 10.0  # seconds for what takes no time
_LIMIT = 1 << 20  # bytes that are kept of what a process writes; a report is far shorter
_MOST = 4  # lines of processes, unless more are asked for: each has the memory of what is preloaded
_WORTH = 16  # answers that take longer than to begin one more line

_T = TypeVar("_T")
_Wait = tuple[Collection[int], float]  # files to be read from, and when to wait no longer
_Work = Generator[_Wait, Collection[int], _T]  # it is sent the files that are ready


def versions(distributions: Iterable[str]) -> dict[str, str]:
    """Return the versions of Python and of distributions, without importing them; `none` for one not installed."""
    found = {"python": platform.python_version()}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "none"
    return found


def commit(root: Path, besides: str = "") -> str:
    """Return the short name of the commit that is checked out, with `+` if files differ from it; empty without git.

    Args:
        root: A folder of the checkout.
        besides: A folder in it whose files don't count.
    """
    # All of the checkout counts, wherever in it the folder is.
    counted = [":/", *([f":(exclude){besides}"] if besides else [])]
    try:
        name = _git(root, "rev-parse", "--short=10", "HEAD")
        changed = _git(root, "diff", "--name-only", "HEAD", "--", *counted)
    except (OSError, subprocess.SubprocessError):
        return ""
    return name + "+" * bool(changed)


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()


def stale(answers: Iterable[Answer], verdicts: Mapping[str, Verdict]) -> list[Answer]:
    """Return the answers to run: never run, changed since, or broken then (the cause may lie outside the code)."""
    return [
        answer
        for answer in answers
        if not (verdict := verdicts.get(answer.id)) or verdict.key != answer.key or not verdict.passed
    ]


def run(
    answers: Sequence[Answer],
    root: Path,
    environment: Mapping[str, str],
    versions: Mapping[str, str],
    timeout: float,
    preload: Sequence[str] = (),
    jobs: int | None = None,
) -> Iterator[tuple[Answer, Verdict, str]]:
    """Run answers, each in a process of its own.

    Args:
        answers: The answers, which begin in this order. Those that follow each other share imports.
        root: The folder in which they run and from which they import.
        environment: Variables added to the processes' environment.
        versions: What the verdicts say they ran on.
        timeout: Seconds for each answer, the imports of the implementation not counted.
        preload: Modules that are imported once for all of them, if there are several.
        jobs: How many run at once; if left out, as many as there are processors and as it pays.

    Yields:
        Each answer with its verdict and the doctest as it ran, as soon as it has ended.
    """
    if not answers:
        return
    at_commit = commit(root)
    shared = tuple(preload) if len(answers) > 1 else ()
    waiting, ended, works = iter(answers), list[tuple[Answer, _Outcome]](), list[_Work[None]]()
    with contextlib.ExitStack() as stack:
        for _ in range(min(jobs or _worthwhile(len(answers)), len(answers))):
            line = stack.enter_context(_Processes(root, environment, shared))
            works.append(line.run_all(waiting, timeout, ended))
        for _ in _together(works):
            for answer, outcome in ended:
                now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
                failure, seconds = outcome.failure, round(outcome.seconds, 3)
                verdict = Verdict(answer.key, not failure, failure, at_commit, versions, now, seconds)
                yield answer, verdict, outcome.transcript
            ended.clear()


def _worthwhile(answers: int) -> int:
    """Return in how many lines to run so many answers."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(processors, _MOST, answers // _WORTH))


def _together(works: Iterable[_Work[None]]) -> Iterator[None]:
    """Do several works at once, each whenever one of its files is ready or its time is up; yield after each round."""
    waits: dict[_Work[None], _Wait] = {}
    for work in works:
        with contextlib.suppress(StopIteration):
            waits[work] = next(work)
    while waits:
        with selectors.DefaultSelector() as events:
            for files, _ in waits.values():
                for file in files:
                    events.register(file, selectors.EVENT_READ)
            first = min(deadline for _, deadline in waits.values())
            ready = {key.fd for key, _ in events.select(max(0.0, first - time.monotonic()))}
        for work, (files, deadline) in list(waits.items()):
            if not ready.isdisjoint(files) or time.monotonic() >= deadline:
                try:
                    waits[work] = work.send(ready)
                except StopIteration:
                    del waits[work]
        yield


@dataclass(frozen=True)
class _Outcome:
    failure: str
    seconds: float
    transcript: str = ""


class _Processes:
    """A line of processes, each forked from the one before: the first, one with the modules that all answers share, one
    for each module that an answer reaches, and the answer's own. What an answer or an import does to its process, only
    those further down the line can see; when an answer ends, its process does, with all that it started.

    Each but the answer's own reads from its socket all the time, and ends what it forked, and itself, when the other
    side is closed. So none outlives this one, however it ends. Without `os.fork` each answer starts the first anew.
    """

    def __init__(self, root: Path, environment: Mapping[str, str], preload: tuple[str, ...]) -> None:
        self._root, self._environment, self._preload = root, environment, preload
        self._line: list[tuple[tuple[str, ...], _Process]] = []
        self._first: subprocess.Popen[bytes]

    def __enter__(self) -> _Processes:
        return self

    def __exit__(self, *_: object) -> None:
        while self._line:
            self._line.pop()[1].close()
            if not self._line:
                self._end_first()

    def run_all(self, answers: Iterator[Answer], timeout: float, ended: list[tuple[Answer, _Outcome]]) -> _Work[None]:
        """Run answers one after another, and add each to those that have ended; other lines may take some of them."""
        for answer in answers:
            outcome = yield from self._run(answer, timeout)
            ended.append((answer, outcome))

    def _run(self, answer: Answer, timeout: float) -> _Work[_Outcome]:
        """Run one answer to its end, whatever that is."""
        # A cold start of a large library is not the answer's fault, and is not timed.
        started, limit, name = time.monotonic(), timeout + _FOR_IMPORTS, "its imports took longer than"
        gone, outcome = "", None
        try:
            process = yield from self._prepared(answer.imports, limit)
            started, limit, name = time.monotonic(), timeout, "took longer than the time limit of"
            report = yield from process.ask({"run": answer.code, "id": answer.id}, limit)
            outcome = _Outcome(report["failure"], report["seconds"], report["transcript"])
        except TimeoutError:
            outcome = _Outcome(f"{name} {limit:g} s", time.monotonic() - started)
        except _Gone as error:
            gone = str(error)
        seconds, words = time.monotonic() - started, self._line[-1][1].words
        code = yield from self._end()
        if outcome:
            return outcome
        how = gone or "ended its process with " + (f"signal {_signal(-code)}" if code < 0 else f"exit code {code}")
        last = words.decode("utf-8", errors="replace").splitlines()[-20:]
        return _Outcome("\n".join([how, *last]).rstrip(), seconds)

    def _prepared(self, imports: tuple[str, ...], seconds: float) -> _Work[_Process]:
        """Return a fresh process with these modules; what there is of the line for it is used."""
        each = [(name,) for name in imports]
        stages = [(), *filter(None, [self._preload]), *each] if _FORKS else [imports]
        while [modules for modules, _ in self._line] != stages[: len(self._line)]:
            yield from self._end()
        for modules in stages[len(self._line) :]:
            yield from self._begin(modules)
            try:
                yield from self._line[-1][1].ask({"import": modules}, seconds)
            except (_Gone, TimeoutError):
                if not modules or modules != self._preload:
                    raise
                # Whoever needs one of them imports it by itself, and is broken alone.
                yield from self._end()
                self._preload = ()
                return (yield from self._prepared(imports, seconds))
        if _FORKS:
            yield from self._begin()
        return self._line[-1][1]

    def _begin(self, modules: tuple[str, ...] = ()) -> _Work[None]:
        """Add a process to the line."""
        here, there = socket.socketpair()
        log, written = os.pipe()
        try:
            if self._line:
                order, files = {"fork": True}, [there.fileno(), written]
                pid = (yield from self._line[-1][1].ask(order, _PATIENCE, files))["pid"]
            else:
                pid = self._begin_first(there, written)
            self._line.append((modules, _Process(here, log, pid)))
        except BaseException:
            here.close()
            os.close(log)
            raise
        finally:
            there.close()
            os.close(written)

    def _begin_first(self, channel: socket.socket, log: int) -> int:
        # What was relative to this process's folder must not become relative to theirs.
        path = [
            str(self._root),
            *map(os.path.abspath, filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))),
        ]
        self._first = subprocess.Popen(
            [sys.executable, "-c", "from quaere.running.child import start; start()"],
            cwd=self._root,
            env={**os.environ, **self._environment, "PYTHONPATH": os.pathsep.join(path)},
            stdin=channel.fileno() if sys.platform != "win32" else subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        if sys.platform == "win32":
            self._first.communicate(channel.share(self._first.pid))
        return self._first.pid

    def _end(self) -> _Work[int]:
        """End the last process of the line, with all that it started; return its exit code, or minus its signal."""
        self._line.pop()[1].close()
        if not self._line:
            return self._end_first()
        try:
            report = yield from self._line[-1][1].ask({"end": True}, _PATIENCE)
            return os.waitstatus_to_exitcode(report["status"])
        except (_Gone, TimeoutError):
            # It is itself gone, or stands still: then the one before it ends both.
            return (yield from self._end())

    def _end_first(self) -> int:
        # It sees that its socket is closed. Without forks it runs an answer, and sees nothing.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._first.wait(_PATIENCE if _FORKS else 0)
        if hasattr(os, "killpg"):
            with contextlib.suppress(OSError):
                os.killpg(self._first.pid, signal.SIGKILL)
        self._first.kill()
        return self._first.wait()


class _Gone(Exception):  # noqa: N818  (whose fault it is, nobody knows yet)
    """A process reports no more; the text says why, if it lives."""


class _Process:
    """One of the processes, as it is seen from here.

    Attributes:
        words: The end of what it printed.
    """

    def __init__(self, channel: socket.socket, log: int, pid: int) -> None:
        self.words = b""
        self._channel, self._log = channel, log
        self._end: int | None = None
        channel.setblocking(False)
        os.set_blocking(log, False)
        self._files = {channel.fileno(), log}
        # A process may be gone while others, which it forked, hold its socket open.
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                self._end = os.pidfd_open(pid)
                self._files.add(self._end)

    def close(self) -> None:
        """Close this side."""
        self._channel.close()
        for file in filter(None, (self._log, self._end)):
            os.close(file)

    def ask(self, order: Mapping[str, object], seconds: float, files: Sequence[int] = ()) -> _Work[dict[str, Any]]:
        """Give an order, with open files if need be, and return the report on it.

        Raises:
            TimeoutError: There was no report, or no whole one, in time.
            _Gone: The process has ended, or closed its socket.
        """
        deadline, nonce = time.monotonic() + seconds, secrets.token_hex(16)
        self._tell(json.dumps({**order, "nonce": nonce}).encode() + b"\n", files, seconds)
        heard, gone = b"", ""
        while True:
            ready = yield self._files, deadline
            more, is_open = _read(self._channel.recv)
            heard = (heard + more)[-_LIMIT:]
            self._listen()
            _, _, report = heard.partition(f"\n{nonce} ".encode())
            line, end, _ = report.partition(b"\n")
            if end:
                with contextlib.suppress(ValueError):
                    found: dict[str, Any] = json.loads(line)
                    return found
                raise _Gone("sent a broken report")
            if self._end in ready:
                raise _Gone
            if time.monotonic() >= deadline:
                if gone:
                    raise _Gone(gone)
                raise TimeoutError
            if not is_open and not gone:
                # Mostly it is about to end.
                self._files.discard(self._channel.fileno())
                gone, deadline = "closed the socket of its report", min(deadline, time.monotonic() + 1)

    def _tell(self, line: bytes, files: Sequence[int], seconds: float) -> None:
        self._channel.settimeout(seconds)
        try:
            if sys.platform != "win32":
                socket.send_fds(self._channel, [line[:1]], files)
                line = line[1:]
            self._channel.sendall(line)
        except TimeoutError:
            raise
        except OSError:
            return  # it is gone, and may have said why
        finally:
            self._channel.setblocking(False)

    def _listen(self) -> None:
        """Take in what it printed since."""
        more, is_open = _read(lambda size: os.read(self._log, size))
        self.words = (self.words + more)[-_LIMIT:]
        if not is_open:
            self._files.discard(self._log)


def _read(source: Callable[[int], bytes]) -> tuple[bytes, bool]:
    """Return what is there to be read now, up to a limit, and whether more may come."""
    data = b""
    while len(data) < _LIMIT:
        try:
            part = source(1 << 16)
        except BlockingIOError:
            return data, True
        except OSError:
            return data, False
        if not part:
            return data, False
        data += part
    return data, True


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
