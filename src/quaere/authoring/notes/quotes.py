"""Tell which quotations of a note (`> …`) are the paper's own words, and on which page they stand.

A quotation in Markdown may also be a remark, a callout, a summary, or somebody else's words. It is the paper's where
the note says so: by a page, by quotation marks, by a heading such as "Quotes", or as it speaks for the authors ("we").
In all other cases it stays in the notes, in its place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from quaere.authoring.notes.lines import Kind, Line

_NUMBERS = r"\d{1,4}(?:\s*[-–—~,、至到]\s*\d{1,4})*"
_PLACE = (
    rf"(?:(?:pp?|pgs?|pages?|seiten?)\.?\s*{_NUMBERS}|s\.\s*{_NUMBERS}|第\s*{_NUMBERS}\s*[页頁]"
    r"|(?:§|sec(?:tion|t)?\.?)\s*\d{1,2}(?:\.\d{1,2})*)"
)
_PLACES = rf"(?P<place>{_PLACE}(?:\s*[,，]\s*{_PLACE})?)"
_IN_BRACKETS = rf"[(\[（【]\s*{_PLACES}\s*[)\]）】]"
_ALONE = re.compile(
    rf"[\s*_]*(?:[-–—]+\s*)?(?:{_IN_BRACKETS}|{_PLACES.replace('<place>', '<bare>')})[\s*_.:：]*", re.IGNORECASE
)
_BEHIND = (
    re.compile(rf"\s*(?:[-–—]+\s*)?{_IN_BRACKETS}\s*[.。]?$", re.IGNORECASE),
    re.compile(rf"(?<=[.!?。！？…\"”’」』])\s*[-–—]*\s*{_PLACES}\.?$", re.IGNORECASE),
)
_WITHIN = re.compile(rf"\s*{_IN_BRACKETS}\s*(?=[\"”»」』]$)", re.IGNORECASE)
_ZOTERO = re.compile(
    r"\s*\(\[(?P<cited>[^\]]*)\]\(zotero:[^()\s]*\)\)(?:\s*\(\[pdf\]\(zotero:[^()\s]*\)\))?\s*$", re.IGNORECASE
)
_IN_ZOTERO = re.compile(rf"(?:^|,\s*){_PLACES}$", re.IGNORECASE)
_BEFORE = re.compile(
    rf"(?:{_IN_BRACKETS}\s*[:：]?|{_PLACES.replace('<place>', '<bare>')}\s*[:：])\s*(?=\S)", re.IGNORECASE
)
_HEADING = re.compile(
    r"(?:(?:key|direct|notable|important|favou?rite|selected|interesting|some)\s+)*"
    r"(?:quotes?|quotations?|highlights?|excerpts?|passages|extracts?|abstract|zitate?|auszüge|citas|extraits|"
    r"摘录|引用|原文|摘要)",
    re.IGNORECASE,
)
_PAIRS = {"“": "”", '"': '"', "„": "“", "«": "»", "「": "」", "『": "』"}
# What notes show otherwise than a quote does: links, pictures, code, mathematics, emphasis, lists, HTML, and an
# indented mark, which belongs to a list.
_MARKDOWN = re.compile(
    r"\]\(|\[\[|\[\^|^\[!|`|\$[^$\n]+\$|\\[^\w\s]|\*|(?<!\w)_\S[^_\n]*_(?!\w)|==\S|~~|<[A-Za-z/!][^>\n]*>|&#?\w+;|"
    r"https?://|^\s*(?:[-+•]|\d{1,3}[.)])\s|^\s*#{1,6}\s|^\s*[|>]|^\s*-{3,}$",
    re.MULTILINE,
)
_REMARK = re.compile(
    r"^\W*tl;?\s?dr\b|^\W*(?:todo|note|nb|n\.b\.|remark|question|q|a|answer|comment|edit|update|summary|idea|thoughts?|warning|"
    r"tip|caution|hint|see|cf|source|authors?|date|link|refs?|reference|(?:ref )?papers?|"
    r"笔记|总结|备注|评论)\.?\s*[:：]",
    re.IGNORECASE | re.MULTILINE,
)
_READER = re.compile(r"\bI\b|\b[Mm]y\b|\bimh?o\b|我(?!们)")
_AUTHORS = re.compile(r"\b(?:we|our|ours)\b|\bthis (?:paper|work|article)\b|我们|本文", re.IGNORECASE)
_BY = re.compile(r"(?:\n\s*(?P<own>[-–—]{1,3})|\s[-–—]{1,3})\s*(?P<who>[^\s–—-][^\n–—]*)$")
_FEWEST = 4


@dataclass(frozen=True)
class Quoted:
    """Words of the paper, where they stand, if that is known, and the lines that said so."""

    text: str
    page: str
    lines: tuple[int, ...]


def find(lines: Sequence[Line], is_free: Callable[[int], bool], authors: Sequence[str]) -> Iterator[Quoted]:
    """Yield the quotations of the paper among the lines of a note.

    Args:
        lines: The lines.
        is_free: Tells of the place of a line whether nothing else has taken it.
        authors: The paper's authors.
    """
    at, heading = 0, ""
    while at < len(lines):
        end = at + 1
        if lines[at].kind is Kind.HEADING:
            heading = lines[at].words
        elif lines[at].kind is Kind.QUOTE:
            while end < len(lines) and lines[end].kind is Kind.QUOTE:
                end += 1
            taken, page = _around(lines, at, end)
            if taken and all(map(is_free, taken)):
                said = [re.sub(r"^> ?", "", line.text).rstrip() for line in lines[at:end]]
                page = page or _page(_ALONE.fullmatch(heading))
                if len(taken) == end - at and (several := _several(said, at, is_heading(heading), authors)):
                    yield from several
                elif found := _read("\n".join(said).strip("\n"), page, is_heading(heading), authors):
                    yield Quoted(*found, taken)
        at = end


def is_heading(words: str) -> bool:
    """Tell whether a heading says that quotations of the paper stand below it, or those of a page."""
    words = words.strip(" *_:：")
    return bool(_HEADING.fullmatch(words) or _ALONE.fullmatch(words))


def _around(lines: Sequence[Line], at: int, end: int) -> tuple[tuple[int, ...], str]:
    """Return the lines of a quotation, with one above or below it that only names its page, and the page.

    There are none where it belongs to the words around it.
    """
    taken, page = list(range(at, end)), ""
    below = next((n for n in range(end, min(end + 2, len(lines))) if lines[n].kind is not Kind.BLANK), None)
    above = next((n for n in range(at - 1, max(at - 3, -1), -1) if lines[n].kind is not Kind.BLANK), None)
    if below is not None and lines[below].kind is Kind.TEXT:
        named = _ALONE.fullmatch(lines[below].words)
        if named and (below == end or named["place"] or re.match("[-–—]", lines[below].words)):
            taken, page = [*taken, below], _page(named)
        elif below == end:
            return (), ""  # to Markdown, it goes on there
    if above is not None and lines[above].kind in (Kind.TEXT, Kind.BULLET):
        words = lines[above].words
        if lines[above].kind is Kind.TEXT and not page and (named := _ALONE.fullmatch(words)):
            taken, page = [above, *taken], _page(named)
        elif lines[above].kind is Kind.BULLET and above == at - 1 or re.search(r"[:：,，]\W*$", words):
            return (), ""  # a sentence or a list that it is a part of
    return tuple(taken), page


def _several(said: Sequence[str], at: int, is_below_heading: bool, authors: Sequence[str]) -> list[Quoted]:
    """Return the quotations of lines whose paragraphs are one each, with a page or in quotation marks of their own."""
    found: list[Quoted] = []
    start = 0
    for end in (*(n for n, line in enumerate(said) if not line and n), len(said)):
        if not (text := "\n".join(said[start:end]).strip("\n")):
            continue
        one = _read(text, "", is_below_heading, authors)
        if not one or not (one[1] or text[0] in _PAIRS):
            return []
        found.append(Quoted(*one, tuple(range(at + start, at + end))))
        start = end
    if len(found) < 2:
        return []
    # Blank lines at the end.
    return [*found[:-1], replace(found[-1], lines=tuple(range(found[-1].lines[0], at + len(said))))]


def _read(said: str, page: str, is_below_heading: bool, authors: Sequence[str]) -> tuple[str, str] | None:
    """Return a quotation's words and its page; None if they may not be the paper's."""
    text = said.strip()
    # As Zotero writes it: the words, who wrote them with the page, and links that only one computer knows.
    if found := _ZOTERO.search(text):
        text, page = text[: found.start()].rstrip(), page or _page(_IN_ZOTERO.search(found["cited"]))
    if by := _BY.search(text):
        named = next((found for pattern in (*_BEHIND, _ALONE) if (found := pattern.search(by["who"]))), None)
        who = by["who"][: named.start()] if named else by["who"]
        if _are_authors(who, authors):
            text, page = text[: by.start()].rstrip(), page or _page(named)
        elif by["own"]:
            return None  # somebody else's
    for pattern in () if page else _BEHIND:
        if found := pattern.search(text):
            text, page = text[: found.start()].rstrip(), _page(found)
            break
    if not page and (found := _WITHIN.search(text)):
        text, page = text[: found.start()] + text[-1], _page(found)
    if not page and (found := _BEFORE.match(text)):
        text, page = text[found.end() :], _page(found)
    is_marked = len(text) > 1 and _PAIRS.get(text[0]) == text[-1] and not set(text[1:-1]) & {text[0], text[-1]}
    if is_marked:
        text = text[1:-1].strip()
    is_sure = bool(page) or is_marked or is_below_heading
    is_remark = _REMARK.search(text) or (not page and not is_marked and (_READER.search(text) or text[-1:] in "?？"))
    words = len(re.findall(r"[^\W_]+", text)) + len(re.findall(r"[\u3040-\u30ff\u4e00-\u9fff]", text))
    if _MARKDOWN.search(text) or is_remark or words < _FEWEST or not (is_sure or _AUTHORS.search(text)):
        return None
    return text, page


def _are_authors(who: str, authors: Sequence[str]) -> bool:
    """Tell whether words name nobody but the paper's authors."""
    known = {part.casefold() for name in authors for part in re.findall(r"[^\W\d_]{2,}", name)}
    known |= {"et", "al", "and", "the", "authors", "author", "paper", "ibid", "in"}
    return all(word.casefold() in known for word in re.findall(r"[^\W\d_]+", who) if len(word) > 1)


def _page(found: re.Match[str] | None) -> str:
    """Return where a quotation stands, as it is written on a card: `4`, `4–5`, `§3.2`."""
    if not found:
        return ""
    told = (found.groupdict().get("place") or found.groupdict().get("bare") or "").strip()
    parts = []
    for part in re.split(r"[,，]\s*(?=[^\d\s])", told):
        numbers = re.sub(r"\s*[-–—~至到]\s*", "–", "".join(re.findall(r"[\d.,、\s–—~至到-]", part))).strip(" .")
        is_section = re.match(r"§|sec", part.strip(), re.IGNORECASE)
        parts.append(f"§{numbers}" if is_section else numbers)
    return ", ".join(parts)
