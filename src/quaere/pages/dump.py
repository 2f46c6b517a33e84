"""The whole library as data, for `library.json`, and the JSON Schema of that file.

`docs/guide/library-json.md` describes it. The models below say what is in it, and extend those of the files that it
comes from; the data are not validated each time.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from quaere.content import addresses
from quaere.content.bibliography import csl, export
from quaere.content.model import Answer, Asked, Card, Claim, Paper, Question, Verdict
from quaere.content.results import Finding, Outcome, Result
from quaere.content.settings import Settings
from quaere.content.states import State
from quaere.pages.claims import judged
from quaere.pages.view import View

SCHEMA = 1
"""The version of `library.json`: higher when a field goes, or comes to mean something else."""

_PRIVATE = {"environment"}
"""The settings that are left out: what is set where answers run is nobody else's."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class AnswerPart(_Part):
    """A piece of an answer in code: prose in Markdown, or a doctest."""

    kind: Literal["text", "code"]
    text: str


class AnswerInCode(_Part):
    """An answer in a docstring of the implementation."""

    module: str
    object: str = Field(description="what the docstring belongs to, with its module")
    file: str
    line: int
    imports: tuple[str, ...] = Field(description="the modules of the implementation that it reaches")
    key: str = Field(description="changes whenever its code, one of these modules, or a version changes")
    parts: tuple[AnswerPart, ...]


class LastRun(_Part):
    """What came of running an answer the last time."""

    key: str = Field(description="the key of the answer as it ran; another than today's makes it unverified")
    passed: bool
    failure: str = Field(description="what failed; empty if nothing did")
    at: str = Field(description="when, UTC, ISO 8601")
    seconds: float
    commit: str
    versions: Mapping[str, str]


class NamedAnswer(_Part):
    """An answer in code that a card names as one to a question."""

    name: str
    code: AnswerInCode
    verdict: LastRun | None


class LibraryQuestion(Question):
    """A question, with what follows from its answers."""

    line: int = Field(description="where it stands in the card's file")
    state: State
    answered: datetime.datetime | None = Field(description="the first commit with an answer; null if it is not known")
    code: AnswerInCode | None = Field(description="the answer in code that is named like the question")
    verdict: LastRun | None
    others: tuple[NamedAnswer, ...] = Field(description="the answers in code that the card names")


class LibraryClaim(Claim):
    """A claim, with what was found of it."""

    outcome: Outcome
    size: str | None = Field(description="the size of the experiment that the outcome is from")
    is_stale: bool = Field(description="whether the experiment's code has changed since")
    finding: Finding


class LibraryResult(Result):
    """What an experiment found, as its file says, with all figures as data."""

    file: str
    is_stale: bool = Field(description="whether the experiment's code has changed since")


class LibraryPaper(Card):
    """A card, its entry in the bibliography, and what follows from both."""

    cite: str
    idea: str = Field(description="the paper in one sentence; empty without one")
    slug: str
    page: str = Field(description="the address of its page, from the site's home")
    file: str
    title: str
    csl: Mapping[str, Any] = Field(description="the entry in the bibliography as CSL-JSON")
    bibtex: str = Field(description="the entry as BibTeX, with those that it inherits from")
    added: datetime.datetime | None = Field(description="the first commit with the card; null if it is not known")
    changed: datetime.datetime | None = Field(description="the last commit that changed the card")
    module: str | None = Field(description="the module that implements the paper")
    experiment: str | None = Field(description="the module of its experiment")
    questions: tuple[LibraryQuestion, ...]
    claims: tuple[LibraryClaim, ...] = Field(description="those with a verdict come first")
    results: tuple[LibraryResult, ...] = Field(description="the largest size first")


class LibraryTopic(Card):
    """A topic: a card of questions that belong to no single paper."""

    idea: str = Field(description="what it is about in a sentence; empty without one")
    slug: str
    page: str = Field(description="the address of its page, from the site's home")
    file: str
    title: str
    added: datetime.datetime | None = Field(description="the first commit with the card; null if it is not known")
    changed: datetime.datetime | None = Field(description="the last commit that changed the card")
    module: str | None = Field(description="the module that is called like it")
    questions: tuple[LibraryQuestion, ...]


class LibraryModule(_Part):
    """A module of the implementation."""

    name: str
    file: str
    summary: str = Field(description="the first line of its docstring")
    page: str = Field(description="the address of its documentation, from the site's home")
    source: str = Field(description="the address of its source as text, from the site's home")


class LibraryPage(_Part):
    """A page written by hand."""

    file: str
    page: str = Field(description="its address, from the site's home")
    title: str
    text: str = Field(description="its Markdown")


class WholeLibrary(_Part):
    """All that cards, bibliography, answers, results, pages and settings say, and what follows from them."""

    schema_version: Annotated[Literal[1], Field(alias="schema")]
    name: str
    description: str
    site: str = Field(description="the address of the site's home; empty if it is not known")
    repository: str = Field(description="the address of the repository; empty if there is none")
    settings: Settings
    papers: tuple[LibraryPaper, ...]
    topics: tuple[LibraryTopic, ...]
    modules: tuple[LibraryModule, ...]
    renamed: Mapping[str, str] = Field(description="former names in the implementation, each with its current name")
    benchmarks: LibraryResult | None
    pages: tuple[LibraryPage, ...]
    attachments: Mapping[str, str] = Field(
        description="pictures and documents beside the cards: the address from the site's home, and the file"
    )


def whole(view: View) -> Iterator[str]:
    """Yield the whole library as JSON, card by card."""
    library = view.library
    speed = library.benchmarks
    told = {
        "schema": SCHEMA,
        "name": view.name,
        "description": view.description,
        "site": view.site_url,
        "repository": view.repo,
        "settings": library.settings.model_dump(mode="json", exclude=_PRIVATE),
        "papers": [],
        "topics": [],
        "modules": [
            {
                "name": module.name,
                "file": module.file,
                "summary": module.summary,
                "page": view.url(addresses.module(module.name)),
                "source": view.url(addresses.source(module.name)),
            }
            for module in library.modules
        ],
        "renamed": dict(library.renamed),
        "benchmarks": speed and _result(speed, library.settings.benchmarks, is_stale=library.is_speed_stale),
        "pages": [
            {
                "file": f"{library.settings.docs}/{path}",
                "page": view.url(path),
                "title": view.title_of(path),
                "text": text,
            }
            for path, text in library.docs.items()
        ],
        "attachments": {view.url(path): file for path, file in library.attachments.items()},
    }
    rest, topics = _json(told) + "\n", view.topics
    for name, slugs in (
        ("papers", [slug for slug in library.papers if slug not in topics]),
        ("topics", [slug for slug in library.papers if slug in topics]),
    ):
        before, empty, rest = rest.partition(f'\n "{name}": []')
        yield before
        yield empty.removesuffix("]")
        for number, slug in enumerate(slugs):
            yield ",\n  " if number else "\n  "
            yield view.told[slug]
        yield "\n ]" if slugs else "]"
    yield rest


def card(view: View, slug: str) -> str:
    """Return what the library says of a paper or a topic as JSON, as it stands in that of the whole."""
    paper = view.library.papers[slug]
    # No string of JSON holds the end of a line.
    return _json(_topic(view, paper) if paper.is_topic else _paper(view, paper)).replace("\n", "\n  ")


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)


def _topic(view: View, paper: Paper) -> dict[str, Any]:
    module, span = view.library.module_of(paper), view.history.files.get(paper.file)
    return {
        "slug": paper.slug,
        "page": view.url(addresses.card(paper.slug)),
        "file": paper.file,
        **paper.card.model_dump(mode="json", by_alias=True, exclude={"questions"}),
        "added": span and span.added.isoformat(),
        "changed": span and span.changed.isoformat(),
        "module": module and module.name,
        "questions": [_question(view, one) for one in view.asked[paper.slug]],
    }


def _paper(view: View, paper: Paper) -> dict[str, Any]:
    card = paper.card.model_dump(mode="json", by_alias=True, exclude={"title", "questions", "claims"})
    library, slug = view.library, paper.slug
    module, experiment = library.module_of(paper), library.experiments.get(slug)
    span = view.history.files.get(paper.file)
    return {
        "slug": slug,
        "page": view.url(addresses.card(slug)),
        "file": paper.file,
        "title": paper.reference.title,
        "csl": csl.item(paper.reference),
        "bibtex": export.bibtex([paper.reference]),
        **card,
        "added": span and span.added.isoformat(),
        "changed": span and span.changed.isoformat(),
        "module": module and module.name,
        "experiment": experiment and experiment.name,
        "questions": [_question(view, one) for one in view.asked[slug]],
        "claims": [
            {
                **one.claim.model_dump(mode="json"),
                "outcome": one.finding.outcome,
                "size": one.result.size if one.result else None,
                "is_stale": one.is_stale,
                "finding": one.finding.model_dump(mode="json"),
            }
            for one in judged(library, paper)
        ],
        "results": [
            _result(one, library.result_file(one), is_stale=library.is_stale(slug, one))
            for one in library.results.get(slug, ())
        ],
    }


def _result(result: Result, file: str, *, is_stale: bool) -> dict[str, Any]:
    return {"file": file, "is_stale": is_stale, **result.model_dump(mode="json", by_alias=True)}


def _question(view: View, asked: Asked) -> dict[str, Any]:
    answer, verdict = asked.answer, view.verdicts.get(asked.id)
    answered = view.history.answered(asked.id)
    return {
        **asked.question.model_dump(mode="json"),
        "line": asked.place.line,
        "state": view.states[asked.id],
        "answered": answered and answered.isoformat(),
        "code": answer and _in_code(answer),
        "verdict": verdict and _last_run(verdict),
        "others": [
            {"name": name, "code": _in_code(one), "verdict": (ran := view.verdicts.get(one.id)) and _last_run(ran)}
            for name, one in asked.named.items()
            if one != answer
        ],
    }


def _in_code(answer: Answer) -> dict[str, Any]:
    return {
        "module": answer.module,
        "object": answer.object,
        "file": answer.place.file,
        "line": answer.place.line,
        "imports": answer.imports,
        "key": answer.key,
        "parts": [{"kind": kind, "text": text} for kind, text in answer.parts],
    }


def _last_run(verdict: Verdict) -> dict[str, Any]:
    return {
        "key": verdict.key,
        "passed": verdict.passed,
        "failure": verdict.failure,
        "at": verdict.at,
        "seconds": verdict.seconds,
        "commit": verdict.commit,
        "versions": dict(verdict.versions),
    }


def schema() -> str:
    """Return the JSON Schema of `library.json`. It allows further fields, which a later version may have."""
    told = WholeLibrary.model_json_schema(mode="serialization")
    for name in _PRIVATE:
        del told["$defs"]["Settings"]["properties"][name]
    described = {"$schema": "https://json-schema.org/draft/2020-12/schema", **_written(told)}
    return json.dumps(described, indent=2, ensure_ascii=False) + "\n"


def _written(part: Any) -> Any:
    """Return a schema in which each object has all of its fields, as they are all written, and may have others."""
    if isinstance(part, list):
        return [_written(one) for one in part]
    if not isinstance(part, dict):
        return part
    kept = {name: _written(value) for name, value in part.items() if (name, value) != ("additionalProperties", False)}
    # Which of two fields a card has is no matter where both are written.
    kept.pop("oneOf", None)
    return (
        {**kept, "required": list(part["properties"])}
        if part.get("type") == "object" and "properties" in part
        else kept
    )


if __name__ == "__main__":
    print(schema(), end="")
