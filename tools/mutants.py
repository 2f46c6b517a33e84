"""Make what an answer or a test says false, and see that it fails: `make mutants`.

`tests/mutations/<slug>.toml` holds the mutations of a card, each with the answers and tests that must fail by it. They
must fail by an assertion, or by what a doctest prints: a crash shows nothing of what they say.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import re
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from quaere import atomic
from quaere.content.model import Library
from quaere.errors import AuthorError, Faults, Place, nearest
from quaere.project import Project
from tools import trials
from tools.trials import Kind, Outcome, Trial

FOLDER = "tests/mutations"
TIMEOUT = 120.0
_PASSED = ".quaere/mutants.json"


class MutationError(AuthorError):
    """An error in a file of mutations."""


class _Written(BaseModel):
    """A mutation, as it is written."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    why: str = Field(min_length=1)
    file: str
    old: str = Field(min_length=1)
    new: str
    fails: list[str] = Field(min_length=1)


@dataclass(frozen=True)
class Mutation:
    """A change of one file, and what must fail by it: the node ids of pytest by the names in the file of mutations."""

    place: Place
    why: str
    file: str
    text: str
    fails: Mapping[str, str]

    @property
    def name(self) -> str:
        """Its place, as short as it is unique."""
        return f"{Path(self.place.file).stem}:{self.place.line}"


def read(root: Path, library: Library, slugs: Iterable[str] = ()) -> tuple[list[Mutation], list[AuthorError]]:
    """Read the mutations of some cards, or of all, and the faults of those that can't be applied."""
    mutations, faults = list[Mutation](), list[AuthorError]()
    stems = list(slugs) or sorted(path.stem for path in (root / FOLDER).glob("*.toml"))
    for stem in stems:
        file = f"{FOLDER}/{stem}.toml"
        if stem not in library.papers:
            faults.append(MutationError(Place(file, 0), f"there is no card `{stem}`", nearest(stem, library.papers)))
        elif not (root / file).is_file():
            faults.append(MutationError(Place(file, 0), "there is no such file", "write the card's first mutation"))
        else:
            _File(root, library, file).read(mutations, faults)
    return mutations, faults


class _File:
    """A file of mutations that is read."""

    def __init__(self, root: Path, library: Library, file: str) -> None:
        self._root, self._library, self._file = root, library, file
        self._text = (root / file).read_text(encoding="utf-8")

    def read(self, mutations: list[Mutation], faults: list[AuthorError]) -> None:
        try:
            document = tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            problem, *place = re.split(r" \(at line (\d+), column (\d+)\)", str(error))
            line, column = map(int, place[:2] or (self._text.count("\n") + 1, 1))
            faults.append(MutationError(Place(self._file, line, column), f"not TOML: {problem}", "look at the quotes"))
            return
        written = document.pop("mutation", [])
        for key in document:
            faults.append(self._fault(-1, key, f"unknown key `{key}`", "begin each mutation with `[[mutation]]`"))
        if not isinstance(written, list) or not all(isinstance(table, dict) for table in written):
            faults.append(
                self._fault(-1, "mutation", "`mutation` is no list", "begin each mutation with `[[mutation]]`")
            )
            return
        for index, table in enumerate(written):
            try:
                own = list(self._faults(index, one := _Written.model_validate(table)))
            except ValidationError as error:
                own = [self._invalid(index, *one["loc"], kind=one["type"], said=one["msg"]) for one in error.errors()]
            faults += own
            if not own:
                text = self._source(one.file).replace(one.old, one.new)
                fails = {name: self._node(name) for name in one.fails}
                mutations.append(Mutation(self._place(index), one.why, one.file, text, fails))

    def _place(self, index: int, key: str = "") -> Place:
        """Return where a mutation begins, or where it has a key; of mutation -1, what stands before the first."""
        lines = self._text.split("\n")
        starts = [number for number, line in enumerate(lines, 1) if re.match(r"\s*\[\[\s*mutation\s*\]\]", line)]
        first, last = [0, *starts, len(lines)][index + 1 : index + 3]
        for number in range(first + 1, last + 1):
            if key and re.match(rf"\s*\"?{re.escape(key)}\"?\s*=", lines[number - 1]):
                return Place(self._file, number, 1)
        return Place(self._file, max(first, 1), 1)

    def _fault(self, index: int, key: str, problem: str, hint: str = "") -> MutationError:
        return MutationError(self._place(index, key), problem, hint)

    def _invalid(self, index: int, key: object, *_: object, kind: str, said: str) -> MutationError:
        if kind == "extra_forbidden":
            return self._fault(index, str(key), f"unknown key `{key}`", nearest(str(key), _Written.model_fields))
        if kind == "missing":
            return self._fault(index, "", f"`{key}` is missing", "a mutation has why, file, old, new and fails")
        hint = "name what must fail: questions, or tests as pytest does" if key == "fails" else "write a text"
        return self._fault(index, str(key), f"`{key}`: {said[:1].lower()}{said[1:]}", hint)

    def _source(self, file: str) -> str:
        return (self._root / file).read_text(encoding="utf-8")

    def _faults(self, index: int, one: _Written) -> Iterator[MutationError]:
        settings = self._library.settings
        sources = [*settings.implementation.split(), settings.papers]
        if ".." in one.file.split("/") or one.file.partition("/")[0] not in sources:
            hint = f"mutations change files in {' or '.join(f'`{name}/`' for name in sources)}"
            yield self._fault(index, "file", f"`{one.file}` can't be mutated", hint)
        elif not (self._root / one.file).is_file():
            files = [path.relative_to(self._root).as_posix() for path in self._root.glob(f"{sources[0]}/**/*.py")]
            yield self._fault(index, "file", f"there is no file `{one.file}`", nearest(one.file, files))
        elif (text := self._source(one.file)).count(one.old) != 1:
            lines = [str(text.count("\n", 0, found.start()) + 1) for found in re.finditer(re.escape(one.old), text)]
            told = ", ".join(lines[:9]) + ", …" * (len(lines) > 9)
            problem = f"`old` occurs in lines {told} of {one.file}" if lines else f"`old` does not occur in {one.file}"
            hint = "make it longer, so that it is there once" if lines else "copy it from the file as it is now"
            yield self._fault(index, "old", problem, hint)
        elif one.old == one.new:
            yield self._fault(index, "new", "`new` is the same as `old`", "write what makes the answer false")
        for name in one.fails:
            yield from self._unknown(index, name)

    def _unknown(self, index: int, name: str) -> Iterator[MutationError]:
        """Yield what is wrong with the name of an answer or a test."""
        file, _, test = name.partition("::")
        if "/" not in name:
            asked = self._library.questions.get(name)
            if not asked or not asked.answer:
                answered = [id for id, one in self._library.questions.items() if one.answer]
                problem = f"`{name}` is not answered in code" if asked else f"there is no question `{name}`"
                yield self._fault(index, "fails", problem, nearest(name, answered))
        elif not (self._root / file).is_file():
            files = [path.relative_to(self._root).as_posix() for path in self._root.glob("tests/**/test_*.py")]
            yield self._fault(index, "fails", f"there is no file `{file}`", nearest(file, files))
        elif (wanted := test.partition("[")[0]) not in (tests := {"", *_tests(self._source(file))}):
            yield self._fault(index, "fails", f"there is no test `{wanted}` in {file}", nearest(wanted, tests - {""}))

    def _node(self, name: str) -> str:
        if "/" in name:
            return name
        answer = self._library.questions[name].answer
        assert answer
        return f"{answer.place.file}::{name}"


def _tests(source: str) -> Iterator[str]:
    """Yield the tests of a module, as pytest names them, without their parameters."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.ClassDef):
            yield from (f"{node.name}::{one.name}" for one in node.body if isinstance(one, ast.FunctionDef))


def unsound(root: Path, nodes: Sequence[str], jobs: int) -> Iterator[tuple[str, Outcome]]:
    """Yield the answers and tests that don't pass as the tree is, with what came of them.

    Those that passed are not run again as long as the tree is the same.
    """
    state, file = _digest(root), root / _PASSED
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    passed = set(known.get("passed", ())) if known.get("state") == state else set[str]()
    nodes = [node for node in nodes if node not in passed]
    for number, outcome in trials.run(root, [Trial([node], {}) for node in nodes], TIMEOUT, jobs):
        if outcome.kind is Kind.PASSED:
            passed.add(nodes[number])
            atomic.write(file, json.dumps({"state": state, "passed": sorted(passed)}))
        else:
            yield nodes[number], outcome


def _digest(root: Path) -> str:
    """Return what changes with any file that an answer or a test may read."""
    digest = hashlib.sha256(sys.version.encode())
    for path in trials.files(root):
        if not path.startswith(f"{FOLDER}/"):
            digest.update(f"{path}\0".encode() + hashlib.sha256((root / path).read_bytes()).digest())
    return digest.hexdigest()


def apply(root: Path, mutations: Sequence[Mutation], jobs: int) -> Iterator[tuple[Mutation, dict[str, Outcome]]]:
    """Apply mutations, and yield each with what came of those that must fail, as soon as all have ended."""
    each = [(mutation, name) for mutation in mutations for name in mutation.fails]
    to_run = [Trial([mutation.fails[name]], {mutation.file: mutation.text}) for mutation, name in each]
    outcomes: dict[str, dict[str, Outcome]] = {}
    for number, outcome in trials.run(root, to_run, TIMEOUT, jobs):
        mutation, name = each[number]
        found = outcomes.setdefault(mutation.name, {})
        found[name] = outcome
        if len(found) == len(mutation.fails):
            yield mutation, found


def _row(mutation: Mutation, outcomes: Mapping[str, Outcome]) -> tuple[bool, str]:
    """Return whether a mutation was caught, and its lines of the table."""
    kinds = {outcome.kind for outcome in outcomes.values()}
    word = "caught" if kinds == {Kind.FAILED} else "survived" if kinds & {Kind.PASSED, Kind.MISSING} else "crashed"
    seconds = sum(outcome.seconds for outcome in outcomes.values())
    lines = [f"{word:8}  {mutation.name:24}  {seconds:5.1f} s  {mutation.why}"]
    for name in mutation.fails:
        told = f": {outcomes[name].why}"[:160] if outcomes[name].why and word != "caught" else ""
        lines.append(f"  {outcomes[name].kind:8}  {name}{told}")
    return word == "caught", "\n".join(lines)


def main() -> int:
    """Run the mutations; return the exit code."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("slug", nargs="*", help="cards; all, if left out")
    parser.add_argument("--list", action="store_true", help="list the mutations and run nothing")
    parser.add_argument("--jobs", type=int, default=2, help="how many processes at once (2)")
    parser.add_argument("--project", type=Path, default=Path(), help="a folder of the knowledge base")
    asked = parser.parse_args()
    started, project = time.monotonic(), Project.find(asked.project)
    root = project.root
    mutations, faults = read(root, project.read()[0], asked.slug)
    if faults:
        print(Faults(faults), file=sys.stderr)
        return 1
    if asked.list:
        for mutation in mutations:
            print(f"{mutation.name:24}  {mutation.why}", *(f"  {name}" for name in mutation.fails), sep="\n")
        return 0
    nodes = list(dict.fromkeys(chain.from_iterable(mutation.fails.values() for mutation in mutations)))
    trials.preload(root, project.settings, nodes)
    broken = dict(unsound(root, nodes, asked.jobs))
    for node, outcome in broken.items():
        print(f"{node} {outcome.kind} without any mutation: {outcome.why}", file=sys.stderr)
    mutations = [mutation for mutation in mutations if not broken.keys() & set(mutation.fails.values())]
    begun, caught = time.monotonic(), 0
    for mutation, outcomes in apply(root, mutations, asked.jobs):
        is_caught, row = _row(mutation, outcomes)
        caught += is_caught
        print(row, flush=True)
    count, now = len(mutations), time.monotonic()
    each = f" ({(now - begun) / count:.1f} s each)" if count else ""
    print(f"{caught} of {count} mutations caught, in {now - started:.0f} s{each}")
    return 0 if caught == count and not broken else 1


if __name__ == "__main__":
    sys.exit(trials.interruptible(main))
