"""Each answer runs in a process of its own, and is broken alone."""

import dataclasses
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from quaere.content.model import Answer, Verdict
from quaere.project import Project
from quaere.running import verify
from quaere.running.evidence import Evidence
from tests.engine.conftest import Base

PASS = "an answer that passes"
# Where this process finds quaere, for those that work elsewhere.
PATHS = {"PYTHONPATH": os.pathsep.join(filter(None, map(os.path.abspath, sys.path)))}
VERDICT = Verdict("key", True, "", "abc", {"python": "3.11"}, "2026-01-31T00:00:00+00:00", 0.5)

ANSWERS = {
    # What each answer does, and what its failure says (a regular expression; PASS for none).
    "first": (">>> from reference_impl import heavy\n>>> heavy.double(21)\n42", PASS),
    "hang": (">>> import time\n>>> time.sleep(1000)", r"took longer than the time limit of 3 s"),
    "after-hang": (">>> 1 + 1\n2", PASS),
    "exit": (">>> import os\n>>> os._exit(3)", r"ended its process with exit code 3"),
    "abort": (
        ">>> import os, sys\n>>> print('last words', file=sys.stderr, flush=True)\n>>> os.abort()",
        r"ended its process with signal SIGABRT\nlast words(.|\n)*",
    ),
    "segfault": (
        ">>> import faulthandler\n>>> faulthandler._sigsegv()",
        r"ended its process with signal SIGSEGV(.|\n)*",
    ),
    "interrupt": (">>> raise KeyboardInterrupt", r"ended its process with signal SIGINT(.|\n)*"),
    "silent": (
        ">>> import os, time\n>>> os.closerange(3, 64)\n>>> time.sleep(1000)",
        r"closed the socket of its report",
    ),
    "after-crash": (">>> 1 + 1\n2", PASS),
    "sys-exit": (">>> import sys\n>>> sys.exit(0)", r"(.|\n)*Line 2, in toy.sys-exit\n(.|\n)*SystemExit: 0"),
    "exception": (">>> 1 / 0", r"(.|\n)*ZeroDivisionError: division by zero"),
    "wrong": (
        ">>> 1\n1\n\nProse between.\n\n>>> 2\n3",
        r"\*+\nLine 4, in toy.wrong\nFailed example:\n    2\nExpected:\n    3\nGot:\n    2",
    ),
    "endless": (">>> while True: print('spam')", r"(.|\n)*ValueError: an example may print 10,000 characters"),
    "loud": (
        ">>> print('x' * 9999)  # doctest: +ELLIPSIS\nxxx...xxx\n>>> print('y' * 9999)  # doctest: +ELLIPSIS\nyy...",
        PASS,
    ),
    "long-failure": (">>> raise ValueError('z' * 10**6)", r"(.|\n){10000}\n… and [\d,]+ characters more"),
    "surrogate": (r">>> print('\ud800')", r"(.|\n)*\\ud800"),
    "stray-output": (">>> import os\n>>> _ = os.write(1, b'{}\\n'); _ = os.write(2, b'{}\\n')", PASS),
    "stdin": (
        ">>> import subprocess, sys\n>>> sys.stdin.read()\n''\n"
        ">>> subprocess.run(['cat'], capture_output=True, timeout=5).stdout\nb''",
        PASS,
    ),
    "defines": (">>> leaked = 7\n>>> leaked\n7", PASS),
    "leaks": (">>> leaked\nTraceback (most recent call last):\nNameError: name 'leaked' is not defined", PASS),
    "underscore": (
        ">>> _\nTraceback (most recent call last):\nNameError: name '_' is not defined\n"
        ">>> sorted(globals())  # doctest: +ELLIPSIS\n['__builtins__', '__name__']",
        PASS,
    ),
    "environment": (">>> import os\n>>> os.environ['SEED'], os.path.exists('papers/toy.yml')\n('7', True)", PASS),
    "children": (
        ">>> import subprocess, sys\n"
        ">>> child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'])\n"
        ">>> _ = open('child.pid', 'w').write(str(child.pid))",
        PASS,
    ),
    "import-fails": (">>> import reference_impl.fails", r"(.|\n)*RuntimeError: fails on import"),
    "import-exits": (">>> import reference_impl.exits", r"ended its process with exit code 4"),
    "last": (">>> 1 + 1\n2", PASS),
}


def fill(base: Base, answers: Mapping[str, str]) -> None:
    """Write a card with these questions, and a module with these answers."""
    asked = "".join(f"  - {{id: {id}, ask: Why?, asked: 2026-01-31}}\n" for id in answers)
    sections = "\n".join(
        f"Answers: toy.{id}\n" + "".join(f"    {line}".rstrip() + "\n" for line in code.split("\n"))
        for id, code in answers.items()
    )
    base.write(
        {
            "papers/toy.yml": f"cite: toy2020\nidea: Sound.\nimplementation: null\nquestions:\n{asked}",
            "reference_impl/toy.py": f'r"""A toy.\n\n{sections}"""\n',
            "reference_impl/__init__.py": "",
            "reference_impl/heavy.py": "def double(x):\n    return 2 * x\n",
            "reference_impl/fails.py": "raise RuntimeError('fails on import')\n",
            "reference_impl/exits.py": "import os\n\nos._exit(4)\n",
            "pyproject.toml": "[tool.quaere]\ntimeout = 3\n\n[tool.quaere.environment]\nSEED = '7'\n",
        }
    )


Report = tuple[Verdict, str]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Base, Mapping[str, Report]]:
    """Run all of these answers, once."""
    base = Base(tmp_path_factory.mktemp("outcomes"))
    base.write({"papers/references.bib": "@misc{toy2020, author={A B}, title={T}, year=2020}\n"})
    fill(base, {id: code for id, (code, _) in ANSWERS.items()})
    project = base.project
    library = base.library()
    ran = project.verify(library, project.stale(library))
    return base, {answer.id.removeprefix("toy."): (verdict, transcript) for answer, verdict, transcript in ran}


@pytest.mark.parametrize("id", ANSWERS)
def test_each_answer_comes_to_its_own_end_and_the_rest_go_on(
    outcomes: tuple[Base, Mapping[str, Report]], id: str
) -> None:
    verdict, _ = outcomes[1][id]
    expected = ANSWERS[id][1]
    if expected is PASS:
        assert (verdict.passed, verdict.failure) == (True, "")
    else:
        assert not verdict.passed
        assert re.fullmatch(expected, verdict.failure), verdict.failure


def test_an_answer_is_shown_as_it_ran(outcomes: tuple[Base, Mapping[str, Report]]) -> None:
    assert outcomes[1]["wrong"][1] == ">>> 1\n1\n>>> 2\n2\n"
    assert outcomes[1]["defines"][1] == ">>> leaked = 7\n>>> leaked\n7\n"
    assert outcomes[1]["exception"][1] == ">>> 1 / 0\n"


def test_a_verdict_tells_on_what_when_and_how_long(outcomes: tuple[Base, Mapping[str, Report]]) -> None:
    base, ran = outcomes
    for id, (verdict, _) in ran.items():
        assert verdict.versions == {"python": platform.python_version()}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", verdict.at)
        assert verdict.key == base.library().questions[f"toy.{id}"].answer.key  # type: ignore[union-attr]
        assert verdict.commit == "", "this folder is under no version control"
    assert ran["hang"][0].seconds >= 3
    assert ran["last"][0].seconds < 3


def test_no_process_outlives_the_run(outcomes: tuple[Base, Mapping[str, Report]]) -> None:
    pid = int((outcomes[0].root / "child.pid").read_text())
    until(lambda: not lives(pid))


def test_the_broken_run_again_and_the_others_do_not(outcomes: tuple[Base, Mapping[str, Report]]) -> None:
    project = outcomes[0].project
    stale = {answer.id.removeprefix("toy.") for answer in project.stale(outcomes[0].library())}
    assert stale == {id for id, (_, failure) in ANSWERS.items() if failure is not PASS}


# What an answer does to others


FORGED = """\
>>> import json, os
>>> line = json.dumps({"failure": "", "seconds": 0.0, "transcript": "forged"}).encode() + b"\\n"
>>> def write(text):
...     for file in range(1, 64):
...         try: _ = os.write(file, text)
...         except OSError: pass
>>> write(line); write(b"{}\\n" + line)
"""

# What an answer does, and its failure (a regular expression; PASS for none).
HOSTILE = {
    "forges-and-passes": (FORGED + ">>> 1\n1", PASS),
    "forges-and-fails": (FORGED + ">>> 1\n2", r"(.|\n)*Expected:\n    2\nGot:\n    1"),
    "forges-and-exits": (FORGED + ">>> os._exit(0)", r"ended its process with exit code 0(.|\n)*"),
    "half-a-line": (
        FORGED + ">>> write(b'{'); import time; time.sleep(1000)",
        r"took longer than the time limit of 3 s",
    ),
    "half-and-passes": (FORGED + ">>> write(b'{')", PASS),
    "megabytes": (FORGED + ">>> for _ in range(64): write(os.urandom(65536))", PASS),
    "writes-without-end": (FORGED + ">>> while True: write(line * 100)", r"took longer than the time limit of 3 s"),
    "forks": (">>> import os\n>>> _ = os.fork()\n>>> _ = os.fork()", PASS),
    "forks-and-differs": (
        ">>> import os\n>>> pid = os.fork()\n>>> pid > 0\nTrue\n>>> _ = pid and os.waitpid(pid, 0)",
        PASS,
    ),
    "forks-and-fails": (">>> import os\n>>> os.fork() < 0\nTrue", r"(.|\n)*Got:\n    False"),
    "forks-and-waits": (">>> import os\n>>> _ = os.fork() or os._exit(7)\n>>> os.wait()[1] >> 8\n7", PASS),
    "fork-outlives": (
        ">>> import os, time\n>>> if os.fork() == 0: time.sleep(1000)\n>>> os._exit(5)",
        r"ended its process with exit code 5",
    ),
    "replaces-doctest": (
        ">>> import doctest\n>>> doctest.DocTestRunner.run = doctest.OutputChecker.check_output = lambda *a, **k: True",
        PASS,
    ),
    "replaces-ours": (
        ">>> from quaere.running import child\n>>> child._run_doctest = lambda *_: {}\n>>> child._report = print",
        PASS,
    ),
    "replaces-theirs": (
        ">>> import io, json, os, time\n>>> json.dumps = json.loads = time.perf_counter = time.monotonic = None\n"
        ">>> io.StringIO = os.getpid = os._exit = None",
        PASS,
    ),
    "replaces-builtins": (">>> import builtins\n>>> builtins.str = builtins.float = None", r"(.|\n)*"),
    "changes-all": (
        ">>> import os, random, resource, signal, sys, warnings, threading\n"
        ">>> os.chdir('/'); os.environ['SEED'] = '8'; os.environ['NEW'] = '1'; _ = os.umask(0o777)\n"
        ">>> sys.path[:] = []; warnings.simplefilter('error'); random.seed(0)\n"
        ">>> _ = signal.signal(signal.SIGTERM, signal.SIG_IGN); _ = signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        ">>> resource.setrlimit(resource.RLIMIT_NOFILE, (9, 9)); resource.setrlimit(resource.RLIMIT_FSIZE, (9, 9))\n"
        ">>> sys.modules['shared'] = sys; sys.setrecursionlimit(90); _ = os.nice(1); sys.settrace(None)\n",
        PASS,
    ),
    "kills-its-parent": (">>> import os\n>>> os.kill(os.getppid(), 9)", PASS),
    "stops-its-parent": (">>> import os, signal\n>>> os.kill(os.getppid(), signal.SIGSTOP)", PASS),
    "kills-its-group": (">>> import os\n>>> os.killpg(0, 9)", r"ended its process with signal SIGKILL"),
    "stops": (
        ">>> import os, signal\n>>> os.kill(os.getpid(), signal.SIGSTOP)",
        r"took longer than the time limit of 3 s",
    ),
    "moves-files": (
        ">>> import os\n>>> for file in range(3, 64):\n...     try: _ = os.dup2(1, file)\n...     except OSError: pass",
        r"ended its process with exit code 1\nits report can't be sent: .*|closed the socket of its report",
    ),
    "becomes-another": (">>> import os\n>>> os.execlp('true', 'true')", r"ended its process with exit code 0"),
    "unblocks": (
        FORGED
        + ">>> for file in range(3, 64):\n...     try: os.set_blocking(file, False)\n...     except OSError: pass\n"
        ">>> for _ in range(64): write(os.urandom(65536))",
        PASS,
    ),
    "threads": (
        ">>> import threading, os, sys\n"
        ">>> def talk():\n...     while True: sys.__stdout__.write('noise'); _ = os.write(1, b'noise')\n"
        ">>> threading.Thread(target=talk).start()",
        PASS,
    ),
    "speaks-at-its-end": (">>> import atexit\n>>> _ = atexit.register(print, 'late')", PASS),
    "own-session": (
        ">>> import subprocess, sys\n>>> child = subprocess.Popen("
        "[sys.executable, '-c', 'import time; time.sleep(1000)'], start_new_session=True)\n"
        ">>> _ = open('own-session.pid', 'w').write(str(child.pid))",
        PASS,
    ),
    "daemon": (
        ">>> import os, time\n"
        ">>> if os.fork() == 0:\n...     os.setsid()\n...     if os.fork() == 0:\n"
        # The file is there only when all of it is.
        "...         _ = open('daemon', 'w').write(str(os.getpid()))\n...         os.rename('daemon', 'daemon.pid')\n"
        "...         time.sleep(1000)\n"
        "...     os._exit(0)\n"
        ">>> while not os.path.exists('daemon.pid'): time.sleep(0.01)",
        PASS,
    ),
    "import-kills": (">>> import reference_impl.kills", r"ended its process with signal SIGKILL"),
    "import-replaces": (">>> import reference_impl.replaces", PASS),
    "import-forges": (">>> import reference_impl.forges\n>>> 1\n1", PASS),
    "import-leaves": (">>> import reference_impl.leaves", r"(.|\n)*SystemExit: 3"),
    "import-is-slow": (">>> import reference_impl.slow", PASS),
}

# After each of these an answer looks at what there is.
INNOCENT = """\
>>> import doctest, io, json, os, resource, signal, sys, time, warnings
>>> os.path.samefile('.', os.path.dirname(os.path.dirname(sys.modules['reference_impl'].__file__)))
True
>>> os.environ['SEED'], os.environ.get('NEW'), len(sys.path) > 2, os.path.exists('papers/toy.yml')
('7', None, True, True)
>>> old = os.umask(0o22); old != 0o777, signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGCHLD)
(True, <Handlers.SIG_DFL: 0>, <Handlers.SIG_DFL: 0>)
>>> resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 9, resource.getrlimit(resource.RLIMIT_FSIZE)[0] == 9
(True, False)
>>> [one for one in warnings.filters if one[0] == 'error'], 'shared' in sys.modules, sys.getrecursionlimit() > 90
([], False, True)
>>> json.loads(json.dumps([1])), time.monotonic() > 0, os.getpid() > 0, str(1.0)
([1], True, True, '1.0')
>>> doctest.OutputChecker().check_output('1', '2', 0)
False
>>> 1 + 1
3
"""
ITS_FAILURE = r"\*+\nLine \d+, in toy\.[a-z-]+\nFailed example:\n    1 \+ 1\nExpected:\n    3\nGot:\n    2"


@pytest.fixture(scope="module")
def neighbours(tmp_path_factory: pytest.TempPathFactory) -> tuple[Base, Mapping[str, Report]]:
    """Run each of the hostile, and an innocent one after it."""
    base = Base(tmp_path_factory.mktemp("neighbours"))
    base.write({"papers/references.bib": "@misc{toy2020, author={A B}, title={T}, year=2020}\n"})
    answers: dict[str, str] = {}
    for id, (code, _) in HOSTILE.items():
        answers |= {id: code, f"after-{id}": f">>> import reference_impl\n{INNOCENT}"}
    fill(base, answers)
    base.write(
        {
            "reference_impl/__init__.py": "",
            "reference_impl/kills.py": "import os\nos.kill(os.getpid(), 9)\n",
            "reference_impl/leaves.py": "raise SystemExit(3)\n",
            "reference_impl/replaces.py": "import doctest, os\nos.chdir('/')\nos.environ['SEED'] = '9'\n"
            "doctest.OutputChecker.check_output = lambda *_: True\n",
            "reference_impl/forges.py": "import os\nfor file in range(1, 64):\n    try:\n"
            "        os.write(file, b'{}\\n{')\n    except OSError:\n        pass\n",
            "reference_impl/slow.py": "import time\ntime.sleep(4)\n",
        }
    )
    project = base.project
    library = base.library()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verify, "_PATIENCE", 3.0)
        ran = list(project.verify(library, project.stale(library), jobs=1))
    return base, {answer.id.removeprefix("toy."): (verdict, transcript) for answer, verdict, transcript in ran}


@pytest.mark.parametrize("id", HOSTILE)
def test_an_answer_is_judged_alone_whatever_it_does(neighbours: tuple[Base, Mapping[str, Report]], id: str) -> None:
    verdict, _ = neighbours[1][id]
    expected = HOSTILE[id][1]
    if expected is PASS:
        assert (verdict.passed, verdict.failure) == (True, "")
    else:
        assert not verdict.passed
        assert re.fullmatch(expected, verdict.failure), verdict.failure


@pytest.mark.parametrize("id", HOSTILE)
def test_no_answer_changes_the_verdict_on_the_next(neighbours: tuple[Base, Mapping[str, Report]], id: str) -> None:
    verdict, _ = neighbours[1][f"after-{id}"]
    assert not verdict.passed
    assert re.fullmatch(ITS_FAILURE, verdict.failure), verdict.failure


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere an orphan is nobody's child")
@pytest.mark.parametrize("name", ["own-session", "daemon"])
def test_what_an_answer_starts_ends_with_it_whatever_its_session(
    neighbours: tuple[Base, Mapping[str, Report]], name: str
) -> None:
    assert not lives(int((neighbours[0].root / f"{name}.pid").read_text()))


def lives(pid: int) -> bool:
    """Tell whether a process runs; where nobody reaps it, a killed one stays as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_answers_without_fork_run_each_in_a_process_of_its_own(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "_FORKS", False)
    ids = ("first", "hang", "exit", "changes-all", "import-kills", "kills-its-group", "forges-and-fails", "last")
    cases = {id: (ANSWERS | HOSTILE)[id] for id in ids}
    fill(base, {id: code for id, (code, _) in cases.items()})
    base.write({"reference_impl/kills.py": "import os\nos.kill(os.getpid(), 9)\n"})
    library = base.library()
    for answer, verdict, _ in base.project.verify(library, library.answers, jobs=2):
        expected = cases[answer.id.removeprefix("toy.")][1]
        assert verdict.failure == "" if expected is PASS else re.fullmatch(expected, verdict.failure), answer.id


def test_an_import_that_hangs_breaks_its_answers_alone(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(base, {"hangs": ">>> import reference_impl.endless", "after": ">>> 1\n1"})
    base.write({"reference_impl/endless.py": "import time\ntime.sleep(1000)\n"})
    monkeypatch.setattr(verify, "_FOR_IMPORTS", 0.0)
    library = base.library()
    ran = base.project.verify(library, library.answers, timeout=1)
    assert [verdict.failure for _, verdict, _ in ran] == ["its imports took longer than 1 s", ""]


@pytest.mark.parametrize("code", ["raise ValueError", "import os; os._exit(1)", "import time; time.sleep(1000)"])
def test_a_module_that_can_not_be_preloaded_breaks_nothing(
    base: Base, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    fill(base, {"one": ">>> import reference_impl.heavy\n>>> 1\n1", "two": ">>> 1\n1"})
    base.write({"preloaded.py": f"{code}\n", "pyproject.toml": "[tool.quaere]\npreload = ['preloaded', 'nowhere']\n"})
    monkeypatch.setattr(verify, "_FOR_IMPORTS", 1.0)
    library = base.library()
    ran = base.project.verify(library, library.answers, timeout=1)
    assert [verdict.failure for _, verdict, _ in ran] == ["", ""]


def test_what_is_preloaded_is_there_before_several_answers_and_imported_once(base: Base) -> None:
    look = ">>> import sys, os\n>>> 'preloaded' in sys.modules\nTrue"
    fill(base, {"one": look, "two": look.replace("sys, os", "sys, reference_impl.heavy")})
    count = "open('count', 'a').write('x')\n"
    base.write({"preloaded.py": count, "pyproject.toml": "[tool.quaere]\npreload = ['preloaded']\n"})
    library = base.library()
    assert all(verdict.passed for _, verdict, _ in base.project.verify(library, library.answers))
    assert (base.root / "count").read_text() == "x"
    assert [v.passed for _, v, _ in base.project.verify(library, library.answers[:1])] == [False]


def test_a_module_that_several_answers_reach_is_imported_once_in_a_line(base: Base) -> None:
    fill(base, {name: f">>> import reference_impl.{name}\n>>> 1\n1" for name in ("a", "b", "c")})
    users = {f"reference_impl/{name}.py": "import reference_impl.shared\n" for name in ("a", "b", "c")}
    base.write({**users, "reference_impl/shared.py": "open('count', 'a').write('x')\n"})
    library = base.library()
    answers = sorted(library.answers, key=lambda answer: answer.imports)
    assert all(verdict.passed for _, verdict, _ in base.project.verify(library, answers, jobs=1))
    assert (base.root / "count").read_text() == "x"


def test_the_path_of_this_process_is_theirs_wherever_they_run(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(base, {"one": ">>> import beside"})
    (tmp_path / "other").mkdir()
    (tmp_path / "other/beside.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["other", PATHS["PYTHONPATH"]]))
    library = base.library()
    assert [verdict.failure for _, verdict, _ in base.project.verify(library, library.answers)] == [""]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_verify_that_is_ended_ends_its_processes(base: Base, number: signal.Signals) -> None:
    code = (
        ">>> import os, subprocess, sys, time\n"
        ">>> other = subprocess.Popen("
        "[sys.executable, '-c', 'import time; time.sleep(1000)'], start_new_session=True)\n"
        ">>> _ = open('pids.new', 'w').write(f'{os.getpid()} {os.getppid()} {other.pid}')\n"
        ">>> os.rename('pids.new', 'pids')\n>>> time.sleep(1000)"
    )
    fill(base, {"sleeps": code, "sleeps-too": code.replace("pids", "pids-too"), "quick": ">>> 1\n1"})
    command = [sys.executable, "-c", "from quaere.cli import main; main()", "verify", "--jobs", "3"]
    files = [base.root / name for name in ("pids", "pids-too", ".quaere/evidence.json")]
    with subprocess.Popen(command, cwd=base.root, stderr=subprocess.DEVNULL, env={**os.environ, **PATHS}) as process:
        until(lambda: all(file.exists() for file in files))
        process.send_signal(number)
        process.wait(30)
    pids = [int(pid) for file in files[:2] for pid in file.read_text().split()]
    until(lambda: not any(map(lives, pids)))
    assert list(Evidence(files[2]).verdicts) == ["toy.quick"]


# Several at once


def waits_for(name: str) -> str:
    """Return lines that wait for a file."""
    return f">>> import os, time\n>>> while not os.path.exists('{name}'): time.sleep(0.01)"


def makes(name: str) -> str:
    """Return a line that makes an empty file."""
    return f">>> open('{name}', 'w').close()"


def test_answers_run_at_once_and_are_told_as_they_end(base: Base) -> None:
    meet = {"a": f"{makes('a')}\n{waits_for('b')}\n{waits_for('c')}", "b": f"{waits_for('a')}\n{makes('b')}"}
    fill(base, {**meet, "c": makes("c")})
    library = base.library()
    # Each waits for others, which may take long to begin on a busy machine.
    done = base.project.verify(library, library.answers, timeout=60, jobs=2)
    ran = [(answer.id, verdict.failure) for answer, verdict, _ in done]
    assert sorted(ran) == [("toy.a", ""), ("toy.b", ""), ("toy.c", "")]
    assert ran[0][0] == "toy.b", "the second line goes on while the first is busy"


@pytest.mark.parametrize("jobs", [2, 9])
def test_the_verdicts_of_several_lines_are_those_of_one(base: Base, jobs: int) -> None:
    ids = ("first", "exit", "abort", "sys-exit", "wrong", "loud", "defines", "leaks", "environment", "import-exits")
    fill(base, {id: ANSWERS[id][0] for id in ids})
    library = base.library()
    alone, together = (
        sorted(
            (answer.id, verdict.key, verdict.failure, transcript)
            for answer, verdict, transcript in base.project.verify(library, library.answers, jobs=number)
        )
        for number in (1, jobs)
    )
    assert together == alone
    assert [id for id, *_ in alone] == sorted(f"toy.{id}" for id in ids)


ENDS_ITS_LINE = """\
>>> import os, pathlib, signal
>>> def parent(pid): return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
>>> line = [os.getppid()]
>>> while parent(line[-1]) != VERIFY: line.append(parent(line[-1]))
>>> for pid in line: os.killpg(pid, signal.SIGKILL)"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody tells an answer its line")
def test_no_answer_disturbs_those_of_another_line(base: Base) -> None:
    steady = (
        ">>> import subprocess, sys\n>>> child = subprocess.Popen("
        "[sys.executable, '-c', 'import time; time.sleep(1000)'], start_new_session=True)\n"
        f"{makes('begun')}\n{waits_for('last')}\n>>> child.poll()\n>>> 1 + 1\n2"
    )
    fill(
        base,
        {
            "steady": steady,
            "begins": f"{waits_for('begun')}\n>>> 1\n1",
            "exits": ">>> import os\n>>> os._exit(3)",
            "daemon": HOSTILE["daemon"][0],
            "kills": HOSTILE["kills-its-parent"][0],
            "ends": ENDS_ITS_LINE.replace("VERIFY", str(os.getpid())),
            "last": makes("last"),
        },
    )
    library = base.library()
    ran = base.project.verify(library, library.answers, timeout=60, jobs=2)
    failures = {answer.id.removeprefix("toy."): verdict.failure for answer, verdict, _ in ran}
    assert failures == {
        **dict.fromkeys(("steady", "begins", "daemon", "kills", "ends", "last"), ""),
        "exits": "ended its process with exit code 3",
    }
    assert not lives(int((base.root / "daemon.pid").read_text()))


def test_an_answer_that_hangs_takes_no_time_of_another_line(base: Base) -> None:
    ids = [f"turn-{number}" for number in range(6)]
    fill(base, {"hangs": ">>> while True: pass", **dict.fromkeys(ids, ">>> import time\n>>> time.sleep(0.5)")})
    library = base.library()
    ran = [
        (answer.id.removeprefix("toy."), verdict.failure)
        for answer, verdict, _ in base.project.verify(library, library.answers, timeout=2, jobs=2)
    ]
    assert dict(ran) == {"hangs": "took longer than the time limit of 2 s", **dict.fromkeys(ids, "")}


def children() -> set[str]:
    """Return the children of this process, zombies included."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def files() -> list[str]:
    """Return the names of the open files of this process."""
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
@pytest.mark.parametrize("how", ["closed", "fails"])
def test_a_run_that_ends_early_leaves_nothing(base: Base, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    sleeps = (
        ">>> import os, subprocess, sys, time\n"
        ">>> other = subprocess.Popen("
        "[sys.executable, '-c', 'import time; time.sleep(1000)'], start_new_session=True)\n"
        ">>> _ = open('NAME.new', 'w').write(f'{os.getpid()} {os.getppid()} {other.pid}')\n"
        ">>> os.rename('NAME.new', 'NAME')\n>>> time.sleep(1000)"
    )
    quick = f"{waits_for('one')}\n{waits_for('two')}"
    fill(base, {"one": sleeps.replace("NAME", "one"), "two": sleeps.replace("NAME", "two"), "quick": quick})
    library = base.library()
    before = children(), files()
    if how == "fails":

        def fail(self: object) -> None:
            raise OSError("no more of these")

        # The first process to be ended is that of `quick`.
        monkeypatch.setattr(verify._Processes, "_end", fail)
        with pytest.raises(OSError, match="no more of these"):
            list(base.project.verify(library, library.answers, jobs=3))
    else:
        ran = base.project.verify(library, library.answers, jobs=3)
        assert next(ran)[0].id == "toy.quick"
        ran.close()  # type: ignore[attr-defined]
    assert (children(), files()) == before
    pids = [int(pid) for name in ("one", "two") for pid in (base.root / name).read_text().split()]
    until(lambda: not any(map(lives, pids)))


@pytest.mark.parametrize(
    ("processors", "answers", "lines"),
    [(1, 500, 1), (2, 1, 1), (2, 31, 1), (2, 32, 2), (2, 500, 2), (64, 48, 3), (64, 500, 4)],
)
def test_there_are_as_many_lines_as_pay(
    monkeypatch: pytest.MonkeyPatch, processors: int, answers: int, lines: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processors)), raising=False)
    assert verify._worthwhile(answers) == lines
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    assert verify._worthwhile(answers) == lines


def until(condition: Callable[[], bool]) -> None:
    """Wait for what comes soon."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


def test_the_processes_of_answers_import_the_standard_library_alone() -> None:
    script = "import sys; import quaere.running.child; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    modules = {name.partition(".")[0] for name in run.stdout.split()}
    assert not modules & {"pydantic", "rich", "typer", "yaml", "griffe", "numpy", "torch"}


# What runs again


def small(base: Base, code: str = ">>> from reference_impl.heavy import x\n>>> x\n1") -> tuple[Project, list[Answer]]:
    """Write a knowledge base with one answer."""
    lines = "".join(f"    {line}\n" for line in code.split("\n"))
    base.write(
        {
            "reference_impl/toy.py": f'"""A toy.\n\nAnswers: toy.why\n    Prose.\n\n{lines}"""\n',
            "reference_impl/heavy.py": "x = 1\n",
        }
    )
    project = base.project
    return project, project.stale(base.library())


def run(base: Base) -> list[str]:
    """Verify as the command does, and return what ran."""
    project = base.project
    library = base.library()
    return [answer.id for answer, _, _ in project.verify(library, project.stale(library))]


def believe(base: Base) -> None:
    """Write evidence that all answers passed as they are now."""
    project = base.project
    answers = base.library().answers
    project.evidence.verdicts = {answer.id: dataclasses.replace(VERDICT, key=answer.key) for answer in answers}
    project.evidence.save(project.evidence.verdicts)


def test_what_has_not_changed_does_not_run_and_starts_no_process(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    small(base)
    assert run(base) == ["toy.why"]
    monkeypatch.setattr(subprocess, "Popen", None)
    assert run(base) == []


@pytest.mark.parametrize(
    ("path", "old", "new", "runs"),
    [
        ("reference_impl/heavy.py", "x = 1", "x = 2 - 1", True),
        ("reference_impl/__init__.py", "", "# new\n", True),
        ("reference_impl/toy.py", ">>> x", ">>> x * 1", True),
        ("reference_impl/toy.py", "Prose.", "Better prose.", False),
        ("papers/toy.yml", "A sound idea.", "A sounder idea.", False),
        ("papers/toy.yml", "answer: By hand.", "answer: By hand!", False),
        ("pyproject.toml", "", "[tool.quaere]\nversions = ['pytest']\n", True),
    ],
)
def test_only_a_change_of_code_or_versions_runs_an_answer_again(
    base: Base, path: str, old: str, new: str, runs: bool
) -> None:
    small(base)
    believe(base)
    file = base.root / path
    before = file.read_text() if file.exists() else ""
    assert old in before
    file.write_text(before.replace(old, new, 1))
    assert len(base.project.stale(base.library())) == runs


def test_a_verdict_outlives_a_fault_in_its_card(base: Base) -> None:
    small(base)
    base.write(
        {
            "papers/other.yml": "cite: toy2020\nidea: Other.\nimplementation: null\n"
            "questions: [{id: what, ask: What?, asked: 2026-01-31}]\n",
            "reference_impl/other.py": '"""Other.\n\nAnswers: other.what\n    >>> 1\n    1\n"""\n',
        }
    )
    believe(base)
    assert run(base) == []
    sound = (base.root / "papers/toy.yml").read_text()
    base.write({"papers/toy.yml": "idea: 7\n"})
    project = base.project
    library, _ = project.read()
    assert [answer.id for answer, _, _ in project.verify(library, library.answers[:1])] == ["other.what"]
    base.write({"papers/toy.yml": sound})
    assert run(base) == []


def test_the_verdict_on_an_answer_that_is_gone_goes_too(base: Base) -> None:
    small(base)
    believe(base)
    base.write({"reference_impl/toy.py": '"""A toy.\n\nAnswers: toy.how\n    >>> 1\n    1\n"""\n'})
    assert run(base) == ["toy.how"]
    assert set(json.loads((base.root / ".quaere/evidence.json").read_text())["verdicts"]) == {"toy.how"}


def test_each_verdict_is_kept_as_soon_as_it_is_there(base: Base) -> None:
    small(base)
    answer = base.library().answers[0]
    ran = base.project.verify(base.library(), [answer])
    next(ran)
    assert list(Evidence(base.root / ".quaere/evidence.json").verdicts) == ["toy.why"]
    ran.close()  # type: ignore[attr-defined]


def test_an_answer_is_not_believed_for_evidence_of_other_code(base: Base) -> None:
    _, (answer,) = small(base)
    believe(base)
    assert base.project.stale(base.library()) == []
    file = base.root / ".quaere/evidence.json"
    file.write_text(file.read_text().replace(answer.key, "0" * 64))
    assert base.project.stale(base.library()) == [answer]


# Versions and commits


def test_versions_are_those_of_python_and_of_what_is_installed() -> None:
    assert verify.versions(["pytest", "no-such-distribution"]) == {
        "python": platform.python_version(),
        "pytest": pytest.__version__,
        "no-such-distribution": "none",
    }


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), "-c", "user.name=Ann", "-c", "user.email=ann@example.org", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_is_told_and_whether_files_differ_from_it(tmp_path: Path) -> None:
    assert verify.commit(tmp_path) == ""
    git(tmp_path, "init", "--quiet")
    (tmp_path / "file").write_text("1")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "--no-gpg-sign", "--message", "First")
    git(tmp_path, "tag", "v1")
    full = git(tmp_path, "rev-parse", "HEAD")
    assert verify.commit(tmp_path) == full[:10]
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "toy.json").write_text("{}")
    git(tmp_path, "add", "results")
    assert verify.commit(tmp_path) == f"{full[:10]}+"
    assert verify.commit(tmp_path, besides="results") == full[:10]
    assert verify.commit(tmp_path / "results", besides=".") == full[:10]
    (tmp_path / "file").write_text("2")
    assert verify.commit(tmp_path, besides="results") == f"{full[:10]}+"
    assert verify.commit(tmp_path / "results", besides=".") == f"{full[:10]}+"


def test_without_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    assert verify.commit(tmp_path) == ""
