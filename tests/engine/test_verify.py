"""Answers run in a child: one that hangs or crashes is broken alone. Evidence is trusted, or set aside."""

import dataclasses
import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from quaere.content.model import Answer, Verdict
from quaere.project import Project
from quaere.running import verify
from tests.engine.conftest import Base

PASS = "an answer that passes"
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
        r"ended its process with signal SIGKILL",
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
        ">>> _ is None\nTrue\n>>> sorted(globals())  # doctest: +ELLIPSIS\n['__builtins__', '__name__']",
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


def fill(base: Base) -> None:
    """Write a card with these questions, and a module with these answers."""
    asked = "".join(f"  - {{id: {id}, ask: Why?, asked: 2026-01-31}}\n" for id in ANSWERS)
    sections = "\n".join(
        f"Answers: toy.{id}\n" + "".join(f"    {line}".rstrip() + "\n" for line in code.split("\n"))
        for id, (code, _) in ANSWERS.items()
    )
    base.write(
        {
            "papers/toy.yml": f"cite: toy2020\nidea: Sound.\nimplementation: null\nquestions:\n{asked}",
            "reference_impl/toy.py": f'r"""A toy.\n\n{sections}"""\n',
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
    base.write({"reference_impl/__init__.py": ""})
    fill(base)
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
    stat = Path(f"/proc/{(outcomes[0].root / 'child.pid').read_text()}/stat")

    def runs() -> bool:
        try:
            # Where nobody reaps it, a killed process stays as a zombie.
            return stat.read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    deadline = time.monotonic() + 10
    while runs():
        assert time.monotonic() < deadline, "the child of an answer still runs"
        time.sleep(0.05)


def test_the_broken_run_again_and_the_others_do_not(outcomes: tuple[Base, Mapping[str, Report]]) -> None:
    project = outcomes[0].project
    stale = {answer.id.removeprefix("toy.") for answer in project.stale(outcomes[0].library())}
    assert stale == {id for id, (_, failure) in ANSWERS.items() if failure is not PASS}


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
    assert list(verify.Evidence(base.root / ".quaere/evidence.json").verdicts) == ["toy.why"]
    ran.close()  # type: ignore[attr-defined]


# Evidence

STORED = {
    "key": "key",
    "passed": True,
    "failure": "",
    "commit": "abc",
    "versions": {"python": "3.11"},
    "at": "2026-01-31T00:00:00+00:00",
    "seconds": 0.5,
}


def test_evidence_is_read_as_it_was_written(tmp_path: Path) -> None:
    evidence = verify.Evidence(tmp_path / "new/evidence.json")
    assert (evidence.verdicts, evidence.warning) == ({}, "")
    evidence.verdicts = {"toy.why": VERDICT, "toy.gone": VERDICT}
    evidence.save(["toy.why", "toy.open"])
    stored = json.loads((tmp_path / "new/evidence.json").read_text())
    assert stored == {"schema": verify.SCHEMA, "verdicts": {"toy.why": STORED}}
    again = verify.Evidence(tmp_path / "new/evidence.json")
    assert (again.verdicts, again.warning) == ({"toy.why": VERDICT}, "")


def evidence(**changed: object) -> str:
    verdict = {name: value for name, value in {**STORED, **changed}.items() if value != "gone"}
    return json.dumps({"schema": verify.SCHEMA, "verdicts": {"toy.why": verdict}})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "Expecting value: line 1 column 1 (char 0)"),
        (evidence()[:-9], None),
        (b"\xff\xfe", None),
        ("[" * 200_000, None),
        ("[]", None),
        ("null", None),
        ("{}", "it has no 'schema'"),
        ('{"schema": 1}', "it has no 'verdicts'"),
        ('{"schema": 0, "verdicts": {}}', "its schema is 0, this version writes 1"),
        ('{"schema": 2, "verdicts": {}}', "its schema is 2, this version writes 1"),
        ('{"schema": 1, "verdicts": []}', None),
        ('{"schema": 1, "verdicts": {"toy.why": true}}', None),
        (evidence(key="gone"), None),
        (evidence(more="x"), None),
        (evidence(key=1), "`key` is not of type str"),
        (evidence(passed="yes"), "`passed` is not of type bool"),
        (evidence(passed=1), "`passed` is not of type bool"),
        (evidence(failure=None), "`failure` is not of type str"),
        (evidence(commit=7), "`commit` is not of type str"),
        (evidence(versions=["3.11"]), "`versions` is not of type dict"),
        (evidence(versions={"python": 3.11}), "a version is not of type str"),
        (evidence(at=0), "`at` is not of type str"),
        (evidence(seconds="fast"), "`seconds` is not of type float"),
    ],
)
def test_evidence_in_any_other_form_is_set_aside_with_a_warning(
    tmp_path: Path, content: str | bytes, reason: str | None
) -> None:
    file = tmp_path / "evidence.json"
    data = content.encode() if isinstance(content, str) else content
    file.write_bytes(data)
    found = verify.Evidence(file)
    assert found.verdicts == {}
    told = re.escape(reason) if reason else ".+"
    pattern = rf"{file} is not trusted \({told}\); it is now evidence\.set-aside\.json, and the answers run anew"
    assert re.fullmatch(pattern, found.warning), found.warning
    assert not file.exists()
    assert (tmp_path / "evidence.set-aside.json").read_bytes() == data
    assert verify.Evidence(file).warning == ""


@pytest.mark.parametrize("where", ["os.fdopen", "pathlib.Path.replace"])
def test_evidence_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    found = verify.Evidence(tmp_path / "evidence.json")
    found.verdicts = {"toy.why": VERDICT}
    found.save(["toy.why"])
    before = (tmp_path / "evidence.json").read_bytes()

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(where, stop)
    found.verdicts["toy.how"] = VERDICT
    with pytest.raises(KeyboardInterrupt):
        found.save(["toy.why", "toy.how"])
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["evidence.json"]
    assert (tmp_path / "evidence.json").read_bytes() == before


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
