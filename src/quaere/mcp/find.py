"""Finds papers, questions and claims by words: with the site's own script, in a JavaScript engine in this process.

The script reads what `pages.search` writes; here that is made of the cards' texts, without rendering a page.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as package_files
from itertools import chain
from typing import Any
from urllib.parse import unquote

import quickjs

from quaere.api import Paper
from quaere.pages import search

LONGEST = 1000
"""Characters of a query that are looked for."""

_MEMORY = 512 << 20
_KINDS = {"Question": "question", "Claim": "claim"}
_CALLED = """
const load = async (path) => {
  const text = loaded(path);
  if (!text) throw new Error(path);
  return JSON.parse(text);
};
let told;
const ask = (query) => {
  told = undefined;
  find(query).then((found) => (told = found.hits), (error) => (told = `${error}`));
};
"""


@dataclass(frozen=True)
class Hit:
    """What was found.

    Attributes:
        kind: `paper`, `question` or `claim`.
        name: The name of the paper or topic, or that of the question or the claim, `<paper>.<id>`.
        title: The title, or what is asked or claimed.
        about: The authors and the year, or the paper that it belongs to.
        snippet: Words around what was asked for, if that is in no title.
    """

    kind: str
    name: str
    title: str
    about: str
    snippet: str


class Finder:
    """Finds things in some papers, in one thread."""

    def __init__(self, papers: Mapping[str, Paper]) -> None:
        self._parts: dict[str, str] = {}
        followers = Counter(before.slug for paper in papers.values() for before in paper.builds_on)
        entries, words = [], search.Words()
        for number, paper in enumerate(papers.values()):
            read = _read(number, paper, followers[paper.slug])
            entries.append(read.entry)
            words.add(read)
            self._parts[read.entry.parts] = read.parts
        self._files = dict(chain(search.files_of_names(entries), words.files()))
        self._context = quickjs.Context()
        self._context.set_memory_limit(_MEMORY)
        self._context.add_callable("loaded", lambda path: self._parts.get(path) or self._files.get(path, ""))
        self._context.eval(_CALLED + _script())

    def find(self, query: str) -> list[Hit]:
        """Return what the site's search finds, the best first."""
        self._context.eval(f"ask({json.dumps(query[:LONGEST])})")
        while self._context.execute_pending_job():
            pass
        hits = json.loads(self._context.eval("JSON.stringify(told)"))
        if isinstance(hits, str):
            raise RuntimeError(hits)
        return [_hit(one) for one in hits]


def _read(number: int, paper: Paper, followers: int) -> search.Read:
    card, title = paper.card, search.one_line(paper.title)
    quotes = (f"{quote.text} {quote.note or ''}" for quote in card.quotes)
    extra = (f"{key} {value}" for key, value in card.extra.items())
    parts = [search.Part("", "", title, search.one_line(" ".join((card.idea, card.notes or "", *quotes, *extra))))]
    for question in paper.questions:
        text = search.one_line(" ".join(f"{one.text} {one.code or ''}" for one in question.answers))
        id = question.id.partition(".")[2]
        parts.append(search.Part(id, "Q", search.one_line(question.ask), text, question.state.value))
    for claim in card.claims:
        parts.append(search.Part(claim.id, "C", search.one_line(claim.says), search.one_line(claim.where)))
    said = paper.year, card.status.state if card.status else ""
    authors = ["topic"] if paper.is_topic else paper.surnames
    weight = followers + len(paper.questions) // 3
    name = search.row(paper.slug, paper.title, paper.name, authors, said, weight)
    names = (*paper.authors, *card.tags, *card.affiliations, paper.venue)
    return search.entry(number, name, tuple(search.identifiers(paper.doi, paper.arxiv)), parts, names)


def _hit(hit: Mapping[str, Any]) -> Hit:
    slug, _, id = str(hit["address"]).partition("#")
    kind = _KINDS.get(hit["kind"], "paper")
    return Hit(kind, f"{slug}.{unquote(id)}" if id else slug, hit["title"], hit["context"], hit.get("snippet", ""))


@cache
def _script() -> str:
    """Return the script as one that can be run by itself: it is a module, which imports `load` alone."""
    source = (package_files("quaere.site") / "theme/assets/find.js").read_text(encoding="utf-8")
    return re.sub(r"^(import .*|export )", "", source, flags=re.MULTILINE)
