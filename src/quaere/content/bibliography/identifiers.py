"""Normalize identifiers and addresses: DOI, arXiv, URL."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from urllib.parse import unquote

# Of several the first.
_DOI = re.compile(r"10\.\d{4,9}(?:\.\d{1,9}){0,9}/(?:(?![,;]?10\.\d{4,9}/)\S)+")
_ESCAPED = re.compile(r"(?i)://|%2f|%3c.*%3e")
_DOI_HOST = re.compile(r"(?i)^https?://(?:dx\.|www\.)?doi\.org/|^https?://[^/]*doi[.-]org[^/]*/")
# Of today, and of before April 2007.
_ARXIV = r"(?P<id>\d{4}\.\d{4,5}|[a-z][a-z-]*(?:\.[A-Z]{2})?/\d{7})(?P<version>v\d{1,3})?(?!\d)"
_CONTEXT = re.compile(
    rf"(?i:arxiv(?:\.org/(?:abs|pdf|html)/|\s*(?:preprint)?\s*(?:arxiv)?\s*[:/.]\s*|\s+(?:preprint\s+)?))(?:abs/)?{_ARXIV}"
)
_BARE = re.compile(rf"(?i:ar\s*xiv\s*:\s*)?(?:abs/)?{_ARXIV}(?:\.pdf|\s*\[[\w.,\s-]+\])?")

HOMES = {
    "arxiv": "https://arxiv.org/abs/",
    "jstor": "https://www.jstor.org/stable/",
    "pubmed": "https://www.ncbi.nlm.nih.gov/pubmed/",
    "pmid": "https://www.ncbi.nlm.nih.gov/pubmed/",
    "googlebooks": "https://books.google.com/books?id=",
    "hdl": "https://hdl.handle.net/",
    "handle": "https://hdl.handle.net/",
    "hal": "https://hal.science/",
}
"""Where an eprint of each type is found."""


def doi(written: str) -> str | None:
    """Return a DOI without the prefix or the address around it; None if there is none."""
    written = html.unescape(unquote(written) if _ESCAPED.search(written) else written)
    if not (found := _DOI.search(written)):
        return None
    name = found[0].rstrip(".,;\"'")
    for opening, closing in ("()", "<>", "[]"):
        while name.endswith(closing) and name.count(closing) > name.count(opening):
            name = name[:-1]
    return name


def doi_of_address(address: str) -> str | None:
    """Return the DOI that an address of doi.org leads to."""
    return doi(re.split("[?#]", address)[0]) if _DOI_HOST.match(address) else None


def arxiv(fields: Mapping[str, str]) -> str | None:
    """Return the arXiv identifier of an entry, with its version if it has one.

    It may stand in `eprint`, with or without a prefix; or as in "arXiv preprint arXiv:1706.03762" in other fields.

    Args:
        fields: The entry's fields by lower-case name.
    """
    kind = fields.get("archiveprefix") or fields.get("eprinttype") or fields.get("archive") or ""
    eprint = (fields.get("eprint") or fields.get("arxivid", "")).strip()
    if eprint and kind.lower().strip() in ("arxiv", ""):
        if found := _CONTEXT.search(eprint) or _BARE.fullmatch(eprint):
            return found["id"] + (found["version"] or "")
        # The old form leaves its archive to another field.
        archive = fields.get("primaryclass") or fields.get("eprintclass") or ""
        if re.fullmatch(r"\d{7}(v\d{1,3})?", eprint) and archive:
            return f"{archive.partition('.')[0]}/{eprint}"
        if kind:
            return re.sub(r"(?i)^\s*arxiv\s*:\s*", "", eprint) or None
    is_arxiv = re.match(r"(?i)arxiv|corr$", fields.get("journal") or fields.get("journaltitle") or "")
    for name in ("doi", "url", "journal", "journaltitle", "volume", "number", "howpublished", "note", "publisher"):
        written = fields.get(name, "")
        prefix = "arxiv:" if is_arxiv and name in ("volume", "number") else ""
        if found := _CONTEXT.search(prefix + written):
            return found["id"] + (found["version"] or "")
    return None


def without_prefix(eprint: str) -> str:
    """Return an arXiv identifier without the prefix or the address around it; others as they are."""
    found = _CONTEXT.search(eprint)
    return found["id"] + (found["version"] or "") if found else eprint


def url(written: str) -> str:
    """Return the first web address in a text; empty if there is none."""
    written = written.replace("&amp;", "&").strip()
    if found := re.search(r"(?i)\b(?:https?|ftp)://[^\s<>\"]+", written):
        address = found[0].rstrip(".,;'\"")
        return address[:-1] if address.endswith(")") and "(" not in address else address
    if re.fullmatch(r"(?i)www(\.[\w-]+){2,}(/\S*)?|[\w-]+(\.[\w-]+)*\.[a-z]{2,}/\S*", written):
        return f"https://{written}"
    return ""


def home(kind: str, eprint: str) -> str:
    """Return the address of an eprint of a type that is known; empty for others."""
    return HOMES[kind.lower()] + eprint if kind.lower() in HOMES and eprint else ""
