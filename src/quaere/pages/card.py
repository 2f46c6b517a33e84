"""The page of one card."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote

from quaere.content.model import Answer, Asked, Departure, Paper, Reading, Verdict
from quaere.content.states import State
from quaere.pages import result, text
from quaere.pages.view import INDEX, Page, View, badge, card_path, module_path, stamp

_LINK_KINDS = {
    "paper": "Paper",
    "code": "Code",
    "article": "Articles",
    "video": "Videos",
    "blog": "Blogs",
    "discussion": "Discussions",
}


def write(view: View, paper: Paper, citations: Mapping[str, str]) -> str:
    """Write a card's page."""
    page = Page(view, card_path(paper.slug))
    parts = [_head(page, paper), _about(page, paper)]
    # The ids of questions are addresses that people keep; no section's id can be one, because of its underscore.
    parts += _section("Lineage", "lineage_", _lineage(page, paper))
    parts += _section("Links", "links_", _links(paper))
    parts += _section("Notes", "notes_", [page.block(paper.card.notes)] if paper.card.notes else [])
    parts += _section("Questions", "questions_", [_question(page, asked) for asked in view.asked[paper.slug]])
    parts += _section("Departures", "departures_", _departures(page, paper))
    parts += _section("Claims", "claims_", result.claims(page, paper))
    parts += _section("Experiment", "experiment_", result.experiment(page, paper))
    parts += _section("Cite", "cite_", [_tab(name, citation) for name, citation in citations.items()])
    return "\n\n".join(parts) + "\n"


def _section(name: str, id: str, parts: Iterable[str]) -> list[str]:
    """Put a heading over what there is to show."""
    parts = [part for part in parts if part]
    return [f"## {name} {{ #{id} }}", *parts] if parts else []


def _head(page: Page, paper: Paper) -> str:
    reference = paper.reference
    fields = [("description", paper.card.idea), ("title", reference.title)]
    front = "\n".join(f"{name}: {text.title(value)}" for name, value in fields)
    authors = text.escape(", ".join(map(str, reference.authors or reference.editors)))
    published = [text.escape(part) for part in (reference.venue, str(reference.year or "")) if part]
    published += [f'<a href="{address}">{text.escape(name)}</a>' for name, address in _addresses(paper)]
    return "\n".join(
        [
            f"---\n{front}\nhide: [navigation]\nsearch: {{boost: 2}}\n---",
            f"\n[← Papers]({page.to(INDEX)}){{ .q-back data-search-exclude=1 }}",
            f"\n# {text.escape(reference.title)}",
            f"\n{authors}\n{{ .q-authors }}" if authors else "",
            f"\n{' · '.join(published)}\n{{ .q-published }}" if published else "",
            f"\n{page.inline(paper.card.idea)}\n{{ .q-idea }}",
        ]
    )


def _addresses(paper: Paper) -> Iterator[tuple[str, str]]:
    reference = paper.reference
    if doi := reference.fields.get("doi"):
        yield f"doi:{doi}", text.href(f"https://doi.org/{quote(doi, safe='/:;()._-')}")
    if arxiv := reference.arxiv:
        yield f"arXiv:{arxiv}", text.href(f"https://arxiv.org/abs/{quote(arxiv, safe='/.')}")
    url = reference.fields.get("url", "")
    if re.match(r"https?://[^\s/]", url):
        yield "publisher’s page", text.href(url)


def _about(page: Page, paper: Paper) -> str:
    """Write the card's metadata as a list of definitions."""
    card, view = paper.card, page.view
    ids = [asked.id for asked in view.asked[paper.slug]]
    module = view.library.module_of(paper)
    mentions = [f"[{_doc_title(path, view.docs[path])}]({page.to(path)})" for path in view.mentions.get(paper.slug, ())]
    rows = {
        "Tags": " ".join(map(page.tag, card.tags)),
        "Affiliations": ", ".join(map(page.affiliation, card.affiliations)),
        "Reading": _reading(card.reading) if card.reading else "",
        "Questions": page.badges(ids) or "none yet",
        "Code": f"{page.module(module)}, [source]({view.source(module.file)})"
        if module
        else "none: a reading-list card",
        "Discussed in": ", ".join(mentions),
        "Card": f"`{paper.slug}` · [edit {text.escape(paper.file)}]({view.edit(paper.file)})",
    }
    return _rows(rows)


def _doc_title(path: str, markdown: str) -> str:
    heading = re.search(r"^# (.+?)(?:\s*\{[^}]*\})?\s*$", markdown, re.MULTILINE)
    return text.escape(heading[1] if heading else path)


def _reading(reading: Reading) -> str:
    words = {"to-read": "to read", "reading": "being read", "read": "read"}[reading.state]
    return f"{words}, through {text.escape(reading.through)}" if reading.through else words


def _lineage(page: Page, paper: Paper) -> list[str]:
    """Show what the paper builds on, the paper, and what builds on it, side by side and in words."""
    papers = page.view.library.papers
    before = [papers[slug] for slug in paper.card.builds_on if slug in papers]
    after = page.view.built_on(paper.slug)
    if not before and not after:
        return []
    columns = {"builds on": before, "this paper": [paper], "built on by": after}
    arrow = '<p class="q-arrow" aria-hidden="true">→</p>'
    shown = f"\n\n{arrow}\n\n".join(_column(page, paper, name, papers) for name, papers in columns.items() if papers)
    return [f'<div class="q-lineage" markdown="1">\n\n{shown}\n\n</div>']


def _column(page: Page, this: Paper, name: str, papers: Iterable[Paper]) -> str:
    titles = [f"**{text.escape(paper.reference.title)}**" if paper is this else page.paper(paper) for paper in papers]
    items = "\n".join(f"- {title}" for title in titles)
    return f'<div markdown="1">\n<p class="q-label">{name}</p>\n\n{items}\n\n</div>'


def _links(paper: Paper) -> list[str]:
    rows = {}
    for kind, name in _LINK_KINDS.items():
        links = [link for link in paper.card.links if link.kind == kind]
        rows[name] = "<br>".join(f'<a href="{text.href(link.url)}">{text.escape(link.title)}</a>' for link in links)
    return [_rows(rows)]


def _rows(rows: Mapping[str, str]) -> str:
    """Write a list of definitions; what is empty is left out."""
    items = "\n".join(
        f'<div markdown="1">\n<dt>{name}</dt>\n<dd markdown="span">{row}</dd>\n</div>'
        for name, row in rows.items()
        if row
    )
    return f'<dl class="q-about" markdown="1">\n{items}\n</dl>' if items else ""


def _question(page: Page, asked: Asked) -> str:
    """Write a question: its state and what stands behind it, the prose, the code that answers, and where it stands."""
    state = page.view.states[asked.id]
    verdict = page.view.verdicts.get(asked.id)
    parts = [
        f'<div class="q-question" data-state="{state}" markdown="1">',
        f"### {text.inline(asked.question.ask, page.wikilink)} {{ #{asked.question.id} }}",
        f"{badge(state)} {_known(page.view, asked, state, verdict)}\n{{ .q-status }}",
    ]
    if asked.question.answer:
        parts.append(page.block(asked.question.answer))
    if asked.answer:
        parts += [
            page.block(part) if kind == "text" else text.fence("pycon", part) for kind, part in asked.answer.parts
        ]
        if state is State.BROKEN and verdict:
            parts.append(
                f'??? failure "What failed"\n\n{text.indent(text.fence("text", verdict.failure or "no output"))}'
            )
        parts += [_where(page, asked.answer), text.fence("sh", f"quaere verify {asked.id}")]
    return "\n\n".join([*parts, "</div>"])


def _known(view: View, asked: Asked, state: State, verdict: Verdict | None) -> str:
    """Say what stands behind a state."""
    if state is State.OPEN:
        return (
            f"asked {asked.question.asked} · [answer it in the card]({view.edit(asked.place.file, asked.place.line)})"
        )
    if state is State.ANSWERED:
        return f"in prose · asked {asked.question.asked}"
    if verdict is None:
        return "not run yet"
    ran = stamp(view, verdict.at, verdict.seconds, verdict.commit, verdict.versions)
    if state is State.UNVERIFIED:
        return f"changed since it last {'held' if verdict.passed else 'failed'}: {ran}"
    return f"{'passed' if verdict.passed else 'failed'} {ran}"


def _where(page: Page, answer: Answer) -> str:
    """Link to where an answer stands: on the page of its module, and in the repository."""
    module = next(module for module in page.view.library.modules if module.name == answer.module)
    name = answer.object.removeprefix(f"{answer.module}.")
    api = page.to(f"{module_path(module.name)}#{answer.object}")
    source = page.view.source(answer.place.file, answer.place.line)
    place = f"{text.escape(answer.place.file)}, line {answer.place.line}"
    return f"Answered by [`{name}`]({api}) in [{place}]({source})\n{{ .q-where }}"


def _departures(page: Page, paper: Paper) -> list[str]:
    """Tabulate where the paper departs from others, then where the code departs from the paper."""
    parts = []
    for of, lead in (
        ("paper", "The paper departs from what it builds on."),
        ("implementation", "The code departs from the paper, or follows other code where the paper is silent."),
    ):
        rows = [_departure(page, departure) for departure in paper.card.departures if departure.of == of]
        if rows:
            table = "\n".join(["| What | Where | From | Shown by |", "| --- | --- | --- | --- |", *rows])
            parts.append(f'{lead}\n\n<div class="q-departures" markdown="1">\n\n{table}\n\n</div>')
    return parts


def _departure(page: Page, departure: Departure) -> str:
    known = page.view.library.papers.get(departure.from_)
    origin = page.paper(known) if known else text.escape(departure.from_)
    # A test's name is a sentence; it may be broken between its words.
    test = f"<code>{departure.test.replace('_', '_<wbr>')}</code>" if departure.test else "–"
    return f"| {page.inline(departure.what)} | {page.inline(departure.where)} | {origin} | {test} |"


def _tab(name: str, citation: str) -> str:
    language = {"BibTeX": "bibtex", "CSL-JSON": "json"}.get(name, "text")
    return f'=== "{name}"\n\n{text.indent(text.fence(language, citation))}'
