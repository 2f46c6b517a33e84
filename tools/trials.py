"""Run tests on copies of the tree in which files are replaced.

What takes long to import is imported once. Each trial is a process forked from this one, with a copy of the tree to
itself, so that the tree stays as it is and no trial sees another.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib
import multiprocessing
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

import pytest

from quaere.content.settings import Settings
from quaere.running import pytest_plugin

_FORK: Any = multiprocessing.get_context("fork")
_BUILT = ("node_modules", "site")


class Kind(StrEnum):
    """How a trial ended."""

    PASSED = "passed"
    FAILED = "failed"  # by an assertion, or by what a doctest printed
    CRASHED = "crashed"  # by any other exception, or without an end
    MISSING = "missing"  # no test ran


@dataclass(frozen=True)
class Trial:
    """Tests to run in one process up to the first that fails, with files in the place of those of the tree.

    Args:
        tests: What pytest is given: files, or node ids.
        files: Texts by path.
    """

    tests: Sequence[str]
    files: Mapping[str, str]


@dataclass(frozen=True)
class Outcome:
    """How a trial ended, which test ended it, why in one line, and after how many seconds."""

    kind: Kind
    test: str = ""
    why: str = ""
    seconds: float = 0.0


def preload(root: Path, settings: Settings, tests: Iterable[str]) -> None:
    """Import here what answers and tests import that is not of the tree; set the answers' environment before."""
    os.environ.update(settings.environment)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    for name in settings.preload:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for file in sorted({test.partition("::")[0] for test in tests}):
        for node in ast.walk(ast.parse((root / file).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [(alias.name, "") for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [(node.module or "", alias.name) for alias in node.names]
            else:
                continue
            for module, name in names:
                top = root / module.partition(".")[0]
                if not top.exists() and not top.with_suffix(".py").exists():
                    with contextlib.suppress(ImportError):
                        getattr(importlib.import_module(module), name, None)
    # What is there already is not looked through for garbage in each process: that would copy its memory.
    gc.collect()
    gc.freeze()


def run(root: Path, trials: Iterable[Trial], timeout: float, jobs: int) -> Iterator[tuple[int, Outcome]]:
    """Run trials, several at once, and yield the number of each with its outcome as soon as it has ended."""
    waiting, running = enumerate(trials), list[_Running]()
    with contextlib.ExitStack() as stack:
        free = [stack.enter_context(_copy(root)) for _ in range(jobs)]
        stack.callback(_kill, running)
        while True:
            while free and (numbered := next(waiting, None)):
                running.append(_Running(*numbered, root, free.pop(), timeout))
            if not running:
                return
            first = min(one.deadline for one in running)
            wait([one.process.sentinel for one in running], max(0.0, first - time.monotonic()))
            for one in [one for one in running if not one.process.is_alive() or time.monotonic() > one.deadline]:
                outcome = one.end()
                running.remove(one)
                free.append(one.copy)
                yield one.number, outcome


def files(root: Path) -> Iterator[str]:
    """Yield the path of each file of the tree: not what was built, installed or kept, nor what git keeps."""
    for folder, folders, names in os.walk(root):
        within = Path(folder).relative_to(root)
        left_out = {"__pycache__", *(_BUILT if within == Path() else ())}
        folders[:] = sorted(name for name in folders if name not in left_out and not name.startswith("."))
        yield from ((within / name).as_posix() for name in sorted(names))


@contextlib.contextmanager
def _copy(root: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mutants-", ignore_cleanup_errors=True) as scratch:
        copy = Path(scratch).resolve() / root.name
        for path in files(root):
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / path, copy / path)
        yield copy


class _Running:
    """A trial that runs in a copy."""

    def __init__(self, number: int, trial: Trial, root: Path, copy: Path, timeout: float) -> None:
        self.number, self.copy = number, copy
        self._trial, self._root, self._timeout = trial, root, timeout
        self._lay(trial.files)
        self._report, there = _FORK.Pipe(duplex=False)
        self.process: BaseProcess = _FORK.Process(target=_begin, args=(root, copy, trial.tests, there))
        self._started = time.monotonic()
        self.deadline = self._started + timeout
        self.process.start()
        there.close()

    def _lay(self, files: Mapping[str, str]) -> None:
        for path, text in files.items():
            (self.copy / path).write_text(text, encoding="utf-8")

    def kill(self) -> None:
        """End the process with all that it started."""
        with contextlib.suppress(OSError):
            os.killpg(cast(int, self.process.pid), signal.SIGKILL)
        # One that has no group of its own yet; one that has ended is left alone, since its number may be another's.
        self.process.kill()
        self.process.join()

    def end(self) -> Outcome:
        """Return what came of it, and put the copy in order."""
        in_time = not self.process.is_alive()
        self.kill()
        seconds = time.monotonic() - self._started
        kind, test, why = Kind.CRASHED, "", f"took longer than {self._timeout:g} s"
        if in_time:
            why = f"its process ended with exit code {self.process.exitcode}"
            with contextlib.suppress(EOFError):
                if self._report.poll():
                    kind, test, why = self._report.recv()
        self._report.close()
        self._lay({path: (self._root / path).read_text(encoding="utf-8") for path in self._trial.files})
        return Outcome(kind, test, why, seconds)


def _kill(running: Iterable[_Running]) -> None:
    for one in running:
        one.kill()


def _begin(root: Path, copy: Path, tests: Sequence[str], report: Connection) -> None:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    os.chdir(copy)
    sys.path[:] = [str(copy), *(path for path in sys.path if Path(path).resolve() != root)]
    # A file that is as long as before, and written in the same second, would be taken from its bytecode.
    sys.dont_write_bytecode = True
    found = _Found()
    options = ["-x", "-q", "-p", "no:cacheprovider", "--rootdir", str(copy), "-c", str(copy / "pyproject.toml")]
    code = pytest.main([*options, *tests], plugins=[pytest_plugin, found])
    outcome = found.outcome
    if code == pytest.ExitCode.OK and found.passed:
        outcome = Kind.PASSED, "", ""
    elif code == pytest.ExitCode.USAGE_ERROR or (code == pytest.ExitCode.OK and not found.passed):
        outcome = outcome if outcome[0] is Kind.CRASHED else (Kind.MISSING, "", "pytest runs no such test")
    report.send(outcome)


class _Found:
    """A plugin of pytest that keeps what the first failure was."""

    def __init__(self) -> None:
        self.passed = 0
        self.outcome = (Kind.MISSING, "", "pytest ran nothing")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.passed += report.when == "call" and report.passed

    def pytest_exception_interact(self, node: pytest.Item | pytest.Collector, call: pytest.CallInfo[Any]) -> None:
        if not self.outcome[1] and call.excinfo:
            kind, why = _judge(call.excinfo.value)
            self.outcome = (kind if call.when == "call" else Kind.CRASHED), node.nodeid, why


def _judge(error: BaseException) -> tuple[Kind, str]:
    if isinstance(error, pytest_plugin.AnswerFailed):
        return _judge_doctest(str(error))
    lines = str(error).strip().splitlines() or [""]
    if isinstance(error, pytest.Collector.CollectError):
        return Kind.CRASHED, lines[-1].removeprefix("E").strip()
    is_assertion = isinstance(error, AssertionError | pytest.fail.Exception)
    return (Kind.FAILED if is_assertion else Kind.CRASHED), f"{type(error).__name__}: {lines[0]}"


def _judge_doctest(report: str) -> tuple[Kind, str]:
    """Tell how a doctest failed first: what comes after may follow from it."""
    _, _, example = report.partition("Failed example:\n")
    example, _, _ = example.partition(f"\n{'*' * 70}\n")
    _, raised, traceback = example.partition("\nException raised:\n")
    if not raised:
        source = example.strip().splitlines()[0]
        _, _, got = example.partition("\nGot:\n")
        return Kind.FAILED, f"{source} gives {' '.join(got.split()) or 'nothing'}"
    error = re.search(r"^    (?:\w+\.)*(\w+)(?::.*)?$", traceback, re.MULTILINE)
    is_assertion = error and error[1] == "AssertionError"
    return (Kind.FAILED if is_assertion else Kind.CRASHED), error[0].strip() if error else traceback.strip()


def interruptible(main: Callable[[], int]) -> int:
    """Run a program; if it is told to end, let it put its things in order first."""

    def leave(number: int, _: object) -> None:
        sys.exit(128 + number)

    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), leave)
    try:
        return main()
    except KeyboardInterrupt:
        return 130
