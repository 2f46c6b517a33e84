"""The library for Python programs: what `from quaere import Project` gives."""

from __future__ import annotations

import datetime
import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from quaere import project, stamp
from quaere.cache import Cache
from quaere.content import history
from quaere.content.bibliography import export
from quaere.content.bibliography.reference import OTHERS
from quaere.content.states import State
from quaere.errors import AuthorError, nearest

if TYPE_CHECKING:
    from quaere.content import model

_T = TypeVar("_T")


class _Memory(Cache):
    """Cards as they were read before in this process, besides those that a build has kept, which are only read."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, is_read_only=True)
        self._read: dict[bytes, str] = {}

    @property
    def keeps(self) -> bool:
        return True

    def find(self, source: bytes) -> str | None:
        return self._read.get(_digest(source)) or super().find(source)

    def keep(self, made: Iterable[tuple[bytes, str]]) -> None:
        self._read |= {_digest(source): text for source, text in made}


def _digest(source: bytes) -> bytes:
    return hashlib.sha256(source).digest()


@dataclass(frozen=True)
class _Reading:
    """What was read at one time. It does not change; what is read later is another one."""

    base: project.Project
    library: model.Library
    faults: tuple[AuthorError, ...]
    verdicts: Mapping[str, model.Verdict]

    @cached_property
    def papers(self) -> Mapping[str, Paper]:
        return {slug: Paper(paper, self) for slug, paper in self.library.papers.items()}

    @cached_property
    def questions(self) -> Mapping[str, Question]:
        return {id: Question(asked, self) for id, asked in self.library.questions.items()}

    @cached_property
    def asked(self) -> Mapping[str, tuple[Question, ...]]:
        asked: dict[str, list[Question]] = {}
        for id, one in self.library.questions.items():
            asked.setdefault(one.paper.slug, []).append(self.questions[id])
        return {slug: tuple(questions) for slug, questions in asked.items()}


@dataclass(frozen=True, repr=False)
class Paper:
    """A paper: its card, and its entry in the bibliography."""

    _paper: model.Paper
    _reading: _Reading

    @property
    def slug(self) -> str:
        """The card's name, as in `papers/<slug>.yml`."""
        return self._paper.slug

    @property
    def title(self) -> str:
        """The title as Unicode text."""
        return self._paper.reference.title

    @property
    def name(self) -> str:
        """The name in links: the card's `short`, or the title up to its colon."""
        return self._paper.name

    @property
    def authors(self) -> tuple[str, ...]:
        """The authors, or otherwise the editors; without "et al."."""
        return tuple(str(name) for name in self._paper.reference.people if name is not OTHERS)

    @property
    def surnames(self) -> tuple[str, ...]:
        """Their family names."""
        return tuple(name.surname for name in self._paper.reference.people if name is not OTHERS)

    @property
    def year(self) -> int | None:
        """The year of publication; None if the bibliography doesn't say."""
        return self._paper.reference.year

    @property
    def venue(self) -> str:
        """The journal, the proceedings or the publisher; empty if the bibliography doesn't say."""
        return self._paper.reference.venue

    @property
    def doi(self) -> str | None:
        """The DOI, without a prefix."""
        return self._paper.reference.doi

    @property
    def arxiv(self) -> str | None:
        """The arXiv identifier, without a prefix."""
        return self._paper.reference.arxiv

    @property
    def idea(self) -> str:
        """The paper in one sentence, Markdown; empty if the card doesn't say."""
        return self._paper.card.idea

    @property
    def notes(self) -> str:
        """The notes, Markdown; empty without any."""
        return self._paper.card.notes or ""

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags."""
        return self._paper.card.tags

    @property
    def questions(self) -> tuple[Question, ...]:
        """The questions in the card's order."""
        return self._reading.asked.get(self.slug, ())

    @property
    def builds_on(self) -> tuple[Paper, ...]:
        """The papers that it builds on, as far as they have a card."""
        papers = self._reading.papers
        return tuple(papers[slug] for slug in self._paper.card.builds_on if slug in papers)

    @property
    def bibtex(self) -> str:
        """The entry in the bibliography, as BibTeX; empty for a topic."""
        return "" if self.is_topic else export.bibtex([self._paper.reference])

    @property
    def is_topic(self) -> bool:
        """Whether it is a topic instead of a paper: a card of questions that belong to no single one."""
        return self._paper.is_topic

    @property
    def file(self) -> str:
        """The card's file, from the folder of the knowledge base."""
        return self._paper.file

    @property
    def card(self) -> model.Card:
        """All that the card says, as a Pydantic model: `paper.card.model_dump()`."""
        return self._paper.card

    def __repr__(self) -> str:
        return f"<Paper {self.slug}: {self.title}>"


@dataclass(frozen=True)
class Answer:
    """An answer to a question.

    Attributes:
        text: The answer in prose, Markdown; for code alone, what stands around it. Empty if there is neither.
        by: Who gave it; empty if the card doesn't say.
        answered: When it was given; None if the card doesn't say.
        code: The doctest that answers; None for an answer in prose.
        file: The file with the code, from the folder of the knowledge base.
        line: The line in that file.
        ran: The last run of the code as it is now: `passed`, `at`, `versions`, `seconds`, `commit` and `failure`.
    """

    text: str
    by: str = ""
    answered: datetime.date | None = None
    code: str | None = None
    file: str = ""
    line: int = 0
    ran: model.Verdict | None = None


@dataclass(frozen=True, repr=False)
class Question:
    """A question of a reader, with its answers."""

    _asked: model.Asked
    _reading: _Reading

    @property
    def id(self) -> str:
        """The full name, `<paper>.<question>`."""
        return self._asked.id

    @property
    def paper(self) -> Paper:
        """The paper that it is asked about."""
        return self._reading.papers[self._asked.paper.slug]

    @property
    def ask(self) -> str:
        """What is asked, Markdown."""
        return self._asked.question.ask

    @property
    def asked(self) -> datetime.date:
        """When it was asked."""
        return self._asked.question.asked

    @property
    def by(self) -> str:
        """Who asked it; empty if the card doesn't say."""
        return self._asked.question.by or ""

    @property
    def state(self) -> State:
        """The state, which follows from the answers and from the last runs of those in code."""
        return self._asked.state(self._reading.verdicts)

    @property
    def answer(self) -> str | None:
        """The answers in prose, Markdown: the card's, or what stands around the code that answers."""
        return self._asked.prose or None

    @property
    def code(self) -> str | None:
        """The doctest that answers, the first of several; None if no code does."""
        return self._code.code if self._code else None

    @property
    def answers(self) -> tuple[Answer, ...]:
        """All answers, in prose and in code, in the order in which a card's page shows them."""
        return tuple(self._answer(reply, code) for reply, code in self._asked.replies)

    @property
    def file(self) -> str:
        """The file with the code that answers, or otherwise with the question; from the knowledge base's folder."""
        return (self._code or self._asked).place.file

    @property
    def line(self) -> int:
        """The line in that file."""
        return (self._code or self._asked).place.line

    @property
    def ran(self) -> model.Verdict | None:
        """The last run of that code as it is now, as in `Answer.ran`; None without one."""
        return self._ran(self._code)

    @property
    def _code(self) -> model.Answer | None:
        return next(iter(self._asked.running), None)

    def _ran(self, code: model.Answer | None) -> model.Verdict | None:
        verdict = self._reading.verdicts.get(code.id) if code else None
        return verdict if code and verdict and verdict.key == code.key else None

    def _answer(self, reply: model.Reply, code: model.Answer | None) -> Answer:
        text, by = reply.text or (code.prose if code else ""), reply.by or ""
        if code is None:
            return Answer(text, by, reply.answered)
        return Answer(text, by, reply.answered, code.code, code.place.file, code.place.line, self._ran(code))

    def __repr__(self) -> str:
        return f"<Question {self.id}: {self.ask} ({self.state})>"


class Project:
    """A knowledge base in a folder.

    Nothing is read before something is asked for. Only `verify` runs code or writes anything. What was read stays as
    it was, until `refresh`.

    Examples:
        >>> from quaere import Project
        >>> project = Project.open()
        >>> project.papers["attention"].title
        'Attention Is All You Need'
        >>> for question in project.questions.values():
        ...     print(question.id, question.state)
        attention.why-scale demonstrated
        attention.cost-of-length answered
        attention.how-many-heads open
    """

    def __init__(self, base: project.Project) -> None:
        self._base = base
        self._memory = _Memory(base.root / stamp.CACHE)
        self._inputs: stamp.Inputs | None = None
        self._reading: _Reading | None = None

    @classmethod
    def open(cls, folder: str | Path = ".", *, private: bool = False) -> Project:
        """Open the knowledge base that a folder belongs to: it, or a folder above it.

        Args:
            folder: The folder. `~` is the home.
            private: Whether what cards call private is there.

        Raises:
            FileNotFoundError: There is no such folder.
            AuthorError: Neither it nor a folder above it holds a knowledge base.
            Faults: Its settings are at fault.
        """
        path = Path(folder).expanduser()
        if not path.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}")
        return cls(project.Project.find(path, shows_private=private))

    @property
    def root(self) -> Path:
        """The folder of the knowledge base."""
        return self._base.root

    @property
    def papers(self) -> Mapping[str, Paper]:
        """The papers by their names, in the order of their files.

        Examples:
            >>> [paper.year for paper in project.papers.values() if "attention" in paper.tags]
            [2017]
        """
        return self._read.papers

    @property
    def questions(self) -> Mapping[str, Question]:
        """The questions by their full names, `<paper>.<question>`.

        Examples:
            >>> project.questions["attention.why-scale"].ask
            'Why are the scores divided by the root of the width?'
        """
        return self._read.questions

    @property
    def states(self) -> Mapping[State, int]:
        """How many questions are in each state.

        Examples:
            >>> project.states[State.OPEN]
            1
        """
        counted = Counter(question.state for question in self.questions.values())
        return {state: counted[state] for state in State}

    @property
    def faults(self) -> tuple[AuthorError, ...]:
        """What can't be read, and so is left out; each tells its `place`, `problem` and `hint`.

        Examples:
            >>> project.faults
            ()
        """
        return self._read.faults

    @property
    def unsound(self) -> frozenset[str]:
        """The names of the cards that are there but can't be read, for what `faults` says.

        Examples:
            >>> sorted(project.unsound)
            []
        """
        return self._read.library.unsound

    def paper(self, name: str) -> Paper:
        """Return the paper of a name, which may be a former one.

        Raises:
            LookupError: There is none. The message names what is called alike.

        Examples:
            >>> project.paper("attention")
            <Paper attention: Attention Is All You Need>
            >>> project.paper("atention")
            Traceback (most recent call last):
            LookupError: there is no paper `atention`; did you mean `attention`?
        """
        return _found("paper", self.papers, name, self._read.library.today(name))

    def question(self, name: str) -> Question:
        """Return the question of a full name, which may be a former one.

        Raises:
            LookupError: There is none. The message names what is called alike.

        Examples:
            >>> project.question("attention.why-scale").asked.year
            2026
        """
        return _found("question", self.questions, name, self._read.library.today(name))

    def check(self) -> tuple[AuthorError, ...]:
        """Return all that is wrong in the files and between them, as `quaere check` reports it.

        Examples:
            >>> project.check()
            ()
        """
        return tuple(self._base.check()[1])

    def rows(self) -> list[dict[str, str | int | float | None]]:
        """Return the questions as a table, with the fields of `quaere questions --json`.

        `pandas.DataFrame(project.rows())` makes a data frame of it.

        Examples:
            >>> [(row["id"], row["state"]) for row in project.rows()][0]
            ('why-scale', 'demonstrated')
        """
        return self._base.rows(self._read.library)

    def export(self, format: str = "bibtex", papers: Iterable[str] | None = None) -> str:
        """Return references in the format of another program.

        Args:
            format: `bibtex`, `csl-json`, `ris` or `json`, or the format of a plugin.
            papers: The names of papers; default: all.

        Raises:
            LookupError: There is no such format, or no such paper.
            AuthorError: A plugin can't be loaded.

        Examples:
            >>> print(project.export("ris", ["attention"]).splitlines()[0])
            TY  - CPAPER
        """
        known = export.formats()
        write = _found("format", known, format)
        chosen = self.papers.values() if papers is None else map(self.paper, papers)
        references = {paper._paper.reference.key: paper._paper.reference for paper in chosen if not paper.is_topic}
        return write(references.values())

    def verify(self, *names: str, timeout: float | None = None, jobs: int | None = None) -> tuple[Question, ...]:
        """Run answers, keep what comes of them, and return their questions.

        This executes code of the knowledge base, each answer in a process of its own.

        Args:
            names: Papers or questions; default: all whose answers have changed since they ran, or never ran.
            timeout: The seconds that an answer may take; default: the setting `timeout`.
            jobs: How many run at once.

        Raises:
            LookupError: There is no such paper or question.
            AuthorError: What comes of them can't be written.

        Examples:
            >>> project.verify()
            ()
            >>> [question.state.value for question in project.verify("attention.why-scale")]
            ['demonstrated']
        """
        read = self._read
        if names:
            chosen = [one for name in names for one in self._named(name)]
            answers = list({answer.id: answer for one in chosen for answer in one._asked.running}.values())
        else:
            answers = self._base.stale(read.library)
        ran = [answer.id for answer, *_ in self._base.verify(read.library, answers, timeout, jobs)]
        verdicts = dict(self._base.verdicts(read.library))
        self._reading = _Reading(read.base, read.library, read.faults, verdicts)
        questions = {answer.id: one for one in self._reading.questions.values() for answer in one._asked.running}
        return tuple({questions[id].id: questions[id] for id in ran}.values())

    def refresh(self) -> bool:
        """Read again, if any file has changed since; tell whether one has.

        Papers and questions that were taken before stay as they were.

        Raises:
            Faults: The settings are at fault. What was read before stays.

        Examples:
            >>> project.refresh()
            False
        """
        if self._inputs is None:
            return False
        inputs = _look(self._base, self._inputs)
        is_changed = inputs.digests != self._inputs.digests
        if is_changed:
            self._base = project.Project.find(self.root, shows_private=self._base.shows_private)
            self._reading = None
        self._inputs = inputs
        return is_changed

    def __repr__(self) -> str:
        return f"<Project {self.root}>"

    @property
    def _read(self) -> _Reading:
        if self._reading is None:
            # Before anything is read: what changes meanwhile is seen the next time.
            self._inputs = _look(self._base, self._inputs)
            library, faults = self._base.read(cache=self._memory)
            self._reading = _Reading(self._base, library, tuple(faults), dict(self._base.verdicts(library)))
        return self._reading

    def _named(self, name: str) -> Iterable[Question]:
        return [self.question(name)] if "." in name else self.paper(name).questions


def _look(base: project.Project, former: stamp.Inputs | None) -> stamp.Inputs:
    """Look at the files that a library is read from; what looks as it did before is not read."""
    of_git = history.files_of_git(base.root)
    names, at = tuple(name for name in base.names if name not in of_git), time.time_ns()
    files = stamp.scan(base.root, names, former.files if former else {}, former.at if former else 0)
    return stamp.Inputs(names, files, at)


def _found(kind: str, known: Mapping[str, _T], name: str, today: str = "") -> _T:
    """Return what has a name, or what is called `today` as it was called before."""
    if (today or name) in known:
        return known[today or name]
    hint = nearest(name, known)
    raise LookupError(f"there is no {kind} `{name}`" + (f"; {hint}" if hint else ""))
