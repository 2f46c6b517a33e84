"""One folder's knowledge base: where its parts lie, and the road from cards to pages from end to end."""

from __future__ import annotations

import datetime
import importlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files as package_files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quaere import atomic, stamp
from quaere.authoring import changes
from quaere.cache import Cache
from quaere.content import files, history
from quaere.content.bibliography import export
from quaere.content.check import check, leaks
from quaere.content.load import load
from quaere.content.model import Answer, Library, Module, Paper, Verdict
from quaere.content.private import without_private
from quaere.content.results import Report, Result
from quaere.content.settings import Settings, fault, read
from quaere.content.states import State
from quaere.errors import AuthorError, ConfigError, MisuseError, Place, Severity, nearest
from quaere.running import hardware, verify
from quaere.running.evidence import Evidence
from quaere.running.experiments import DeviceError, Run, SizeError
from quaere.running.options import Device, Size
from quaere.stamp import Inputs

if TYPE_CHECKING:
    from quaere.pages.view import View


class _Citations(Mapping[str, Mapping[str, str]]):
    """The citations of papers, by slug and by format; each is written when it is asked for."""

    def __init__(self, papers: Mapping[str, Paper]) -> None:
        self._papers = papers

    def __getitem__(self, slug: str) -> Mapping[str, str]:
        reference = self._papers[slug].reference
        return {"BibTeX": export.bibtex([reference]), "CSL-JSON": export.csl_json([reference])}

    def __iter__(self) -> Iterator[str]:
        return iter(self._papers)

    def __len__(self) -> int:
        return len(self._papers)


@dataclass(frozen=True)
class Project:
    """A knowledge base in a folder.

    Unless it `shows_private`, nobody who asks it for the library gets what its cards call private.
    """

    root: Path
    settings: Settings
    shows_private: bool = False

    @classmethod
    def find(cls, folder: Path, *, shows_private: bool = False) -> Project:
        """Find the knowledge base that a folder belongs to.

        Raises:
            ConfigError: Neither the folder nor one above it has a folder of cards, or the settings are at fault.
        """
        for root in (folder.resolve(), *folder.resolve().parents):
            settings = read(root / "pyproject.toml")
            if settings or (root / Settings().papers).is_dir():
                changes.complete(root)  # of a command that was killed
                return cls(root, settings or Settings(), shows_private)
        problem, hint = "no knowledge base here", "make one with `quaere init`, or name one with --project"
        raise MisuseError(Place(str(folder), 0), problem, hint)

    def again(self) -> Project:
        """Find it again, as its files are now; what is held of them is shared.

        Raises:
            ConfigError: The settings are at fault now.
        """
        fresh = Project.find(self.root, shows_private=self.shows_private)
        vars(fresh)["cache"] = self.cache
        return fresh

    @property
    def names(self) -> tuple[str, ...]:
        """The files and folders that a site follows from, relative to the root; they need not be there."""
        settings = self.settings
        folders = (settings.papers, settings.implementation, settings.docs, settings.templates, settings.tests)
        files = (settings.bibliography, settings.benchmarks, settings.evidence, settings.renamed, settings.extra)
        return (*folders, *files, "mkdocs.yml", "pyproject.toml", *history.files_of_git(self.root))

    @property
    def watched(self) -> list[Path]:
        """Those of them that are there."""
        return [path for name in self.names if (path := self.root / name).exists()]

    def look(self, site: Path) -> Inputs:
        """Look at these files; what looks as it did when a site was built is not read."""
        return stamp.look(self.root, self.names, stamp.file(self.root, site, "stamp"))

    def read(self, *, keep: bool = False, cache: Cache | None = None) -> tuple[Library, list[AuthorError]]:
        """Read the library, and the faults of what can't be part of it.

        Args:
            keep: Whether sound cards are kept for the next time.
            cache: What keeps them instead.
        """
        library, faults = self._read_all(keep=keep, cache=cache)
        return self._shown(library), faults

    def _read_all(self, *, keep: bool, cache: Cache | None = None) -> tuple[Library, list[AuthorError]]:
        cache = cache or (self.cache if keep else Cache(self.root / stamp.CACHE, is_read_only=True))
        return load(self.root, self.settings, self.versions, cache)

    def _shown(self, library: Library) -> Library:
        """Take out what is private: what others get has gone through here."""
        if self.shows_private:
            return library
        shown = without_private(library)
        if shown is not library:
            self._others.update({one.id for one in self._answers(library)} - {one.id for one in self._answers(shown)})
        return shown

    @cached_property
    def _others(self) -> set[str]:
        """The private answers: nobody is told of them, and what is known of them is kept."""
        return set()

    def check(self, *, keep: bool = False, cache: Cache | None = None) -> tuple[Library, list[AuthorError]]:
        """Read the library as `read` does, with all errors in and between its parts."""
        library, found = self.examine(keep=keep, cache=cache)
        return library, [one for one in found if one.severity is Severity.ERROR]

    def examine(self, *, keep: bool = False, cache: Cache | None = None) -> tuple[Library, list[AuthorError]]:
        """Read the library, with all that the checks find, warnings and remarks of plugins among it."""
        library, faults = self._read_all(keep=keep, cache=cache)
        faults += [*check(library), *self._misnamed(library), *self._of_nobody(library)]
        shown = self._shown(library)
        return shown, [*faults, *leaks(library, shown)]

    def _of_nobody(self, library: Library) -> Iterator[ConfigError]:
        """Yield a fault for each member of a family of affiliations that no card names."""
        known = {name for paper in library.papers.values() for name in paper.card.affiliations}
        # A card that can't be read may name any.
        for family, members in {} if library.unsound else self.settings.families.items():
            for member in members:
                if member not in known:
                    path, problem = ("families", family), f"no card names the affiliation `{member}`"
                    yield fault(self.root / "pyproject.toml", path, problem, nearest(member, known))

    def _misnamed(self, library: Library) -> Iterator[ConfigError]:
        """Yield a fault for each template that stands in for none of ours, and that no other template names."""
        ours = {file.name for file in (package_files("quaere.pages") / "templates").iterdir()}
        named = set(re.findall(r"""["']([^"'\n]+)["']""", "\n".join(library.templates.values())))
        found, _ = files.below(self.root, library.settings.templates, ConfigError)
        for path, file in found.items():
            hint = nearest(path, ours)
            # What has another suffix may be somebody's notes.
            if path not in ours | named and (path in library.templates or hint.startswith("did you mean")):
                hint = hint or "name it as the template of ours that it stands in for, or include it in one that does"
                yield ConfigError(Place(file), f"there is no template `{path}`, so nothing shows this one", hint)

    @cached_property
    def versions(self) -> Mapping[str, str]:
        """The versions that answers run on."""
        return verify.versions(self.settings.versions)

    @cached_property
    def evidence(self) -> Evidence:
        """What came of running answers in the past."""
        return Evidence(self.root / self.settings.evidence)

    def verdicts(self, library: Library) -> Mapping[str, Verdict]:
        """Return the verdicts by the names of answers, stale ones included: `Asked.state` tells.

        An answer whose question or card was renamed keeps its verdict.
        """
        verdicts = self.evidence.verdicts
        for answer in self._answers(library):
            if answer.id not in verdicts:
                former = (verdicts[name] for name in library.former_names(answer.id) if name in verdicts)
                if found := max(former, key=lambda verdict: verdict.at, default=None):
                    verdicts[answer.id] = found
        return verdicts

    def stale(self, library: Library) -> list[Answer]:
        """Return the answers that `verify` would run."""
        return verify.stale(self._answers(library), self.verdicts(library))

    def verify(
        self, library: Library, answers: Iterable[Answer], timeout: float | None = None, jobs: int | None = None
    ) -> Iterator[tuple[Answer, Verdict, str]]:
        """Run answers, and keep the verdicts, each as soon as it is there (`verify.run` tells of the arguments).

        Yields:
            Each answer with its verdict and the doctest as it ran.
        """
        # All that are in code: a card at fault must not cost its answers their verdicts.
        known = {answer.id for answer in (*library.answers, *self._answers(library))} | self._others
        self.verdicts(library)
        limit = timeout or self.settings.timeout
        for answer, verdict, transcript in verify.run(
            list(answers), self.root, self.settings.environment, self.versions, limit, self.settings.preload, jobs
        ):
            self.evidence.verdicts[answer.id] = verdict
            self.evidence.save(known)
            yield answer, verdict, transcript

    def run(self, module: Module, slug: str, size: Size, seed: int, device: Device, resume: bool) -> tuple[Result, Run]:
        """Run an experiment in this process; return its result, and the run with its folder.

        All but a smoke run also write the result beside the cards, from where the site draws it.

        Raises:
            SizeError: The experiment has no such size.
            DeviceError: The size or the option asks for a device that is not here.
            ResumeError: The code has changed since the run that is to be taken up again.
            ImportError: The experiment needs a package that is not installed.
        """
        folder = self.root / ".quaere" / "runs" / f"{slug}-{size}-{seed}"
        results = f"{self.settings.papers}/results"
        # Of the code that runs, whatever becomes of the files meanwhile; other experiments' new results don't count.
        commit = verify.commit(self.root, besides=results)
        # Its results must be importable by name in whatever process runs this.
        sys.path.insert(0, str(self.root))
        code = importlib.import_module(module.name)
        sizes = getattr(code, "SIZES", None)
        if sizes is not None and size not in sizes:
            raise SizeError(f"the experiment has no size {size}; it has {', '.join(sizes)}")
        if size is Size.GPU and not hardware.accelerator(device):
            raise DeviceError("the size gpu needs a GPU, and there is none here")
        run = Run(folder, size, seed, device, key=module.key, resume=resume)
        with run.shown():
            report: Report = code.experiment(run)
        result = Result(
            **dict(report),
            experiment=slug,
            size=size,
            key=module.key,
            commit=commit,
            at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            seconds=run.seconds,
            device=hardware.describe(device),
            accelerator=hardware.accelerator(device),
            versions=self.versions,
        )
        if run.is_first:
            atomic.write(folder / "result.json", result.json_text())
            if size is not Size.SMOKE:
                atomic.write(self.root / results / f"{result.stem}.json", result.json_text())
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
        found = (answer for asked in library.questions.values() for answer in asked.running)
        return list({answer.id: answer for answer in found}.values())

    def rows(self, library: Library) -> list[dict[str, str | int | float | None]]:
        """Return the questions as a table for programs, in the order of the cards."""
        verdicts = self.verdicts(library)
        rows = []
        for asked in library.questions.values():
            answer = next(iter(asked.running), None)
            verdict, state = verdicts.get(answer.id) if answer else None, asked.state(verdicts)
            ran = verdict if state in (State.DEMONSTRATED, State.BROKEN) else None
            row: dict[str, str | int | float | None] = {
                "paper": asked.paper.slug,
                "id": asked.question.id,
                "ask": asked.question.ask,
                "state": state.value,
                "asked": asked.question.asked.isoformat(),
                "answer": asked.prose or None,
                "module": answer.module if answer else None,
                "line": answer.place.line if answer else None,
                "verified_at": ran.at if ran else None,
                **{name: ran.versions[name] if ran else None for name in self.settings.versions},
                "seconds": ran.seconds if ran else None,
            }
            rows.append(row)
        return rows

    @cached_property
    def code(self) -> str:
        """A digest of the code that makes pages."""
        return stamp.code()

    @cached_property
    def cache(self) -> Cache:
        """What is kept of earlier builds."""
        return Cache(self.root / stamp.CACHE)

    def view(self, library: Library, **site: Any) -> View:
        """Return what the pages of the library are made of (`pages.render.view` tells of the arguments)."""
        from quaere.pages import render

        citations, found = _Citations(library.papers), history.read(self.root, library, self.cache.get)
        known = {answer.id for answer in self._answers(library)}
        verdicts = {id: verdict for id, verdict in self.verdicts(library).items() if id in known}
        kept, code = self.cache.get, self.code
        return render.view(
            library, verdicts, citations=citations, history=found, kept=kept, store=self.cache, made_by=code, **site
        )
