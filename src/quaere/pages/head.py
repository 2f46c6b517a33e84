"""What the head of a page tells feed readers, reference managers, search engines, and previews of links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from quaere.content import addresses
from quaere.content.bibliography import csl
from quaere.content.bibliography.reference import OTHERS, Name, Reference
from quaere.content.model import Paper
from quaere.content.states import State
from quaere.pages import exports, feeds, notebook, previews
from quaere.pages.page import unicode_mathematics
from quaere.pages.summary import QuestionSummary
from quaere.pages.view import View

_FEEDS = {
    addresses.PAPERS: (feeds.Kind.PAPER,),
    addresses.QUESTIONS: (feeds.Kind.ASKED, feeds.Kind.ANSWERED),
}
_TYPES = {
    "bib": ("application/x-bibtex", "BibTeX"),
    "ris": ("application/x-research-info-systems", "RIS"),
    "csl.json": ("application/vnd.citationstyles.csl+json", "CSL-JSON"),
    "md": ("text/markdown", "This card as Markdown"),
}
_PAGES = re.compile(r"\s*([^\s–—-]+)\s*(?:[–—-]+\s*([^\s–—-]+)\s*)?")


def context(view: View, path: str, title: str, description: str, paper: Paper | None) -> dict[str, Any]:
    """Return the context of the template `head.html`.

    Args:
        view: The view.
        path: The page.
        title: Its title, plain text.
        description: What it is about, plain text.
        paper: The paper whose card it is, if it is one.
    """
    followed = [(feeds.TITLES[name], feeds.path(name)) for name in (*_FEEDS.get(path, ()), feeds.ALL)]
    return {
        "title": view.name if path == addresses.HOME and view.name else title,
        "description": description or view.description,
        "url": view.whole(path),
        "picture": view.whole(previews.path(view, paper.slug if paper else "")) if view.site_url else "",
        "size": (previews.WIDTH, previews.HEIGHT),
        "is_card": paper is not None,
        "feeds": followed,
        "alternates": list(_alternates(view, paper)) if paper else [],
        "citation": [(name, value) for name, value in _citation(paper) if value]
        if paper and not paper.is_topic
        else [],
        "data": _card(view, paper, description) if paper else _site(view) if path == addresses.HOME else None,
    }


def _alternates(view: View, paper: Paper) -> Iterator[tuple[str, str, str]]:
    """Yield the type, the path and the title of each other form of a card."""
    for ending, (kind, title) in _TYPES.items():
        if paper.is_topic and ending in exports.REFERENCES:
            continue
        yield kind, exports.path(paper, ending), title
    if notebook.has_code(view, paper):
        yield "application/x-ipynb+json", notebook.path(paper), "The answers as a notebook"


def _citation(paper: Paper) -> Iterator[tuple[str, str]]:
    """Yield what Highwire's tags tell of a paper, without their prefix `citation_`.

    Source: Google Scholar's inclusion guidelines; Zotero's translator "Embedded Metadata".
    """
    reference = paper.reference
    fields, kind = reference.fields, csl.kind(reference).csl
    yield "title", reference.title
    for name in reference.authors:
        if name is not OTHERS:
            yield "author", str(name)
    yield "publication_date", reference.issued.iso.replace("-", "/")
    venue = _venue(reference)
    if kind.startswith(("article-", "review")):
        yield "journal_title", venue
    elif kind == "paper-conference":
        yield "conference_title", venue
    elif kind == "chapter":
        yield "inbook_title", venue
    elif kind == "thesis":
        yield "dissertation_institution", fields.get("school") or fields.get("institution", "")
    elif kind == "report":
        yield "technical_report_institution", fields.get("institution", "")
        yield "technical_report_number", fields.get("number", "")
    yield "publisher", fields.get("publisher", "")
    yield "volume", fields.get("volume", "")
    yield "issue", fields.get("issue") or (fields.get("number", "") if kind.startswith("article-") else "")
    if pages := _PAGES.fullmatch(fields.get("pages", "")):
        yield "firstpage", pages[1]
        yield "lastpage", pages[2] or ""
    yield "issn", fields.get("issn", "")
    yield "isbn", fields.get("isbn", "")
    yield "doi", reference.doi or ""
    yield "arxiv_id", reference.arxiv or ""
    yield "pdf_url", _pdf(reference)


def _venue(reference: Reference) -> str:
    names = ("journaltitle", "journal", "booktitle", "eventtitle")
    return next((reference.fields[name] for name in names if reference.fields.get(name)), "")


def _pdf(reference: Reference) -> str:
    """Return the address of the paper as PDF, if it is known."""
    if re.search(r"\.pdf$", reference.url, re.IGNORECASE):
        return reference.url
    return f"https://arxiv.org/pdf/{reference.arxiv}" if reference.arxiv else ""


def _site(view: View) -> dict[str, object]:
    """Return what the home page is, in the terms of schema.org."""
    told = {"@context": "https://schema.org", "@type": "WebSite"}
    return told | _known(name=view.name, description=view.description, url=view.site_url)


def _card(view: View, paper: Paper, description: str) -> dict[str, object]:
    """Return what a card is, in the terms of schema.org: a page about an article, with questions.

    It is no QAPage: that is for one question, which users answer.
    """
    page = addresses.card(paper.slug)
    asked = view.summaries[paper.slug].questions
    return {"@context": "https://schema.org", "@type": "WebPage"} | _known(
        name=paper.reference.title,
        description=description,
        url=view.whole(page),
        isPartOf={"@type": "WebSite"} | _known(name=view.name, url=view.site_url) if view.name else None,
        about=None if paper.is_topic else _article(paper),
        hasPart=[_question(one, view.whole(f"{page}#{one.name}")) for one in asked],
    )


def _article(paper: Paper) -> dict[str, object]:
    reference = paper.reference
    doi, arxiv = reference.doi, reference.arxiv
    same = [f"https://doi.org/{doi}" if doi else "", f"https://arxiv.org/abs/{arxiv}" if arxiv else ""]
    venue = _venue(reference)
    return {"@type": "ScholarlyArticle"} | _known(
        headline=reference.title,
        author=[_person(name) for name in reference.authors if name is not OTHERS],
        datePublished=reference.issued.iso if (reference.year or 0) > 0 else "",
        isPartOf={"@type": "PublicationVolume", "name": venue} if venue else None,
        keywords=list(paper.card.tags),
        sameAs=[one for one in same if one],
    )


def _person(name: Name) -> dict[str, str]:
    return {"@type": "Organization" if name.is_literal else "Person", "name": str(name)}


def _question(question: QuestionSummary, url: str) -> dict[str, object]:
    holds = question.state in (State.DEMONSTRATED, State.ANSWERED)
    said = " ".join(Markup(unicode_mathematics(question.brief)).striptags().split()) if holds else ""
    return {"@type": "Question"} | _known(
        name=question.words,
        url=url,
        dateCreated=question.asked.isoformat(),
        acceptedAnswer={"@type": "Answer", "text": said} if said else None,
    )


def _known(**told: object) -> dict[str, object]:
    return {name: value for name, value in told.items() if value}
