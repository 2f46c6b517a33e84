"""Draw mutants of the implementation at random, and see how many its tests and answers catch: `make mutants-drawn`.

A mutant is the implementation with one change by an operator of mutmut, or without one call whose result nobody uses;
experiments, docstrings and annotations are left out. It is run against the tests and answers that reach the changed
module, its own first, up to the first that fails, in whatever way.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jaxtyping
import libcst as cst
from mutmut.mutation.mutators import OPERATORS_TYPE, mutation_operators

from quaere.content.model import Library
from quaere.project import Project
from tools import trials
from tools.trials import Kind, Outcome, Trial

TIMEOUT = 600.0


@dataclass(frozen=True)
class Mutant:
    """A file with one change: its number in the draw, the file, and its text."""

    number: int
    file: str
    text: str


def _no_call(statement: cst.Expr) -> Iterator[cst.CSTNode]:
    if isinstance(statement.value, cst.Call):
        yield cst.Pass()


_SHAPES = set(dir(jaxtyping))
_OPERATORS: OPERATORS_TYPE = [*mutation_operators, (cst.Expr, _no_call)]


class _Changes(cst.CSTVisitor):
    """Finds what the operators change in a module: each node with what may stand in its place."""

    def __init__(self) -> None:
        super().__init__()
        self.found = list[tuple[cst.CSTNode, cst.CSTNode]]()

    def on_visit(self, node: cst.CSTNode) -> bool:
        for kind, operator in _OPERATORS:
            if isinstance(node, kind):
                self.found += [(node, changed) for changed in operator(node)]
        # Of an alias, such as `State = tuple[Float[Tensor, "b d"], ...]`, the parts are annotations as well.
        is_shape = isinstance(node, cst.Subscript) and isinstance(node.value, cst.Name) and node.value.value in _SHAPES
        return not is_shape and not isinstance(node, cst.Annotation | cst.Decorator)


def draw(root: Path, files: Sequence[str], count: int, seed: int) -> Iterator[Mutant]:
    """Draw mutants, all equally likely; those that don't compile, or hold one `None` more, are drawn again."""
    modules = {file: cst.parse_module((root / file).read_text(encoding="utf-8")) for file in files}
    changes = list[tuple[str, cst.CSTNode, cst.CSTNode]]()
    for file, module in modules.items():
        visitor = _Changes()
        module.visit(visitor)
        changes += [(file, *change) for change in visitor.found]
    random.Random(seed).shuffle(changes)
    known, number = {file: ast.dump(ast.parse(module.code)) for file, module in modules.items()}, 0
    for file, node, changed in changes:
        if number == count:
            return
        text = cst.ensure_type(modules[file].deep_replace(node, changed), cst.Module).code
        try:
            differs = ast.dump(ast.parse(text)) != known[file]
        except SyntaxError:
            continue
        # None in the place of a value mostly crashes at once, which shows nothing.
        if differs and text.count("None") <= modules[file].code.count("None"):
            number += 1
            yield Mutant(number, file, text)


def implementation(root: Path, package: str) -> list[str]:
    """Return the files of the implementation, experiments aside."""
    found = [path.relative_to(root).as_posix() for path in (root / package).rglob("*.py")]
    return sorted(file for file in found if "/experiments/" not in file and not file.endswith("/__init__.py"))


def covering(root: Path, library: Library, files: Sequence[str]) -> dict[str, list[str]]:
    """Return, by file, what pytest is given to run the tests and the answers that reach the file, its own first."""
    modules = {file.removesuffix(".py").replace("/", "."): file for file in files}
    tests = [path.relative_to(root).as_posix() for path in sorted((root / library.settings.tests).glob("test_*.py"))]

    @cache
    def imported(file: str) -> frozenset[str]:
        names = set[str]()
        for node in ast.walk(ast.parse((root / file).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names |= {f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)}
        return frozenset(modules[name] for name in names & modules.keys())

    def reached(file: str) -> set[str]:
        found, waiting = set[str](), [file]
        while waiting:
            new = imported(waiting.pop()) - found
            found |= new
            waiting += new
        return found

    reach = {test: reached(test) for test in tests}
    for answer in library.answers:
        files_of = (modules[name] for name in answer.imports if name in modules)
        reach[f"{answer.place.file}::{answer.id}"] = {answer.place.file, *files_of}

    def distance(test: str, file: str) -> tuple[bool, bool]:
        return Path(test.partition("::")[0]).stem.removeprefix("test_") != Path(file).stem, "::" in test

    return {
        file: sorted((test for test in reach if file in reach[test]), key=lambda test: distance(test, file))
        for file in files
    }


def changed(root: Path, mutant: Mutant) -> str:
    """Return where a mutant was changed, and how."""
    before, after = (root / mutant.file).read_text(encoding="utf-8").splitlines(), mutant.text.splitlines()
    diff = list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]
    line = diff[0].split()[1].lstrip("-").partition(",")[0]
    return "\n".join([f"{mutant.file}:{line}", *(f"    {text}" for text in diff[1:] if not text.startswith("@@"))])


def _row(root: Path, mutant: Mutant, outcome: Outcome) -> str:
    word = {Kind.PASSED: "survived", Kind.MISSING: "no test"}.get(outcome.kind, "caught")
    by = f"  by {outcome.test.rpartition('/')[2]}: {outcome.why}"[:160] if word == "caught" else ""
    return f"{mutant.number:4}  {word:8}  {outcome.seconds:6.1f} s  {changed(root, mutant)}\n{by}".rstrip()


def main() -> int:
    """Draw mutants and run them; return the exit code."""
    parser = argparse.ArgumentParser(prog="make mutants-drawn", description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="how many mutants (200)")
    parser.add_argument("--seed", type=int, default=0, help="the seed of the draw (0)")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of mutants of this draw; all, if left out")
    parser.add_argument("--jobs", type=int, default=1, help="how many processes at once (1)")
    parser.add_argument("--project", type=Path, default=Path(), help="a folder of the knowledge base")
    asked = parser.parse_args()
    os.nice(10)
    project = Project.find(asked.project)
    root, library = project.root, project.read()[0]
    files = implementation(root, project.settings.implementation)
    covers = covering(root, library, files)
    drawn = draw(root, files, asked.count, asked.seed)
    mutants = [one for one in drawn if asked.only is None or one.number in asked.only]
    trials.preload(root, project.settings, [test for tests in covers.values() for test in tests])
    to_run = [Trial(covers[mutant.file], {mutant.file: mutant.text}) for mutant in mutants]
    started, survivors = time.monotonic(), list[str]()
    for number, outcome in trials.run(root, to_run, TIMEOUT, asked.jobs):
        row = _row(root, mutants[number], outcome)
        print(row, flush=True)
        if outcome.kind in (Kind.PASSED, Kind.MISSING):
            survivors.append(row)
    count = len(mutants)
    print(f"\n{count - len(survivors)} of {count} mutants caught, in {time.monotonic() - started:.0f} s; left:")
    print(*survivors, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(trials.interruptible(main))
