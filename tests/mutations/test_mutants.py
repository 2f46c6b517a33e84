"""The runner of mutations and of drawn mutants, on a made-up knowledge base."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = "tests/papers/test_toy.py"

TOY = {
    "pyproject.toml": "[tool.quaere]\n",
    "papers/references.bib": "@article{toy2020,\n  author = {Maker, Ann},\n  title = {Toys},\n  year = {2020},\n}\n",
    "papers/toy.yml": """\
cite: toy2020
idea: A sound idea.
questions:
  - {id: how-many, ask: How many?, asked: 2026-01-31}
  - {id: what-sum, ask: What sum?, asked: 2026-01-31}
  - {id: why, ask: Why?, asked: 2026-01-31}
""",
    "reference_impl/__init__.py": "",
    "reference_impl/toy.py": '''\
"""Toys."""

FACTOR = 2


def count(toys: list[str]) -> int:
    """
    Answers: toy.how-many
        As many as there are.

        >>> from reference_impl.toy import count
        >>> count(["ball", "kite"])
        2
    """
    return len(toys)


def total(*prices: int, tax: int = 0) -> int:
    """
    Answers: toy.what-sum
        Double.

        >>> from reference_impl.toy import total
        >>> total(1, 2) > 0
        True
    """
    return FACTOR * sum(prices) + tax
''',
    TESTS: """\
import pytest

from reference_impl.toy import count, total


@pytest.mark.parametrize("toys", [[], ["ball"]])
def test_count(toys):
    assert count(toys) == len(toys)


def test_total():
    assert total(1, 2) == 6


def test_nothing_is_refused():
    with pytest.raises(TypeError):
        total("ball")
""",
}


def mutation(old: str, new: str, *fails: str, why: str = "it is false", file: str = "reference_impl/toy.py") -> str:
    names = ", ".join(f'"{name}"' for name in fails)
    return f'[[mutation]]\nwhy = "{why}"\nfile = "{file}"\nold = """{old}"""\nnew = """{new}"""\nfails = [{names}]\n\n'


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    root = tmp_path / "toy"
    write(root, TOY)
    (tmp_path / "scratch").mkdir()
    return root


def write(root: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")


def begin(root: Path, *arguments: str, module: str = "tools.mutants") -> subprocess.Popen[str]:
    path = os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", module, "--project", str(root), *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(root.parent / "scratch")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def mutants(root: Path, *arguments: str) -> tuple[int, str, str]:
    """Run the command; return its exit code and what it printed, and see that the tree is as it was."""
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and ".quaere" not in path.parts}
    process = begin(root, *arguments)
    printed, complained = process.communicate(timeout=60)
    kept = {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and ".quaere" not in path.parts}
    assert kept == before
    assert not list((root.parent / "scratch").iterdir())
    return process.returncode, printed, complained


def words(printed: str) -> list[str]:
    """Return the first words of the table: of each mutation, and of each that must fail by it."""
    return [line.split()[0] for line in printed.splitlines()[:-1]]


def test_what_must_fail_is_seen_to_fail(toy: Path) -> None:
    written = [
        mutation("len(toys)", "1", "toy.how-many", f"{TESTS}::test_count[toys0]"),
        mutation("FACTOR = 2", "FACTOR = 3", f"{TESTS}::test_total"),
        mutation("* sum(prices)", "* len(prices)", f"{TESTS}::test_nothing_is_refused"),
    ]
    write(toy, {"tests/mutations/toy.toml": "".join(written)})
    code, printed, complained = mutants(toy)
    assert (code, complained) == (0, "")
    assert sorted(words(printed)) == ["caught"] * 3 + ["failed"] * 4
    assert printed.splitlines()[-1].startswith("3 of 3 mutations caught, in ")


def test_one_that_passes_all_the_same_is_shown_and_counts_as_a_failure(toy: Path) -> None:
    written = [
        mutation("len(toys)", "1", "toy.how-many", why="one toy"),
        mutation("FACTOR = 2", "FACTOR = 3", "toy.what-sum", f"{TESTS}::test_total", why="treble"),
    ]
    write(toy, {"tests/mutations/toy.toml": "".join(written)})
    code, printed, _ = mutants(toy, "toy", "--jobs", "1")
    assert code == 1
    assert words(printed) == ["caught", "failed", "survived", "passed", "failed"]
    assert "treble" in printed
    assert "test_total: AssertionError: assert 9 == 6" in printed
    assert "1 of 2 mutations caught" in printed


@pytest.mark.parametrize(
    ("new", "told"),
    [
        ("len(toy)", "NameError: name 'toy' is not defined"),
        ("len(toys", "'(' was never closed"),
        ("len(toys) + int(toys[0])", "ValueError: invalid literal"),
        ("__import__('os')._exit(0)", "its process ended with exit code 0"),
        ("__import__('toys')", "ModuleNotFoundError: No module named 'toys'"),
    ],
)
def test_a_crash_is_not_what_was_asked_for(toy: Path, new: str, told: str) -> None:
    fails = "toy.how-many", f"{TESTS}::test_count[toys1]"
    write(toy, {"tests/mutations/toy.toml": mutation("len(toys)", new, *fails)})
    code, printed, _ = mutants(toy)
    assert code == 1
    assert words(printed) == ["crashed", "crashed", "crashed"]
    assert printed.count(told) == 2


def test_what_fails_by_itself_shows_nothing(toy: Path) -> None:
    written = mutation("len(toys)", "1", "toy.how-many") + mutation("= 2", "= 3", f"{TESTS}::test_count[none]")
    write(toy, {"tests/mutations/toy.toml": written})
    file = toy / "reference_impl/toy.py"
    file.write_text(file.read_text(encoding="utf-8").replace("        2\n", "        3\n"), encoding="utf-8")
    code, printed, complained = mutants(toy)
    assert code == 1
    assert printed.startswith("0 of 0 mutations caught")
    assert sorted(complained.splitlines()) == [
        'reference_impl/toy.py::toy.how-many failed without any mutation: count(["ball", "kite"]) gives 2',
        "tests/papers/test_toy.py::test_count[none] missing without any mutation: pytest runs no such test",
    ]


def test_all_that_is_wrong_in_the_files_is_told_at_once(toy: Path) -> None:
    sound = mutation("FACTOR = 2", "FACTOR = 3", f"{TESTS}::test_total")
    written = [
        'note = "none"\n',
        sound.replace("why =", "wy ="),
        mutation("toys", "toy", "toy.how-many"),
        mutation("FACTOR = 7", "FACTOR = 3", "toy.how-much"),
        mutation("FACTOR = 2", "FACTOR = 3", "toy.why", f"{TESTS}::test_totl", "tests/papers/test_toys.py"),
        mutation("x", "y", "toy.how-many", file="reference_impl/toys.py"),
        mutation("x", "y", "toy.how-many", file=TESTS),
        mutation("FACTOR = 2", "FACTOR = 2", "toy.how-many"),
        mutation("FACTOR = 2", "FACTOR = 3"),
        mutation("FACTOR = 2", "FACTOR = 3", "toy.how-many").replace('["', '"').replace('"]', '"'),
    ]
    files = {"toy": "".join(written), "toyy": sound, "ball": ""}
    write(toy, {f"tests/mutations/{name}.toml": text for name, text in files.items()})
    code, printed, complained = mutants(toy)
    assert (code, printed) == (1, "")
    assert (
        complained
        == """\
tests/mutations/ball.toml: there is no card `ball`
  hint: known: `toy`
tests/mutations/toy.toml:1:1: unknown key `note`
  hint: begin each mutation with `[[mutation]]`
tests/mutations/toy.toml:2:1: `why` is missing
  hint: a mutation has why, file, old, new and fails
tests/mutations/toy.toml:3:1: unknown key `wy`
  hint: did you mean `why`?
tests/mutations/toy.toml:12:1: `old` occurs in lines 6, 15 of reference_impl/toy.py
  hint: make it longer, so that it is there once
tests/mutations/toy.toml:19:1: `old` does not occur in reference_impl/toy.py
  hint: copy it from the file as it is now
tests/mutations/toy.toml:21:1: there is no question `toy.how-much`
  hint: did you mean `toy.how-many`?
tests/mutations/toy.toml:28:1: `toy.why` is not answered in code
  hint: did you mean `toy.what-sum` or `toy.how-many`?
tests/mutations/toy.toml:28:1: there is no file `tests/papers/test_toys.py`
  hint: did you mean `tests/papers/test_toy.py`?
tests/mutations/toy.toml:28:1: there is no test `test_totl` in tests/papers/test_toy.py
  hint: did you mean `test_total` or `test_count`?
tests/mutations/toy.toml:32:1: there is no file `reference_impl/toys.py`
  hint: did you mean `reference_impl/toy.py` or `reference_impl/__init__.py`?
tests/mutations/toy.toml:39:1: `tests/papers/test_toy.py` can't be mutated
  hint: mutations change files in `reference_impl/` or `papers/`
tests/mutations/toy.toml:48:1: `new` is the same as `old`
  hint: write what makes the answer false
tests/mutations/toy.toml:56:1: `fails`: list should have at least 1 item after validation, not 0
  hint: name what must fail: questions, or tests as pytest does
tests/mutations/toy.toml:63:1: `fails`: input should be a valid list
  hint: name what must fail: questions, or tests as pytest does
tests/mutations/toyy.toml: there is no card `toyy`
  hint: did you mean `toy`?
"""
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[mutation]]\nwhy = it\n", "2:7: not TOML: Invalid value"),
        ("[mutation]\nwhy = 'it'\n", "1:1: `mutation` is no list"),
    ],
)
def test_a_file_that_can_not_be_read_is_told_with_its_line(toy: Path, text: str, told: str) -> None:
    write(toy, {"tests/mutations/toy.toml": text})
    code, _, complained = mutants(toy)
    assert code == 1
    assert complained.splitlines()[0] == f"tests/mutations/toy.toml:{told}"


def test_drawn_mutants_that_nothing_catches_are_listed(toy: Path) -> None:
    process = begin(toy, "--jobs", "2", module="tools.drawn")
    printed, complained = process.communicate(timeout=120)
    assert (process.returncode, complained) == (0, "")
    # Neither docstrings nor annotations are changed.
    rows, left = printed.split("\n\n")
    changed = {line.strip() for line in rows.splitlines() if line.startswith("    +")}
    assert changed == {
        "+FACTOR = 3",
        "+def total(*prices: int, tax: int = 1) -> int:",
        "+    return FACTOR / sum(prices) + tax",
        "+    return FACTOR * sum(prices) - tax",
    }
    assert left.splitlines()[0].startswith("3 of 4 mutants caught, in ")
    assert [line.strip() for line in left.splitlines()[2:]] == [
        "-    return FACTOR * sum(prices) + tax",
        "+    return FACTOR * sum(prices) - tax",
    ]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_nothing_behind(toy: Path, number: int, code: int) -> None:
    pid = toy.parent / "pid"
    new = (
        f"__import__('pathlib').Path('{pid}').write_text(str(__import__('os').getpid())) + __import__('time').sleep(60)"
    )
    write(toy, {"tests/mutations/toy.toml": mutation("len(toys)", new, "toy.how-many")})
    process = begin(toy)
    deadline = time.monotonic() + 60
    while not (pid.exists() and pid.read_text()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == code
    assert not list((toy.parent / "scratch").iterdir())
    assert not Path(f"/proc/{pid.read_text()}").exists()
