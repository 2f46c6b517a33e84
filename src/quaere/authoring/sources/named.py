"""Tell which paper an identifier or an address names: on arXiv, or by its DOI."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from quaere.content.bibliography import identifiers
from quaere.errors import AuthorError

_ARXIV = r"(?P<id>\d{4}\.\d{4,5}|[a-z][a-z-]*(?:\.[A-Za-z]{2})?/\d{7})(?P<version>v\d{1,3})?"
_ID = re.compile(rf"(?i:arxiv\s*:\s*)?(?:abs/)?{_ARXIV}(?:\.pdf|\s*\[[\w.,\s-]+\])?")
_ON_ARXIV = re.compile(rf"/(?:[a-z-]+/)*{_ARXIV}(?:\.pdf|\.html)?/?")
_ARXIV_HOSTS = re.compile(
    r"(?:[a-z0-9-]+\.)?(?:arxiv\.org|alphaxiv\.org|ar5iv\.org|arxiv-vanity\.com|scirate\.com)|ar5iv\.labs\.arxiv\.org"
    r"|huggingface\.co|hf\.co"
)
# What publishers put behind a DOI.
_BEHIND = re.compile(
    r"(?i)(?:/(?:full|abstract|pdf|epdf|html|meta|references|summary|fulltext|full-text|suppl_file/.*)|\.pdf|\.html?"
    r"|\.full(?:\.pdf|-text)?|\.abstract)$"
)
_HINTS = {
    "openreview.net": "OpenReview shows the entry as BibTeX: copy it, and run `quaere add -`",
    "ieeexplore.ieee.org": "copy the DOI from the page, or the BibTeX by `Cite This`",
    "sciencedirect.com": "copy the DOI from the page, or the BibTeX by `Cite`",
    "semanticscholar.org": "copy the DOI from the page, or the BibTeX by `Cite`",
    "aclanthology.org": "the entry as BibTeX is at the same address with .bib behind it: save it, and add the file",
}
_PASTE = "paste the DOI, or the entry as BibTeX: `quaere add -`"


class Named(NamedTuple):
    """A paper on arXiv or by its DOI; `is_arxiv` tells which."""

    id: str
    is_arxiv: bool


class UnnamedError(AuthorError):
    """An address in which neither a DOI nor an arXiv identifier can be seen."""


def is_address(written: str) -> bool:
    """Tell whether something is a web address."""
    return re.match(r"(?i)(?:https?://|www\.|(?:[a-z0-9-]+\.)+(?:org|com|net|cc|io|co|edu)/)\S+$", written) is not None


def named(written: str) -> Named | None:
    """Return the paper that an identifier or an address names; None if there is none to be seen."""
    written = written.strip().strip("<>").rstrip(".,;")
    if found := _ID.fullmatch(written):
        return _arxiv(found)
    if is_address(written):
        return _of_address(written if "://" in written else f"https://{written}")
    return _of_doi(identifiers.doi(written)) if re.match(r"(?i)(?:doi\s*:\s*)?10\.\d{4,9}", written) else None


def hint(written: str) -> str:
    """Return what to do about an address that names no paper."""
    host = (urlsplit(written if "://" in written else f"https://{written}").hostname or "").removeprefix("www.")
    return next((text for end, text in _HINTS.items() if host == end or host.endswith(f".{end}")), _PASTE)


def _of_address(address: str) -> Named | None:
    try:
        parts = urlsplit(address)
        host = (parts.hostname or "").removeprefix("www.")
    except ValueError:
        return None
    path = unquote(parts.path)
    if _ARXIV_HOSTS.fullmatch(host):
        if found := _ON_ARXIV.fullmatch(path):
            return _arxiv(found)
        return None
    if host == "nature.com" and (
        found := re.fullmatch(r"/articles/([a-z0-9][a-z0-9.-]+?)(?:\.pdf|_reference\.pdf|/.*)?", path)
    ):
        return Named(f"10.1038/{found[1]}", is_arxiv=False)
    if host in ("aclanthology.org", "aclweb.org") and (
        found := re.search(r"/(\d{4}\.[a-z0-9_]+-[a-z0-9_]+\.\d+|[A-Z](?:1[6-9]|20)-\d{4})(?:\.pdf|/|\.bib)?$", path)
    ):
        return Named(f"10.18653/v1/{found[1]}", is_arxiv=False)
    query = parse_qs(parts.query)
    places = [path, *(unquote(value) for name in ("doi", "DOI", "id") for value in query.get(name, []))]
    for place in places:
        if doi := identifiers.doi(place):
            while (shorter := _BEHIND.sub("", doi)) != doi:
                doi = shorter
            if doi.startswith("10.1101/"):
                doi = re.sub(r"v\d+$", "", doi)
            return _of_doi(doi.rstrip("/"))
    return None


def _of_doi(doi: str | None) -> Named | None:
    if not doi:
        return None
    arxiv = identifiers.arxiv({"doi": doi}) if doi.lower().startswith("10.48550/") else None
    return Named(arxiv, is_arxiv=True) if arxiv else Named(doi, is_arxiv=False)


def _arxiv(found: re.Match[str]) -> Named | None:
    number = re.fullmatch(r"(\d\d)(\d\d)\.\d+", found["id"])
    if number and not (number[1] >= "07" and 1 <= int(number[2]) <= 12):
        return None
    return Named(found["id"] + (found["version"] or ""), is_arxiv=True)
