"""One folder's knowledge base: where its parts lie, and the road from cards to pages from end to end."""

from __future__ import annotations

import contextlib
import datetime
import importlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from quaere import atomic
from quaere.content.bibliography import export
from quaere.content.check import check
from quaere.content.load import load
from quaere.content.model import Answer, Library, Module, Verdict
from quaere.content.results import Report, Result
from quaere.content.settings import Settings, read
from quaere.content.states import State
from quaere.errors import AuthorError, ConfigError, MisuseError, Place
from quaere.running import hardware, verify
from quaere.running.experiments import Run
from quaere.running.options import Device, Size

_MARK = ".written-by-quaere"


@dataclass(frozen=True)
class Project:
    """A knowledge base in a folder."""

    root: Path
    settings: Settings

    @classmethod
    def find(cls, folder: Path) -> Project:
        """Find the knowledge base that a folder belongs to.

        Raises:
            ConfigError: Neither the folder nor one above it has a folder of cards, or the settings are at fault.
        """
        for root in (folder.resolve(), *folder.resolve().parents):
            settings = read(root / "pyproject.toml")
            if settings or (root / Settings().papers).is_dir():
                return cls(root, settings or Settings())
        problem, hint = "no knowledge base here", "go to a folder with `papers/`, or name one with --project"
        raise MisuseError(Place(str(folder), 0), problem, hint)

    def read(self) -> tuple[Library, list[AuthorError]]:
        """Read the library, and the faults of what can't be part of it."""
        return load(self.root, self.settings, self.versions)

    def check(self) -> tuple[Library, list[AuthorError]]:
        """Read the library, with all that is wrong in and between its parts."""
        library, faults = self.read()
        return library, [*faults, *check(library)]

    @cached_property
    def versions(self) -> Mapping[str, str]:
        """The versions that answers run on."""
        return verify.versions(self.settings.versions)

    @cached_property
    def evidence(self) -> verify.Evidence:
        """What came of running answers in the past."""
        return verify.Evidence(self.root / self.settings.evidence)

    def verdicts(self) -> Mapping[str, Verdict]:
        """Return the verdicts by question, stale ones included: `Asked.state` tells."""
        return self.evidence.verdicts

    def stale(self, library: Library) -> list[Answer]:
        """Return the answers that `verify` would run."""
        return verify.stale(self._answers(library), self.verdicts())

    def verify(
        self, library: Library, answers: Iterable[Answer], timeout: float | None = None
    ) -> Iterator[tuple[Answer, Verdict, str]]:
        """Run answers, and keep the verdicts, each as soon as it is there.

        Yields:
            Each answer with its verdict and the doctest as it ran.
        """
        # All that are in code: a card at fault must not cost its answers their verdicts.
        known = {answer.id for answer in library.answers}
        limit = timeout or self.settings.timeout
        for answer, verdict, transcript in verify.run(
            list(answers), self.root, self.settings.environment, self.versions, limit
        ):
            self.evidence.verdicts[answer.id] = verdict
            self.evidence.save(known)
            yield answer, verdict, transcript

    def run(self, module: Module, slug: str, size: Size, seed: int, device: Device, resume: bool) -> tuple[Result, Run]:
        """Run an experiment in this process; return its result, and the run with its folder.

        All but a smoke run also write the result beside the cards, from where the site draws it.

        Raises:
            ResumeError: The code has changed since the run that is to be taken up again.
            ImportError: The experiment needs a package that is not installed.
        """
        folder = self.root / ".quaere" / "runs" / f"{slug}-{size}-{seed}"
        results = f"{self.settings.papers}/results"
        # Of the code that runs, whatever becomes of the files meanwhile; other experiments' new results don't count.
        commit = verify.commit(self.root, besides=results)
        # Its results must be importable by name in whatever process runs this.
        sys.path.insert(0, str(self.root))
        experiment = importlib.import_module(module.name).experiment
        run = Run(folder, size, seed, device, key=module.key, resume=resume)
        with run.shown():
            report: Report = experiment(run)
        result = Result(
            **dict(report),
            experiment=slug,
            size=size,
            key=module.key,
            commit=commit,
            at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            seconds=run.seconds,
            device=hardware.describe(device),
            versions=self.versions,
        )
        if run.is_first:
            atomic.write(folder / "result.json", result.json_text())
            if size is not Size.SMOKE:
                atomic.write(self.root / results / f"{slug}.json", result.json_text())
        return result, run

    def write_figures(self, result: Result, folder: Path) -> list[Path]:
        """Draw a result's figures into a folder, for light grounds; return the files."""
        from quaere.pages import figures

        files = []
        for figure in result.figures:
            file = folder / f"{figure.id}.svg"
            atomic.write(file, figures.draw(figure.model_dump_json(), "light"))
            files.append(file)
        return files

    def write_notebook(self, module: Module, size: str, file: Path) -> None:
        """Write an experiment as a notebook."""
        from quaere.running import notebook

        source = (self.root / module.file).read_text(encoding="utf-8")
        atomic.write(file, notebook.written(source, module.name, size))

    @staticmethod
    def _answers(library: Library) -> list[Answer]:
        return [asked.answer for asked in library.questions.values() if asked.answer]

    def rows(self, library: Library) -> list[dict[str, str | int | float | None]]:
        """Return the questions as a table for programs, in the order of the cards."""
        verdicts = self.verdicts()
        rows = []
        for asked in library.questions.values():
            answer, verdict = asked.answer, verdicts.get(asked.id)
            state = asked.state(verdict)
            ran = verdict if state in (State.DEMONSTRATED, State.BROKEN) else None
            row: dict[str, str | int | float | None] = {
                "paper": asked.paper.slug,
                "id": asked.question.id,
                "ask": asked.question.ask,
                "state": state.value,
                "asked": asked.question.asked.isoformat(),
                "answer": asked.question.answer or (answer.prose if answer else None),
                "module": answer.module if answer else None,
                "line": answer.place.line if answer else None,
                "verified_at": ran.at if ran else None,
                **{name: ran.versions[name] if ran else None for name in self.settings.versions},
                "seconds": ran.seconds if ran else None,
            }
            rows.append(row)
        return rows

    def pages(self, library: Library, verdicts: Mapping[str, Verdict], repo: str) -> Mapping[str, str | bytes]:
        """Render the generated pages, by path below the site's folder of pages."""
        from quaere.pages.render import render

        citations = {
            slug: {
                "BibTeX": export.bibtex([paper.reference]),
                "CSL-JSON": export.csl_json([paper.reference]),
            }
            for slug, paper in library.papers.items()
        }
        return render(library, verdicts, citations, repo, self._docs(library))

    def _docs(self, library: Library) -> dict[str, str]:
        """Return the pages written by hand, by path below their folder."""
        return {path.removeprefix(f"{self.settings.docs}/"): text for path, text in library.docs.items()}

    def write_pages(self, library: Library, folder: Path) -> int:
        """Write the pages, with all that a site generator without our plugin needs to build them; count the files.

        The folder appears whole or not at all. It is new, empty, or one that was written so before.

        Raises:
            ConfigError: The folder holds something else, or there is no mkdocs.yml.
        """
        from quaere.pages.render import standalone

        if folder.exists() and not (folder / _MARK).exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise MisuseError(
                Place(str(folder), 0), "this holds something else than rendered pages", "name a new folder"
            )
        try:
            config = (self.root / "mkdocs.yml").read_text(encoding="utf-8")
        except FileNotFoundError:
            problem, hint = "there is no such file", "write one: the rendered folder's configuration is made of it"
            raise ConfigError(Place("mkdocs.yml"), problem, hint) from None
        verdicts = self.verdicts()
        repo = (match := re.search(r"^repo_url:.*?(https://[^\s\]]+)", config, re.MULTILINE)) and match[1]
        files = standalone(
            library,
            verdicts,
            self.pages(library, verdicts, repo or ""),
            _read_all(self.root / self.settings.docs),
            {f"{self.settings.implementation}/{path}": content for path, content in self._implementation().items()},
            config,
        )
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".quaere-") as scratch:
            fresh = Path(scratch) / "fresh"
            for path, content in {**files, _MARK: "Written by `quaere render`; it may be written anew.\n"}.items():
                file = fresh / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content.encode() if isinstance(content, str) else content)
            if folder.exists():
                folder.rename(Path(scratch) / "former")
            fresh.rename(folder)
        return len(files)

    def _implementation(self) -> dict[str, str | bytes]:
        files = _read_all(self.root / self.settings.implementation)
        return {path: content for path, content in files.items() if path.endswith(".py")}

    def mkdocs(self, *arguments: str) -> int:
        """Run MkDocs on this knowledge base's mkdocs.yml, and return its exit code: 0, or 1 for content at fault."""
        command = [sys.executable, "-m", "mkdocs", *arguments, "--config-file", str(self.root / "mkdocs.yml")]
        # Material announces the end of MkDocs 1 at every build; docs/decisions/ says what follows from it.
        environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
        with contextlib.suppress(KeyboardInterrupt):
            return min(subprocess.run(command, env=environment, check=False).returncode, 1)
        return 0


def _read_all(folder: Path) -> dict[str, str | bytes]:
    """Return all files below a folder by path, Markdown as text."""
    return {
        path.relative_to(folder).as_posix(): path.read_text("utf-8") if path.suffix == ".md" else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
