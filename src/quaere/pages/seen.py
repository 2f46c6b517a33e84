"""Notes what is asked of a library while something is made of it.

`seen` stands in for a view: it gives the same answers, and notes each question with a digest of the answer. What was
made is up to date as long as all of its questions have the same answers. Nobody lists what a page depends on.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import PurePosixPath
from typing import Any, TypeVar, cast

from markupsafe import Markup
from pydantic import BaseModel

from quaere.content.bibliography.reference import Reference
from quaere.content.model import Asked, Library, Module, Paper
from quaere.content.results import Result
from quaere.pages.lineage import Kin
from quaere.pages.names import Known, Names
from quaere.pages.summary import Summary
from quaere.pages.view import OF_LINEAGE, View

T = TypeVar("T")

Notes = dict[str, str]
"""Digests of answers by question."""
Question = tuple[str, ...]
"""Where something is found in a view, how it is asked for, and by what."""

# The same throughout a build, and part of what all of it is kept under; or functions of that and their arguments.
_FIXED = frozenset(
    {
        "templates",
        "kept",
        "store",
        "key",
        "repo",
        "branch",
        "name",
        "has_folders",
        "has_documentation",
        "settings",
        "url",
        "source",
    }
    | {"edit", "commit", "result_file", "whole", "site_url", "description"}
)
_SHORT = 32
_FEW = 8
"""Parts of an answer that are not worth remembering."""
_ASKED = frozenset({"get", "has", "keys", "value", "call"})
_PLAIN = frozenset({str, Markup, int, float, bool, type(None), bytes, datetime.date, datetime.datetime})
_DIGESTED = (Paper, Summary, Reference, Kin)
_NEVER = "?"
"""A question without an answer: what asked it is made each time."""


class UnknownError(Exception):
    """A question that can't be asked again, or an answer without a digest."""


def seen(view: View) -> View:
    """Return what stands in for a view and takes notes; it is the same each time."""
    if "_seen" not in vars(view):
        vars(view)["_seen"] = _Seen(view, ())
    return cast(View, vars(view)["_seen"])


@contextmanager
def noting(view: View, *, is_apart: bool = False) -> Iterator[Notes]:
    """Collect the questions that are asked of a view that takes notes, with their answers' digests.

    Whoever takes notes around it notes them too, unless they are taken apart.
    """
    notebook: _Notebook = cast(Any, view)._notebook
    former, notebook.notes = notebook.notes, {}
    try:
        yield notebook.notes
    finally:
        notebook.shorten()
        if former is not None and not is_apart:
            former |= notebook.notes
        notebook.notes = former


def answers(view: View, questions: Collection[str]) -> Notes:
    """Ask questions that were noted of another view; those that can't be asked of it are left out."""
    notebook: _Notebook = cast(Any, view)._notebook
    known = notebook.known
    for question in questions:
        if question not in known:
            # It may have no answer now: then what asked it is made again.
            with suppress(Exception):
                known[question] = notebook.digest(_asked_again(notebook.view, json.loads(question)))
    return {question: known[question] for question in questions if question in known}


def derived(view: View, name: str, paper: Paper, make: Callable[[View], str], read: Callable[[str], T]) -> T:
    """Return what follows from a card; it is held for the next build of this process.

    Args:
        view: The view itself, which keeps it.
        name: What it is.
        paper: The card.
        make: Makes it of a view that takes notes, as text.
        read: Reads the text.
    """

    def fresh() -> tuple[Notes, T]:
        made, asked = _derived(view, name, paper, make)
        return asked, read(made)

    source = _source(view, name, paper)
    asked, value = view.store.held(source, fresh)
    if answers(seen(view), asked) != asked:
        asked, value = fresh()
        view.store.hold(source, (asked, value))
    return value


def _source(view: View, name: str, paper: Paper) -> bytes:
    """Return under what is kept what follows from a card."""
    return f"{view.key} {name} {view.of_cards[paper.slug]}".encode()


def _derived(view: View, name: str, paper: Paper, make: Callable[[View], str]) -> tuple[str, Notes]:
    """Return what is kept of a card if all that was asked then has the same answers now, or make it.

    What was asked besides what `View.of_cards` covers is returned with it.
    """
    source, shown = _source(view, name, paper), seen(view)
    if (told := view.store.find(source)) is not None:
        written, _, made = told.partition("\n")
        asked = json.loads(written)
        if answers(shown, asked) == asked:
            return made, asked
    with noting(shown, is_apart=True) as notes:
        made = make(shown)
    notebook: _Notebook = cast(Any, shown)._notebook
    by = ("of_cards", "get", paper.slug)
    asked = {question: answer for question, answer in notes.items() if notebook.covered(question) != by}
    if _NEVER not in notes:
        view.store.keep([(source, f"{json.dumps(asked)}\n{made}")])
    return made, asked


def _covered(question: list[Any], library: Library) -> Question | None:
    """Return the question about a card whose answer covers that to another; None if there is none."""
    match question:
        case [str(name), "get" | "has", str(slug)] if name in OF_LINEAGE:
            return "in_lineage", "call", slug
    owner = _owner(question, library)
    return ("of_cards", "get", owner) if owner else None


def _owner(question: list[Any], library: Library) -> str | None:
    """Return the slug of the card of which `View.of_cards` covers the answer to a question; None if there is none."""
    match question:
        case (
            ["library", "papers" | "results" | "experiments", "get" | "has", str(name)]
            | ["library", "module_of", "call", {"Paper": str(name)}]
            | ["library", "findings", "call", str(name)]
            | ["asked" | "of_cards", "get" | "has", str(name)]
            | ["fragment", "call", str(name), str()]
        ):
            return name
        case ["library", "is_stale", "call", str(name), {"Result": [str(of), _]}] if of == name:
            return name
        case ["library", "result_file", "call", {"Result": [str(name), _]}]:
            return name
        case (
            ["states" | "verdicts", "get" | "has", str(name)]
            | ["library", "questions", "get" | "has", str(name)]
            | ["history", "answered", "call", str(name)]
        ):
            return _asking(library, [name])
        case ["count", "call", [*names]]:
            return _asking(library, names)
        case ["history", "files", "get" | "has", str(name)]:
            paper = library.papers.get(PurePosixPath(name).stem)
            return paper.slug if paper and paper.file == name else None
    return None


def _asking(library: Library, names: list[Any]) -> str | None:
    """Return the slug of the card that asks all of some questions; an answer may be called otherwise than one."""
    slugs = {asked.paper.slug if (asked := library.questions.get(name)) else None for name in names}
    return slugs.pop() if len(slugs) == 1 else None


@dataclasses.dataclass
class _Notebook:
    view: View
    notes: Notes | None = None
    known: Notes = dataclasses.field(default_factory=dict)
    """All that was answered: a view does not change."""
    _texts: dict[tuple[object, ...], str] = dataclasses.field(default_factory=dict)
    _digests: dict[int, tuple[object, str]] = dataclasses.field(default_factory=dict)
    _covered: dict[str, Question | None] = dataclasses.field(default_factory=dict)

    def note(self, question: tuple[object, ...], answer: Callable[[], Any]) -> None:
        """Note a question; one that can't be asked again is noted as one without an answer."""
        if self.notes is None:
            return
        try:
            text = self._text(question)
            if text not in self.known:
                self.known[text] = self.digest(answer())
            self.notes[text] = self.known[text]
        except UnknownError:
            self.notes[_NEVER] = ""

    def shorten(self) -> None:
        """Note one question in place of several about a card that it covers."""
        notes = self.notes or {}
        covered: dict[Question, list[str]] = {}
        for question in notes:
            if by := self.covered(question):
                covered.setdefault(by, []).append(question)
        wholes = {by for by in covered if self._text(("library", "papers", "get", by[-1])) in notes}
        for by, questions in covered.items():
            if len(questions) > 1 and (by in wholes or by[0] == "in_lineage") and by[-1] in self.view.library.papers:
                for question in questions:
                    del notes[question]
                self.note(by, partial(_asked_again, self.view, by))

    def covered(self, question: str) -> Question | None:
        """Return the question about a card whose answer covers that to another; None if there is none."""
        if question not in self._covered:
            self._covered[question] = _covered(json.loads(question), self.view.library) if question != _NEVER else None
        return self._covered[question]

    def _text(self, question: tuple[object, ...]) -> str:
        """Write a question; one of words alone is written once."""
        if not all(type(part) is str for part in question):
            return json.dumps([_named(part) for part in question])
        if question not in self._texts:
            self._texts[question] = json.dumps(question)
        return self._texts[question]

    def digest(self, value: Any) -> str:
        """Return a digest of a value, which for what is large is made once."""
        if isinstance(value, _DIGESTED):
            return value.digest
        is_long = isinstance(value, tuple) and len(value) > _FEW
        if not is_long and not isinstance(value, Module | Mapping):
            return self._made(value)
        if id(value) not in self._digests:
            # The object is held, so that no other gets its id.
            self._digests[id(value)] = value, self._made(value)
        return self._digests[id(value)][1]

    def _made(self, value: Any) -> str:
        parts: list[str] = []
        if isinstance(value, Mapping):
            for key, one in value.items():
                self._tell(key, parts)
                self._tell(one, parts)
        elif isinstance(value, Module):
            parts += [f"{getattr(value, name)!r};" for name in _fields(Module)]
        else:
            self._tell(value, parts)
        told = "".join(parts)
        return told if len(told) <= _SHORT else hashlib.sha256(told.encode(errors="surrogatepass")).hexdigest()[:_SHORT]

    def _tell(self, value: Any, parts: list[str]) -> None:
        """Write a value so that two are written alike only if they are equal, in the order of what they hold, too."""
        if type(value) in _PLAIN:
            parts.append(f"{value!r};")
            return
        match value:
            case enum.Enum():
                parts.append(f"{type(value).__name__}.{value.name};")
            case None | bool() | int() | float() | str() | bytes() | datetime.date():
                parts.append(f"{value!r};")
            case Paper() | Summary() | Reference() | Kin() | Module() | Mapping():
                parts.append(f"{type(value).__name__}<{self.digest(value)}>")
            case BaseModel():
                parts.append(f"{type(value).__name__}{value.model_dump_json()};")
            case Asked():
                parts.append(f"Asked({value.paper.digest}, {value.index}")
                self._tell(value.answer, parts)
                self._tell(value.named, parts)
            case Library() | View():
                raise UnknownError("a whole library is no answer")
            case Set():
                parts += ["{", *(f"{one};" for one in sorted(map(self.digest, value))), "}"]
            case list() | tuple():
                parts.append("[")
                for one in value:
                    self._tell(one, parts)
                parts.append("]")
            case _ if dataclasses.is_dataclass(value):
                parts.append(f"{type(value).__name__}(")
                for name in _fields(cast(Any, type(value))):
                    self._tell(getattr(value, name), parts)
                parts.append(")")
            case _:
                raise UnknownError(f"{type(value).__name__} has no digest")


@functools.cache
def _fields(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


class _Seen:
    """Stands in for a view or a library."""

    def __init__(self, real: Any, way: tuple[str, ...], notebook: _Notebook | None = None) -> None:
        self._real, self._way = real, way
        self._notebook = notebook or _Notebook(real)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in ("library", "history"):
            found: Any = _Seen(getattr(self._real, name), (*self._way, name), self._notebook)
            self.__dict__[name] = found
            return found
        value = getattr(self._real, name)
        way = (*self._way, name)
        if name in _FIXED:
            self.__dict__[name] = value
            return value
        if name == "names":
            found = self.__dict__[name] = Known(partial(_names, self, value))
            return found
        if name == "citations":
            # They follow from the cards, and take longer to write than the cards to compare.
            found = _OfPapers(value, ("library", "papers"), self._notebook, self._real.library.papers)
            self.__dict__[name] = found
            return found
        if isinstance(value, Mapping):
            kind = _Told if name == "told" else _SeenMapping
            found = self.__dict__[name] = kind(value, way, self._notebook)
            return found
        if isinstance(value, Set):
            found = _SeenSet(value, way, self._notebook)
            self.__dict__[name] = found
            return found
        if callable(value):
            found = self._function(value, way)
            self.__dict__[name] = found
            return found
        self._notebook.note((*way, "value"), lambda: value)
        return value

    def _function(self, function: Callable[..., Any], way: tuple[str, ...]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any) -> Any:
            given = [list(one) if isinstance(one, Iterator) else one for one in arguments]
            answer = function(*(one._real if isinstance(one, _SeenMapping) else one for one in given))
            self._notebook.note((*way, "call", *given), lambda: answer)
            return answer

        return call


def _names(view: Any, known: Known, module: str) -> Names | None:
    """Return what a module defines, which follows from the module."""
    view.library.named_modules.get(module)
    return known.of(module)


class _SeenMapping(Mapping[Any, Any]):
    def __init__(self, real: Mapping[Any, Any], way: tuple[str, ...], notebook: _Notebook) -> None:
        self._real, self._way, self._notebook = real, way, notebook

    def __getitem__(self, key: Any) -> Any:
        self._notebook.note((*self._way, "get", key), lambda: self._real.get(key))
        return self._real[key]

    def get(self, key: Any, default: Any = None) -> Any:
        self._notebook.note((*self._way, "get", key), lambda: self._real.get(key))
        return self._real.get(key, default)

    def __contains__(self, key: object) -> bool:
        self._notebook.note((*self._way, "has", key), lambda: key in self._real)
        return key in self._real

    def _note_all(self) -> None:
        self._notebook.note((*self._way, "value"), lambda: self._real)

    def _note_keys(self) -> None:
        self._notebook.note((*self._way, "keys"), lambda: list(self._real))

    def __iter__(self) -> Iterator[Any]:
        self._note_keys()
        return iter(self._real)

    def __len__(self) -> int:
        self._note_keys()
        return len(self._real)

    def __eq__(self, other: object) -> bool:
        self._note_all()
        return self._real == other

    __hash__ = None  # type: ignore[assignment]

    def keys(self) -> Any:
        self._note_keys()
        return self._real.keys()

    def values(self) -> Any:
        self._note_all()
        return self._real.values()

    def items(self) -> Any:
        self._note_all()
        return self._real.items()


class _OfPapers(_SeenMapping):
    """What follows from each card: asking for it is asking for the card."""

    def __init__(self, real: Mapping[Any, Any], way: tuple[str, ...], notebook: _Notebook, papers: Any) -> None:
        super().__init__(papers, way, notebook)
        self._values = real

    def __getitem__(self, key: Any) -> Any:
        super().get(key)
        return self._values[key]

    def get(self, key: Any, default: Any = None) -> Any:
        super().get(key)
        return self._values.get(key, default)

    def values(self) -> Any:
        self._note_all()
        return self._values.values()

    def items(self) -> Any:
        self._note_all()
        return self._values.items()


class _Told(_SeenMapping):
    """What the library as JSON says of each card: asking for it is asking for what it follows from."""

    def __getitem__(self, key: Any) -> Any:
        view, notes = self._notebook.view, self._notebook.notes
        made, asked = _derived(view, *view.telling(key))
        if notes is not None:
            notes |= asked
            self._notebook.note(("of_cards", "get", key), partial(view.of_cards.get, key))
        return made


class _SeenSet(Set[Any]):
    _from_iterable = frozenset  # what two sets have in common is nobody's any more

    def __init__(self, real: Set[Any], way: tuple[str, ...], notebook: _Notebook) -> None:
        self._real, self._way, self._notebook = real, way, notebook

    def __contains__(self, key: object) -> bool:
        self._notebook.note((*self._way, "has", key), lambda: key in self._real)
        return key in self._real

    def __iter__(self) -> Iterator[Any]:
        self._notebook.note((*self._way, "value"), lambda: self._real)
        return iter(self._real)

    def __len__(self) -> int:
        self._notebook.note((*self._way, "value"), lambda: self._real)
        return len(self._real)


def _named(argument: Any) -> Any:
    """Return an argument of a question as JSON; what is in a library, by its name there.

    Raises:
        UnknownError: It has no name.
    """
    if argument is None or isinstance(argument, str | int | float):
        return argument
    match argument:
        case Paper() | Summary():
            return {type(argument).__name__: argument.slug}
        case Asked():
            return {"Asked": argument.id}
        case Module():
            return {"Module": argument.name}
        case _SeenMapping():
            return {"Mapping": list(argument._way)}
        case Result():
            return {"Result": [argument.experiment, argument.stem]}
        case list() | tuple():
            return [_named(one) for one in argument]
    raise UnknownError(f"{type(argument).__name__} has no name in a library")


def _meant(view: View, written: Any) -> Any:
    """Return the argument that was written."""
    match written:
        case {"Paper": slug}:
            return view.library.papers[slug]
        case {"Summary": slug}:
            return view.summaries[slug]
        case {"Asked": id}:
            return view.library.questions[id]
        case {"Module": name}:
            return next(one for one in view.library.modules if one.name == name)
        case {"Result": [slug, stem]}:
            return next(one for one in view.library.results[slug] if one.stem == stem)
        case {"Mapping": way}:
            return functools.reduce(getattr, way, view)
        case list():
            return [_meant(view, one) for one in written]
    return written


def _asked_again(view: View, question: Sequence[Any]) -> Any:
    at = next(n for n, part in enumerate(question) if n and part in _ASKED)
    value: Any = view
    for name in question[:at]:
        value = getattr(value, name)
    match question[at:]:
        case ["get", key]:
            return value.get(key)
        case ["has", key]:
            return key in value
        case ["keys"]:
            return list(value)
        case ["value"]:
            return value
        case ["call", *arguments]:
            return value(*(_meant(view, one) for one in arguments))
    raise UnknownError(question)
