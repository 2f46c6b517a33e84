"""Run answers in a child process, and keep what came of it.

The child runs one answer after another, each with empty globals, and reports over a pipe of its own. One that takes
too long or kills the process is broken; a fresh child goes on with the rest. The parent imports nothing that answers
import.
"""

from __future__ import annotations

import contextlib
import datetime
import doctest
import importlib
import io
import json
import os
import platform
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import IO

from quaere import atomic
from quaere.content.model import Answer, Verdict

SCHEMA = 1
"""Version of the evidence file's form."""

LONGEST = 10_000
"""Characters that one example may print, and that are kept of a failure."""


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


class Evidence:
    """The verdicts of past runs, in one file.

    Attributes:
        verdicts: The verdicts by the answer's id, stale ones included.
        warning: Why a file that was there is not trusted, if so. It is set aside, and nothing of it is used.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.verdicts: dict[str, Verdict] = {}
        self.warning = ""
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            if (schema := content["schema"]) != SCHEMA:
                raise ValueError(f"its schema is {schema}, this version writes {SCHEMA}")
            self.verdicts = {id: _verdict(stored) for id, stored in content["verdicts"].items()}
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = f"it has no {error}" if isinstance(error, KeyError) else error
            aside = file.with_suffix(".set-aside.json")
            with contextlib.suppress(OSError):
                file.replace(aside)
            self.warning = f"{file} is not trusted ({reason}); it is now {aside.name}, and the answers run anew"

    def save(self, ids: Iterable[str]) -> None:
        """Write the verdicts on these answers, all or nothing."""
        kept = {id: asdict(self.verdicts[id]) for id in sorted(ids) if id in self.verdicts}
        atomic.write(self.file, json.dumps({"schema": SCHEMA, "verdicts": kept}, indent=1))


def _verdict(stored: Mapping[str, object]) -> Verdict:
    """Make a verdict of what the file holds; anything but its exact form is an error."""
    verdict = Verdict(**stored)  # type: ignore[arg-type]  # checked right below
    forms = {"key": str, "passed": bool, "failure": str, "commit": str, "at": str, "seconds": float, "versions": dict}
    for name, form in forms.items():
        if type(getattr(verdict, name)) is not form:
            raise ValueError(f"`{name}` is not of type {form.__name__}")
    if not all(isinstance(version, str) for version in verdict.versions.values()):
        raise ValueError("a version is not of type str")
    return verdict


def stale(answers: Iterable[Answer], verdicts: Mapping[str, Verdict]) -> list[Answer]:
    """Return the answers to run: never run, changed since, or broken then (the cause may lie outside the code)."""
    return [
        answer
        for answer in answers
        if not (verdict := verdicts.get(answer.id)) or verdict.key != answer.key or not verdict.passed
    ]


def run(
    answers: Sequence[Answer], root: Path, environment: Mapping[str, str], versions: Mapping[str, str], timeout: float
) -> Iterator[tuple[Answer, Verdict, str]]:
    """Run answers one after another in a child process.

    Args:
        answers: The answers.
        root: The folder in which they run and from which they import.
        environment: Variables added to the child's environment.
        versions: What the verdicts say they ran on.
        timeout: Seconds for each answer, the imports of the implementation not counted.

    Yields:
        Each answer with its verdict and the doctest as it ran.
    """
    waiting = list(answers)
    at_commit = commit(root) if waiting else ""
    while waiting:
        with _Child(root, environment) as child:
            while waiting:
                answer = waiting.pop(0)
                outcome = child.run(answer, timeout)
                now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
                failure, seconds = outcome.failure, round(outcome.seconds, 3)
                verdict = Verdict(answer.key, not failure, failure, at_commit, versions, now, seconds)
                yield answer, verdict, outcome.transcript
                if child.dead:
                    break


@dataclass(frozen=True)
class _Outcome:
    failure: str
    seconds: float
    transcript: str = ""


@dataclass
class _Child:
    """A process that runs answers; it is `dead` after one that hung or killed it."""

    root: Path
    environment: Mapping[str, str]
    dead: bool = False
    _process: subprocess.Popen[str] = field(init=False)
    _log: IO[str] = field(init=False)
    _reports: IO[str] = field(init=False)
    _logged: int = 0

    def __enter__(self) -> _Child:
        reader, writer = os.pipe()
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        path = os.pathsep.join(filter(None, [str(self.root), os.environ.get("PYTHONPATH", "")]))
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from quaere.running.verify import _serve; _serve({writer})"],
            cwd=self.root,
            env={**os.environ, **self.environment, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            pass_fds=[writer],
            text=True,
            start_new_session=True,
        )
        os.close(writer)
        self._reports = os.fdopen(reader, encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        # An order that the child did not live to read is still in the pipe when the pipe is closed.
        with contextlib.suppress(BrokenPipeError), self._process:
            self._kill()
        self._reports.close()
        self._log.close()

    def run(self, answer: Answer, timeout: float) -> _Outcome:
        """Run one answer to its end, whatever that is."""
        self._logged = os.fstat(self._log.fileno()).st_size
        # A cold start of a large library is not the answer's fault, and is not timed.
        started = time.monotonic()
        report = self._ask({"import": answer.imports}, timeout + 60)
        if report:
            started = time.monotonic()
            report = self._ask({"run": answer.code, "id": answer.id}, timeout)
        seconds = time.monotonic() - started
        if report is None:
            self._kill()
            return _Outcome(f"took longer than the time limit of {timeout:g} s", seconds)
        if not report:
            return self._died(seconds)
        return _Outcome(str(report["failure"]), float(report["seconds"]), str(report["transcript"]))

    def _ask(self, order: Mapping[str, object], timeout: float) -> dict[str, str | float] | None:
        """Return the child's report on an order; an empty one if it is gone; None if it says nothing in time."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return {}
        with selectors.DefaultSelector() as selector:
            selector.register(self._reports, selectors.EVENT_READ)
            if not selector.select(timeout):
                return None
        line = self._reports.readline()
        report: dict[str, str | float] = json.loads(line) if line.endswith("\n") else {}
        return report

    def _died(self, seconds: float) -> _Outcome:
        # It may also have closed the pipe alone, and live on.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        self._kill()
        code = self._process.returncode
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        self._log.seek(self._logged)
        last = "".join(self._log.readlines()[-20:])
        return _Outcome(f"ended its process with {how}\n{last}".rstrip(), seconds)

    def _kill(self) -> None:
        self.dead = True
        # The whole session: an answer may have started processes of its own.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _serve(reports: int) -> None:
    """Run the answers that come in by standard input, in the child. What they print goes to the log or the doctest."""
    # Whatever an answer starts must neither read orders nor write reports.
    os.set_inheritable(reports, False)
    orders = os.fdopen(os.dup(0), encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = io.StringIO()
    with os.fdopen(reports, "w", encoding="utf-8") as pipe:
        for line in orders:
            order = json.loads(line)
            if "import" in order:
                report: dict[str, str | float] = {"imported": _import(order["import"])}
            else:
                report = _run_doctest(order["id"], order["run"])
            pipe.write(json.dumps(report) + "\n")
            pipe.flush()


def _import(modules: Iterable[str]) -> bool:
    """Import modules ahead of an answer; one that fails makes the answer's own import fail, where it is shown."""
    try:
        for name in modules:
            importlib.import_module(name)
    except Exception:
        return False
    return True


def _run_doctest(id: str, code: str) -> dict[str, str | float]:
    # Without a file's name, doctest's report counts lines in the doctest; in the file there may be prose between them.
    test = doctest.DocTestParser().get_doctest(code, {"__name__": "__main__"}, id, None, None)
    failure, transcript = io.StringIO(), io.StringIO()
    runner = _Runner(transcript)
    started = time.perf_counter()
    runner.run(test, out=failure.write)
    return {
        "failure": _clean(failure.getvalue().rstrip()),
        "seconds": time.perf_counter() - started,
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
