"""A small sound knowledge base to spoil, and the cases of bad input under cards/.

A case is a file (or a folder, where it takes several) and a .txt file of the same name with the whole report expected.
By its suffix the file becomes a card (.yml), the bibliography (.bib), a module (.python, so that no tool takes it for
code of this project), the settings (.toml) or a page (.md) of the sound knowledge base; a folder is laid over it.
To add a case, add its two files.
"""

import functools
import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from quaere import cli
from quaere.content.bibliography.dates import of_fields
from quaere.content.bibliography.reference import Name, Reference
from quaere.content.bibliography.tex import Text
from quaere.content.model import Library
from quaere.errors import AuthorError, Faults, Place
from quaere.project import Project
from tests.engine.forked import MAIN, Forks

CARDS = Path(__file__).parent / "cards"

SOUND = {
    "papers/toy.yml": """\
cite: toy2020
idea: A sound idea.
implementation: null
questions:
  - {id: why, ask: Why?, asked: 2026-01-31}
  - {id: how, ask: How?, asked: 2026-01-31, answer: By hand.}
""",
    "papers/references.bib": """\
@article{toy2020,
  author = {Maker, Ann},
  title = {Toys},
  year = {2020},
}
""",
    "reference_impl/__init__.py": "",
}


def reference(key: str = "toy2020", kind: str = "article", names: Iterable[Name] = (), **fields: str) -> Reference:
    """Make a reference of plain texts."""
    texts = {name: Text.of(text) for name, text in fields.items()}
    place = Place("papers/references.bib")
    return Reference(key, kind, texts, {"author": tuple(names)}, of_fields(fields), {key: ""}, place)


@dataclass(frozen=True)
class Base:
    """A knowledge base in a folder of its own."""

    root: Path

    def write(self, files: Mapping[str, str | bytes]) -> None:
        for path, content in files.items():
            file = self.root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode() if isinstance(content, str) else content)

    def lay_over(self, case: Path) -> None:
        """Put a case's file, or all files of its folder, where it belongs."""
        folders = {".yml": "papers", ".python": "reference_impl", ".md": "docs"}
        fixed = {".bib": "papers/references.bib", ".toml": "pyproject.toml"}
        for file in [case] if case.is_file() else [path for path in case.rglob("*") if path.is_file()]:
            name = f"{file.stem}.py" if file.suffix == ".python" else file.name
            if case.is_dir():
                path = file.relative_to(case).with_name(name).as_posix()
            else:
                path = fixed.get(file.suffix) or f"{folders[file.suffix]}/{name}"
            self.write({path: file.read_bytes()})

    @property
    def project(self) -> Project:
        return Project.find(self.root)

    def library(self) -> Library:
        """Read a library that must be sound."""
        library, faults = self.project.check()
        assert not faults, str(Faults(faults))
        return library

    def report(self) -> str:
        """Return all that is wrong, as `quaere check` prints it, with paths from the root."""
        try:
            faults: Iterable[AuthorError] = self.project.check()[1]
        except Faults as error:
            faults = error.errors
        except AuthorError as error:
            faults = [error]
        return str(Faults(faults)).replace(f"{self.root}/", "")

    def files(self) -> dict[str, tuple[bytes, int]]:
        """Return the content and the time of change of each file."""
        return {
            path.relative_to(self.root).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
            for path in self.root.rglob("*")
            if path.is_file()
        }

    def quaere(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the command in the folder, in a process of its own."""
        return self.python(MAIN, *arguments, **environment)

    def python(self, code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run code in the folder, in a process of its own that has imported quaere."""
        variables = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", **environment}
        return forks(os.getpid()).run(code, arguments, self.root, variables)


@functools.cache
def forks(_process: int) -> Forks:
    """Return what calls the command. A copy of this process has its own, for one makes calls one after another."""
    return Forks()


@pytest.fixture
def make_base(tmp_path: Path) -> Callable[[str], Base]:
    """Make a sound knowledge base in a folder of a given name."""

    def make(name: str) -> Base:
        base = Base(tmp_path / name)
        base.write(SOUND)
        return base

    return make


@pytest.fixture
def base(make_base: Callable[[str], Base]) -> Base:
    return make_base("base")


Inside = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def inside(base: Base, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Inside:
    """Run the command in the folder of the knowledge base, in this process, which takes less than one of its own."""
    monkeypatch.chdir(base.root)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        monkeypatch.setattr(sys, "argv", ["quaere", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        code, streams = caught.value.code, capsys.readouterr()
        return subprocess.CompletedProcess(arguments, code if isinstance(code, int) else 0, streams.out, streams.err)

    return run


def cases(*suffixes: str) -> list[Path]:
    """Return the cases under cards/ whose names end so; an empty suffix stands for the folders."""
    return sorted(path for path in CARDS.iterdir() if path.suffix in suffixes)


def seconds(run: Callable[[str], object], text: str) -> float:
    """Return how long something takes with a text, in seconds of the processor."""
    # Python's own search for garbage looks at all that there is, the more often the more there is.
    gc.disable()
    try:
        started = time.process_time()
        run(text)
        return time.process_time() - started
    finally:
        gc.enable()
