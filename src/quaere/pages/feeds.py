"""Atom feeds (RFC 4287) of what is new: papers, questions asked, questions answered, and all of these by tag.

An entry's id is made from names that outlive rewording and renaming. Its date is that of the event that it tells of, so
that neither a build nor a new run of an unchanged answer makes news.
"""

from __future__ import annotations

import datetime
import hashlib
import heapq
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from enum import StrEnum
from functools import lru_cache, partial
from typing import NamedTuple
from urllib.parse import urljoin

from markupsafe import Markup

from quaere.content import addresses
from quaere.content.states import State
from quaere.pages.markup import Target
from quaere.pages.output import Output
from quaere.pages.page import unicode_mathematics
from quaere.pages.summary import QuestionSummary, Summary
from quaere.pages.view import Here, View

MOST = 40
"""How many entries a feed has at most: the newest."""
_LONGEST = 200
_NEVER = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
# What XML can't hold, not even escaped.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Kind(StrEnum):
    """What an entry tells of. The value is the name of the feed of these alone."""

    PAPER = "papers"
    ASKED = "asked"
    ANSWERED = "answered"


ALL = "all"
TITLES: Mapping[str, str] = {
    ALL: "Papers, questions and answers",
    Kind.PAPER: "New papers",
    Kind.ASKED: "Questions asked",
    Kind.ANSWERED: "Questions answered",
}
"""The titles of the feeds by name."""
_PAGES = {
    ALL: addresses.HOME,
    Kind.PAPER: addresses.PAPERS,
    Kind.ASKED: addresses.QUESTIONS,
    Kind.ANSWERED: addresses.QUESTIONS,
}
_LEADS = {Kind.PAPER: "Paper", Kind.ASKED: "Asked", Kind.ANSWERED: "Answered"}
_HOLDS = (State.DEMONSTRATED, State.ANSWERED)


class Entry(NamedTuple):
    """An event: a paper was added, a question was asked, or it was answered.

    An answer is published when it first appears, in prose or in code, and updated when it first appears in code.
    The newest is the largest: no two entries are alike in the fields up to `kind`.
    """

    updated: datetime.datetime
    slug: str
    anchor: str
    kind: Kind
    published: datetime.datetime
    paper: Summary
    question: QuestionSummary | None = None

    @property
    def title(self) -> str:
        """What happened, in a line."""
        lead = "Topic" if self.kind is Kind.PAPER and self.paper.is_topic else _LEADS[self.kind]
        return f"{lead}: {self.question.words if self.question else self.paper.title}"

    @property
    def target(self) -> str:
        """The page that tells more, with its fragment."""
        return addresses.card(self.paper.slug) + (f"#{self.question.name}" if self.question else "")

    @property
    def name(self) -> str:
        """What its id is made from: the first names of what it is about."""
        return f"{self.kind}/{self.question.origin if self.question else self.paper.origin}"


# The fields of an entry: of thousands of events, those that become one are few.
_Event = tuple[datetime.datetime, str, str, Kind, datetime.datetime, Summary, QuestionSummary | None]
_KIND = 3


def path(name: str) -> str:
    """Return the path of the feed of a name."""
    return f"feeds/{name}.xml"


def of_tag(view: View, tag: str) -> str:
    """Return the path of the feed of a tag."""
    anchor = view.tag_anchors[tag]
    # A file's name has at most 255 bytes.
    return path(f"tag-{anchor if len(anchor.encode()) <= _LONGEST else hashlib.sha256(anchor.encode()).hexdigest()}")


def outputs(view: View) -> Iterator[Output]:
    """Yield all feeds."""
    for name in TITLES:
        yield Output(path(name), partial(_named, name))
    for tag in view.tags:
        yield Output(of_tag(view, tag), partial(_tagged, tag))


def _named(name: str, view: View) -> str:
    entries = (entry for entry in _entries(view, view.summaries.values()) if name in (entry[_KIND], ALL))
    return _feed(view, path(name), TITLES[name], _PAGES[name], entries)


def _tagged(tag: str, view: View) -> str:
    page = f"{addresses.TAGS}#{view.tag_anchors[tag]}"
    return _feed(view, of_tag(view, tag), f"{tag}: {TITLES[ALL].lower()}", page, _entries(view, view.tags[tag]))


def _feed(view: View, file: str, title: str, page: str, entries: Iterable[_Event]) -> str:
    newest = [Entry(*event) for event in heapq.nlargest(MOST, entries)]
    made = view.templates.get_template("feed.xml").render(
        here=_Elsewhere(view, file),
        path=file,
        id=_id(view, file),
        title=title,
        page=page,
        updated=newest[0].updated if newest else _NEVER,
        entries=[(entry, _id(view, entry.name), _content(view, entry)) for entry in newest],
    )
    return _ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", made)


def _entries(view: View, papers: Iterable[Summary]) -> Iterator[_Event]:
    history = view.history
    # As a whole: a build notes what is asked, and thousands of questions cost more than the answer.
    spans, proses, codes = dict(history.files.items()), dict(history.prose.items()), dict(history.code.items())
    for paper in papers:
        asked = [_midnight(question.asked) for question in paper.questions]
        span = spans.get(paper.file)
        # Without git, a card came at the latest with its first question; nothing is known of one without questions.
        if added := span.added if span else min(asked, default=None):
            yield added, paper.slug, "", Kind.PAPER, added, paper, None
        for question, at in zip(paper.questions, asked, strict=True):
            yield at, paper.slug, question.name, Kind.ASKED, at, paper, question
            if question.state in _HOLDS:
                code = codes.get(question.id)
                first = min(filter(None, (proses.get(question.id), code)), default=at)
                updated = code if code and question.state is State.DEMONSTRATED else first
                yield updated, paper.slug, question.name, Kind.ANSWERED, first, paper, question


def _content(view: View, entry: Entry) -> str:
    """Return what an entry says, as HTML."""
    paper, question = entry.paper, entry.question
    here = _Elsewhere(view, addresses.card(paper.slug))
    prose = question.prose if question and entry.kind is Kind.ANSWERED else ""
    made = view.templates.get_template("entry.html").render(
        here=here, paper=paper, question=question, kind=entry.kind, prose=here.block(prose, 3) if prose else ""
    )
    return unicode_mathematics(made).strip()


class _Elsewhere(Here):
    """A page whose texts are read in a feed: whole addresses, or such as are relative to the folder of the feeds."""

    def to(self, target: str) -> str:
        """Return the address of a page."""
        there = Here(self.view, path(ALL)).to(target)
        return urljoin(self.view.whole(path(ALL)), there)

    def wikilink(self, target: str) -> Target | None:
        """Return the target of a wikilink, without the state of a question, whose change is no news of this one."""
        found = super().wikilink(target)
        return found and replace(found, state="")

    def code(self, text: str, language: str) -> Markup:
        """Show code without the classes that style sheets color."""
        return Markup("<pre><code>{}</code></pre>").format(text)


@lru_cache
def _midnight(day: datetime.date) -> datetime.datetime:
    return datetime.datetime.combine(day, datetime.time(), datetime.UTC)


def _id(view: View, name: str) -> str:
    """Return an id that depends on the knowledge base and on a name in it, wherever and however the site is served.

    A clone or a site that moves keeps it: the repository's address comes before the site's.
    """
    return uuid.uuid5(uuid.NAMESPACE_URL, f"{view.repo or view.site_url or view.name}#{name}").urn
