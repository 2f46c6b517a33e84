"""Find the paper that a PDF is: the arXiv identifier or the DOI on its first pages, or in its metadata."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator, Mapping

from quaere.authoring.sources.named import Named, named
from quaere.authoring.sources.services import INSTALL
from quaere.content.bibliography import identifiers
from quaere.errors import AuthorError, MisuseError, Place

_PAGES = 3
_LONGEST = 200_000
# As arXiv prints it along the margin.
_STAMP = re.compile(r"(?i)arxiv\s*:\s*((?:\d{4}\.\d{4,5}|[a-z-]+(?:\.[a-z]{2})?/\d{7})(?:v\d{1,3})?)(?!\d)")
_DOI = re.compile(r"(?i)(?:doi\s*[:.]?\s*(?:org/)?|doi\.org/)\s*(10\.\d{4,9}/[^\s\"<>]+)")


class PdfError(AuthorError):
    """A PDF that can't be read, or that does not say which paper it is."""


def read(data: bytes, file: str) -> Named:
    """Return the paper that a PDF is.

    Raises:
        PdfError: It can't be read, or neither an arXiv identifier nor a DOI stands on its first pages.
        MisuseError: What reads it is not installed.
    """
    try:
        import pypdf
    except ModuleNotFoundError:
        raise MisuseError(Place(file, 0), "reading a PDF needs `pypdf`, which is not installed", INSTALL) from None
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    told, texts = "", []
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        about: Mapping[str, object] = reader.metadata or {}
        told = " ".join(
            str(about.get(name, "")) for name in ("/doi", "/DOI", "/WPS-ARTICLEDOI", "/Subject", "/Title", "/arXivID")
        )
        for page in reader.pages[:_PAGES]:
            texts.append((page.extract_text() or "")[:_LONGEST])
    except Exception as error:
        # pypdf raises whatever a broken file makes it stumble over.
        if not texts:
            problem = f"this PDF can't be read: {str(error) or type(error).__name__}"
            raise PdfError(Place(file, 0), problem, "give the paper's DOI or arXiv identifier instead") from error
    for found in _candidates(told, texts):
        return found
    problem = "neither an arXiv identifier nor a DOI stands on its first pages"
    if not "".join(texts).strip():
        problem = "its first pages have no text, as those of a scan"
    raise PdfError(Place(file, 0), problem, "give the paper's DOI or arXiv identifier instead")


def _candidates(told: str, texts: list[str]) -> Iterator[Named]:
    """Yield what a PDF may be, the likeliest first: what stands on the first page before what it cites."""
    for text in (*texts[:1], told):
        for found in _STAMP.finditer(text):
            if name := named(found[1]):
                yield name
    for text in (told, *texts):
        for found in _DOI.finditer(text):
            if name := named(found[1]):
                yield name
    if doi := identifiers.doi(told):
        yield Named(doi, is_arxiv=False)
    for text in texts[1:]:
        for found in _STAMP.finditer(text):
            if name := named(found[1]):
                yield name
