"""Complete what notes say of papers, from arXiv, Crossref and DataCite."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from quaere.authoring.notes.paper import Draft
from quaere.authoring.sources.found import alike
from quaere.authoring.sources.services import Record, Services


def complete(
    drafts: Sequence[Draft], services: Services, tell: Callable[[int, int], None] = lambda _, __: None
) -> list[str]:
    """Give drafts the entries that services have of their papers; what a note says itself stays on its card.

    Args:
        drafts: What notes say of papers.
        services: Who is asked: by arXiv identifier, by DOI, or else by title.
        tell: Is told how many papers have been asked about, and of how many.

    Returns:
        Remarks on those that were not found, or are others.

    Raises:
        ServiceError: One of them can't be asked.
    """
    remarks: list[str] = []
    by_arxiv = {one.arxiv: one for one in drafts if one.arxiv}
    by_doi = {one.doi: one for one in drafts if one.doi and not one.arxiv}
    done = 0
    for index, ask, name in ((by_arxiv, services.on_arxiv, "arXiv:"), (by_doi, services.by_doi, "doi:")):
        for id, record in ask(list(index)) if index else ():
            done += 1
            tell(done, len(drafts))
            draft = index[id]
            place = f"{draft.file}:{draft.line}"
            if record is None:
                remarks.append(f"{place}: {name}{id} is not known there")
            elif not _may_be(draft.title, record.title):
                remarks.append(f"{place}: {name}{id} is called `{record.title}`: it was not taken for this paper")
            else:
                _take(draft, record)
    for draft in drafts:
        if draft.entry or draft.arxiv or draft.doi:
            continue
        done += 1
        tell(done, len(drafts))
        if record := services.by_title(draft.title, [name.split(",")[0].split()[-1] for name in draft.authors if name]):
            _take(draft, record)
        else:
            remarks.append(f"{draft.file}:{draft.line}: neither Crossref nor arXiv has a paper of this title")
    return remarks


def _may_be(title: str, other: str) -> bool:
    """Tell whether a note's title, which may be short, may be that of a paper."""
    words, others = set(alike(title).split()), set(alike(other).split())
    return not words or not others or len(words & others) * 2 >= min(len(words), len(others))


def _take(draft: Draft, record: Record) -> None:
    fields = record.made.fields
    draft.entry = (record.made.kind, dict(fields))
    draft.title = draft.title or record.title
    draft.authors = draft.authors or list(record.authors)
    draft.year = draft.year or (int(fields["year"]) if fields.get("year", "").isdigit() else None)
    draft.doi = draft.doi or record.doi
    draft.arxiv = draft.arxiv or fields.get("eprint", "")


def recall(drafts: Sequence[Draft], completed: Sequence[Draft]) -> None:
    """Give drafts what was found when the same notes were read before."""
    found = {(one.file, one.line): one for one in completed if one.entry}
    for draft in drafts:
        if known := found.get((draft.file, draft.line)):
            for name in ("entry", "title", "authors", "year", "doi", "arxiv"):
                setattr(draft, name, getattr(known, name))
