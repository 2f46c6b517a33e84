"""What the pages of all papers and of all questions are filtered by: facets, and which values each item has.

Scripts read it (assets/facets.js). The choices of all items are one small file, which such a page loads at once; their
texts are another, which is loaded only when something is to be drawn or searched for. A value is its index in the
facet's list.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from quaere.content import own_fields
from quaere.content.results import Outcome
from quaere.content.states import State
from quaere.pages.output import Output
from quaere.pages.page import unicode_mathematics
from quaere.pages.summary import Summary
from quaere.pages.view import MEANINGS, View

READING = {"to-read": "to read", "reading": "being read", "read": "read", "": "not said"}
"""The reading states, and how they are shown; a card need not have one."""
FACETS: Mapping[str, Mapping[str, str]] = {
    "papers": {
        "tag": "Tag",
        "affiliation": "Affiliation",
        "year": "Year",
        "reading": "Reading",
        "implemented": "Code",
        "outcome": "Outcome of a claim",
        "status": "Status",
        "kind": "Kind",
    },
    "questions": {"state": "State", "tag": "Tag", "paper": "Paper"},
}
"""The facets of each list by name, with what they are called."""
_OWN = "extra."
SORTS = {"": "newest first", "title": "by title", "open": "most open questions"}
"""The orders of papers."""


def of_papers(view: View) -> dict[str, str]:
    """Return the facets of the papers of a library, with what they are called: its own fields come last."""
    schema = view.library.extra
    own = {f"{_OWN}{name}": own_fields.title(schema, name) for name in own_fields.facets(schema)}
    has = {"kind": bool(view.topics), "status": view.has_status}
    return {**{name: words for name, words in FACETS["papers"].items() if has.get(name, True)}, **own}


def outputs(view: View) -> Iterator[Output]:
    """Yield what scripts filter and draw."""
    made: dict[str, Callable[[View], Any]] = {
        "papers": papers,
        "papers-texts": paper_texts,
        "questions": questions,
        "questions-texts": question_texts,
    }
    for name, make in made.items():
        yield Output(f"assets/data/{name}.json", partial(_written, make))


def _written(make: Callable[[View], Any], view: View) -> str:
    return json.dumps(make(view), ensure_ascii=False, separators=(",", ":"))


def papers(view: View) -> dict[str, Any]:
    """Return the facets of the papers, and what each paper has in them."""
    papers = list(view.summaries.values())
    years = sorted({one.year for one in papers if one.year is not None}, reverse=True)
    chosen: dict[str, list[Sequence[str]]] = {
        # What a topic can't have, or need not, it does not lack.
        "tag": [one.tags if one.is_topic else one.tags or ("",) for one in papers],
        "affiliation": [() if one.is_topic else one.affiliations or ("",) for one in papers],
        "year": [() if one.is_topic else (str(one.year or ""),) for one in papers],
        "reading": [() if one.is_topic else (one.reading,) for one in papers],
        "implemented": [("yes",) if one.module else () if one.is_topic else ("no",) for one in papers],
        "outcome": [tuple(outcome.value for outcome in one.outcomes) for one in papers],
        "status": [(one.status,) if one.status else () for one in papers],
        "kind": [("topic" if one.is_topic else "paper",) for one in papers],
    }
    own = [dict(one.own) for one in papers]
    chosen |= {
        name: [values.get(name.removeprefix(_OWN), ()) for values in own]
        for name in of_papers(view)
        if name.startswith(_OWN)
    }
    chosen = {name: chosen[name] for name in of_papers(view)}
    orders: dict[str, Iterable[str]] = {
        "year": [*map(str, years), ""],
        "reading": READING,
        "implemented": ("yes", "no"),
        "outcome": [outcome.value for outcome in Outcome],
    }
    labels: dict[str, Mapping[str, str]] = {
        "tag": {"": "none"},
        "affiliation": {"": "none"},
        "year": {"": "unknown"},
        "reading": READING,
        "implemented": {"yes": "implemented here", "no": "reading list"},
    }
    facets = [_facet(name, values, orders.get(name), labels.get(name, {})) for name, values in chosen.items()]
    facets[1]["families"] = _families(view.library.settings.families, facets[1]["values"])
    return {
        "facets": facets,
        "items": _choices(facets, chosen),
        # For sorting.
        "open": [sum(question.state is State.OPEN for question in one.questions) for one in papers],
    }


def paper_texts(view: View) -> dict[str, Any]:
    """Return what is drawn of each paper: slug, title, credits, idea, authors, and its questions by state."""
    states = list(MEANINGS)
    items = []
    for one in view.summaries.values():
        counts = Counter(question.state for question in one.questions)
        cited = " · ".join(filter(None, (one.status, one.cited)))
        texts = [one.slug, _shown(one.heading), cited, _shown(one.idea), ", ".join(one.authors)]
        items.append([*texts, [counts[state] for state in states]])
    return {"states": states, "items": items}


def questions(view: View) -> dict[str, Any]:
    """Return the facets of the questions, what each paper has in them, and the paper and the state of each question."""
    papers = _with_questions(view)
    asked = [(paper, question) for paper in papers for question in paper.questions]
    chosen: dict[str, list[Sequence[str]]] = {
        "state": [(question.state.value,) for _, question in asked],
        "tag": [paper.tags for paper, _ in asked],
        "paper": [(paper.slug,) for paper, _ in asked],
    }
    titles = {paper.slug: paper.title for paper in papers}
    facets = [
        _facet("state", chosen["state"], [state.value for state in MEANINGS], {}),
        _facet("tag", chosen["tag"], None, {}),
        _facet("paper", chosen["paper"], None, titles),
    ]
    former = {old: slug for old, slug in view.library.former_slugs.items() if slug in titles}
    facets[2]["former"] = former
    # The tags of a question are those of its paper.
    tags = _indexes(facets[1], [paper.tags for paper in papers])
    places = _indexes(facets[2], [(paper.slug,) for paper in papers])
    states = _indexes(facets[0], chosen["state"])
    at = {paper.slug: n for n, paper in enumerate(papers)}
    return {
        "facets": facets,
        "papers": [[tags[n], places[n]] for n in range(len(papers))],
        "items": [[at[paper.slug], state[0]] for (paper, _), state in zip(asked, states, strict=True)],
    }


def question_texts(view: View) -> dict[str, Any]:
    """Return what is drawn of each question and of its paper."""
    papers = _with_questions(view)
    return {
        "papers": [[paper.slug, _shown(paper.heading)] for paper in papers],
        "items": [[question.name, _shown(question.ask)] for paper in papers for question in paper.questions],
    }


def _with_questions(view: View) -> list[Summary]:
    return [one for one in view.summaries.values() if one.questions]


def _facet(
    name: str, chosen: Iterable[Sequence[str]], order: Iterable[str] | None, labels: Mapping[str, str]
) -> dict[str, Any]:
    """Return a facet with the values that something has: in a given order, or the most frequent first."""
    counts = Counter(value for values in chosen for value in values)
    # What has no value comes last.
    by_count = sorted(counts, key=lambda value: (not value, -counts[value], value.casefold(), value))
    values = by_count if order is None else [value for value in order if counts[value]]
    facet: dict[str, Any] = {"name": name, "values": values}
    if known := {value: labels[value] for value in values if labels.get(value, value) != value}:
        facet["labels"] = [known.get(value, value) for value in values]
    return facet


def _families(families: Mapping[str, Sequence[str]], values: Sequence[str]) -> dict[str, list[int]]:
    """Return the members of each family that has more than one here; one alone is its own choice."""
    at = {value: n for n, value in enumerate(values)}
    found = {family: [at[member] for member in members if member in at] for family, members in families.items()}
    return {family: members for family, members in found.items() if len(members) > 1}


def _indexes(facet: Mapping[str, Any], chosen: Iterable[Sequence[str]]) -> list[list[int]]:
    at = {value: n for n, value in enumerate(facet["values"])}
    return [[at[value] for value in values] for values in chosen]


def _choices(facets: Iterable[Mapping[str, Any]], chosen: Mapping[str, Iterable[Sequence[str]]]) -> list[Any]:
    """Return for each item its values in each facet."""
    columns = [_indexes(facet, chosen[facet["name"]]) for facet in facets]
    return [list(row) for row in zip(*columns, strict=True)]


def _shown(html: str) -> str:
    """Return a text as a script shows it: the mathematics in it is no drawing."""
    return unicode_mathematics(html)


def by_year(papers: Iterable[Summary]) -> dict[str, tuple[int, Summary]]:
    """Return for each year how many papers are of it, and the first of them."""
    found: dict[str, tuple[int, Summary]] = {}
    for one in papers:
        if one.is_topic:
            continue
        year = str(one.year or "unknown")
        count, first = found.get(year, (0, one))
        found[year] = count + 1, first
    return found
