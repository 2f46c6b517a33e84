"""One folder's knowledge base: where its parts lie, and the road from cards to pages from end to end."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from quaere import export, verify
from quaere.check import check
from quaere.errors import AuthorError, ConfigError, Faults, Place, nearest
from quaere.load import load
from quaere.model import Answer, Library, State, Verdict


class Settings(BaseModel):
    """The `[tool.quaere]` table of pyproject.toml. Paths are relative to its folder."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    papers: str = Field(default="papers", description="the folder of the cards")
    bibliography: str = Field(default="papers/references.bib", description="the BibTeX file")
    implementation: str = Field(default="reference_impl", description="the package whose docstrings answer")
    tests: str = Field(default="tests/papers", description="the folder of the papers' tests")
    docs: str = Field(default="docs", description="the folder of the pages written by hand")
    evidence: str = Field(default=".quaere/evidence.json", description="the file of verdicts")
    tags: list[str] | None = Field(default=None, description="the tags that cards may carry; any, if absent")
    versions: list[str] = Field(
        default=[], description="distributions whose versions answers depend on, besides Python"
    )
    timeout: float = Field(default=60, gt=0, strict=False, description="seconds that an answer may take")
    environment: dict[str, str] = Field(default={}, description="variables of the process that runs answers")


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
            settings = _settings(root / "pyproject.toml")
            if settings or (root / Settings().papers).is_dir():
                return cls(root, settings or Settings())
        place = Place(str(folder))
        raise ConfigError(place, "no knowledge base here", "go to a folder with `papers/`, or name one with --project")

    def read(self) -> tuple[Library, list[AuthorError]]:
        """Read the library, and the faults of what can't be part of it."""
        settings = self.settings
        return load(
            self.root,
            papers=settings.papers,
            bibliography=settings.bibliography,
            implementation=settings.implementation,
            tests=settings.tests,
            docs=settings.docs,
            tags=settings.tags,
            versions=self.versions,
        )

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
        known = {answer.id for answer in self._answers(library)}
        limit = timeout or self.settings.timeout
        for answer, verdict, transcript in verify.run(
            list(answers), self.root, self.settings.environment, self.versions, limit
        ):
            self.evidence.verdicts[answer.id] = verdict
            self.evidence.save(known)
            yield answer, verdict, transcript

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
        from quaere.render import render

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

    def mkdocs(self, *arguments: str) -> int:
        """Run MkDocs on this knowledge base's mkdocs.yml, and return its exit code: 0, or 1 for content at fault."""
        command = [sys.executable, "-m", "mkdocs", *arguments, "--config-file", str(self.root / "mkdocs.yml")]
        # Material announces the end of MkDocs 1 at every build; docs/decisions/ says what follows from it.
        environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
        with contextlib.suppress(KeyboardInterrupt):
            return min(subprocess.run(command, env=environment, check=False).returncode, 1)
        return 0


def _settings(file: Path) -> Settings | None:
    """Read the `[tool.quaere]` table of a file; None if the file has no such table."""
    try:
        text = file.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        table = tomllib.loads(text).get("tool", {}).get("quaere")
    except tomllib.TOMLDecodeError as error:
        if "[tool.quaere" not in text:
            return None
        raise ConfigError(Place(str(file)), f"not TOML: {error}") from None
    if table is None:
        return None
    try:
        return Settings.model_validate(table)
    except ValidationError as error:
        raise Faults(_setting_fault(file, text, one["loc"], one["msg"]) for one in error.errors()) from None


def _setting_fault(file: Path, text: str, path: tuple[str | int, ...], message: str) -> ConfigError:
    name = str(path[0])
    line = next((n for n, line in enumerate(text.split("\n"), 1) if re.match(rf"\s*\"?{re.escape(name)}\b", line)), 1)
    place = Place(str(file), line, at="tool.quaere." + ".".join(map(str, path)))
    if name not in Settings.model_fields:
        return ConfigError(place, f"unknown setting `{name}`", nearest(name, Settings.model_fields))
    return ConfigError(place, message[:1].lower() + message[1:])
