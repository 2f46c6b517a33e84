"""The library for other programs: references, a dump of everything, and each card as Markdown, beside the pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import count
from urllib.parse import urlencode

from quaere.content.bibliography import csl, export
from quaere.content.bibliography.reference import OTHERS, Reference
from quaere.content.model import Paper, Status
from quaere.pages import dump
from quaere.pages.claims import judged
from quaere.pages.notebook import in_words
from quaere.pages.output import Output
from quaere.pages.view import Here, View

LIBRARY, INDEX = "library.json", "llms.txt"
REFERENCES: Mapping[str, str] = {"bib": "bibtex", "ris": "ris", "csl.json": "csl-json"}
"""The formats of references, by the ending of their files."""
WHOLE = (LIBRARY, *(f"references.{ending}" for ending in REFERENCES), INDEX)
"""The paths of what holds the whole library."""

# The level of a card's sections as Markdown, below which its texts stand.
_BELOW, _DEEPEST = 2, 6
# Headings and the names of footnotes, but for what stands in code.
_MARKED = re.compile(
    r"""
    ^[ ]{0,3}(?P<fence>`{3,}|~{3,})(?:.*?\n[ ]{0,3}(?P=fence)|.*)
    | (?<!`)(?P<ticks>`+)(?!`)[^\n]*?(?<!`)(?P=ticks)(?!`)
    | ^(?P<heading>\#{1,6})(?=[ \t])
    | \[\^(?P<note>[^\]\s]+)\](?P<defined>:?)
    """,
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)
_ITEMS = {
    "article": "preprint",
    "paper-conference": "conferencePaper",
    "chapter": "bookSection",
    "thesis": "thesis",
    "report": "report",
    "webpage": "webpage",
    "software": "computerProgram",
    "dataset": "dataset",
    "speech": "presentation",
    "patent": "patent",
}
"""What Zotero calls each kind of reference."""


def outputs(view: View) -> Iterator[Output]:
    """Yield all exports: of the whole library, and of each card."""
    yield Output(LIBRARY, dump.whole)
    yield Output(INDEX, index)
    for ending, form in REFERENCES.items():
        yield Output(f"references.{ending}", partial(_references, form))
    for slug in view.library.papers:
        for ending, form in REFERENCES.items() if not view.library.papers[slug].is_topic else ():
            yield Output(_path(slug, ending), partial(_reference, form, slug))
        yield Output(_path(slug, "md"), partial(_as_markdown, slug))


def _references(form: str, view: View) -> str:
    return export.FORMATS[form](list({one.key: one for one in view.references.values()}.values()))


def _reference(form: str, slug: str, view: View) -> str:
    return export.FORMATS[form]([view.references[slug]])


def _as_markdown(slug: str, view: View) -> str:
    return markdown(view, view.library.papers[slug])


def path(paper: Paper, ending: str) -> str:
    """Return the path of a card in another format: `bib`, `ris`, `csl.json` or `md`."""
    return _path(paper.slug, ending)


def _path(slug: str, ending: str) -> str:
    return f"assets/cards/{slug}.{ending}"


def markdown(view: View, paper: Paper) -> str:
    """Return a card as Markdown; links to other cards are their names."""
    return "\n\n".join(part.strip() for part in _parts(view, paper) if part.strip()) + "\n"


def _parts(view: View, paper: Paper) -> Iterator[str]:
    card, library, reference = paper.card, view.library, paper.reference
    here, texts = Here(view, path(paper, "md")).of(paper), count(1)

    def text(written: str) -> str:
        return in_words(_set_apart(written, next(texts)), here)

    def said(line: str) -> str:
        return in_words(" ".join(line.split()), here)

    yield f"# {reference.title}"
    yield " · ".join(part for part in (reference.credits, reference.venue, str(reference.issued)) if part)
    if card.status:
        yield f"**{said(status(view, card.status))}**"
    yield said(card.idea)
    before = (view.kin[slug].name for slug in card.builds_on if slug in view.kin)
    about = (("Tags", card.tags), ("Affiliations", card.affiliations), ("Builds on", tuple(before)))
    yield "\n".join(f"- {name}: {', '.join(found)}" for name, found in about if found)
    for asked in view.asked[paper.slug]:
        yield f"## {said(asked.question.ask)}"
        by = f" by {asked.question.by}" if asked.question.by else ""
        yield f"({view.states[asked.id]}, asked {asked.question.asked}{by})"
        for reply, answer in asked.replies:
            if given := ", ".join(str(one) for one in (reply.by, reply.answered) if one):
                yield f"Answered: {given}"
            yield text(reply.text or "")
            for kind, part in answer.parts if answer else ():
                yield text(part) if kind == "text" else _fenced(part.strip())
    yield f"## Notes\n\n{text(card.notes)}" if card.notes else ""
    yield "## Quotes" if card.quotes else ""
    for quote in card.quotes:
        # Its words stand as they are, whatever Markdown would make of them.
        yield _fenced(quote.text.strip(), "text")
        yield f"({quote.page})" if quote.page else ""
        yield text(quote.note or "")

    yield _listed(
        "Claims",
        (f"{said(one.claim.says)} ({said(one.claim.where)}): {one.finding.outcome}" for one in judged(library, paper)),
    )
    yield _listed(
        "Departures", (f"{said(one.what)} ({one.of}, {said(one.where)}, from {one.from_})" for one in card.departures)
    )
    yield _listed("Links", (f"[{link.title}]({link.url})" for link in card.links))


def _set_apart(text: str, number: int) -> str:
    """Return a text for a page of several: its headings below those of the page, its footnotes named unlike others."""
    if "#" not in text and "[^" not in text:
        return text
    found = list(_MARKED.finditer(text))
    down = max(0, _BELOW + 1 - min((len(one["heading"]) for one in found if one["heading"]), default=_BELOW + 1))
    defined = {one["note"] for one in found if one["note"] and one["defined"]}

    def marked(one: re.Match[str]) -> str:
        if one["heading"]:
            return "#" * min(_DEEPEST, len(one["heading"]) + down)
        return f"[^{number}-{one['note']}]{one['defined']}" if one["note"] in defined else one[0]

    return _MARKED.sub(marked, text)


def status(view: View, one: Status) -> str:
    """Say what has become of a paper, in a sentence."""
    named = view.kin[one.by].name if one.by and one.by in view.kin else one.by
    by, since = f" by {named}" if named else "", f", {one.since}" if one.since else ""
    return f"This paper was {one.state}{by}{since}." + (f" {one.note}" if one.note else "")


def _listed(title: str, lines: Iterable[str]) -> str:
    """Return a section with a list; nothing for an empty one."""
    shown = "\n".join(f"- {line}" for line in lines)
    return f"## {title}\n\n{shown}" if shown else ""


def _fenced(code: str, language: str = "pycon") -> str:
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", code)), default=0))
    return f"{fence}{language}\n{code}\n{fence}"


def index(view: View) -> str:
    """Return a list of all cards for language models, in the format of llmstxt.org."""
    lines: dict[str, list[str]] = {"Papers": [], "Topics": []}
    for paper in view.papers:
        idea = in_words(" ".join(paper.card.idea.split()), Here(view, INDEX).of(paper))
        title = re.sub(r"([\\\[\]])", r"\\\1", paper.reference.title)
        line = f"[{title}]({path(paper, 'md')})" + (f": {idea}" if idea else "")
        lines["Topics" if paper.is_topic else "Papers"].append(line)
    sections = (_listed(title, some) for title, some in lines.items())
    return "\n\n".join(filter(None, [f"# {view.name or 'Papers'}", *sections])) + "\n"


def coins(reference: Reference) -> str:
    """Return a reference as ContextObject in Span (COinS), by which Zotero takes a paper from a page.

    Source: ANSI/NISO Z39.88-2004, the formats of journal articles and of dissertations, books and others.
    """
    fields = reference.fields
    is_article = "journal" in fields or "journaltitle" in fields
    kind = "journal" if is_article else "book" if reference.kind == "book" else "dc"
    pairs = [("ctx_ver", "Z39.88-2004"), ("rft_val_fmt", f"info:ofi/fmt:kev:mtx:{kind}")]
    if is_article:
        pairs += [("rft.genre", "article"), ("rft.atitle", reference.title), ("rft.jtitle", reference.venue)]
        pairs += [(f"rft.{name}", fields.get(name, "")) for name in ("volume", "issue", "pages")]
    elif kind == "book":
        pairs += [("rft.genre", "book"), ("rft.btitle", reference.title), ("rft.pub", fields.get("publisher", ""))]
    else:
        pairs += [
            ("rft.type", _ITEMS.get(csl.kind(reference).csl, "document")),
            ("rft.title", reference.title),
            ("rft.source", reference.venue),
        ]
    pairs += [("rft.date", str(reference.issued))]
    pairs += [("rft.creator" if kind == "dc" else "rft.au", str(name)) for name in reference.authors if name != OTHERS]
    if reference.doi:
        pairs.append(("rft_id", f"info:doi/{reference.doi}"))
    elif reference.arxiv:
        pairs.append(("rft_id", f"https://arxiv.org/abs/{reference.arxiv}"))
    return urlencode([(name, value) for name, value in pairs if value], errors="replace")
