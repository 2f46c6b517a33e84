"""Tell which quotations of a note are the paper's own words, and on which page they stand.

A quotation in Markdown may also be a remark, a callout, a summary, or somebody else's words. It is the paper's where
the note says so: by a page, by quotation marks, by a heading such as "Quotes", or as it speaks for the authors ("we").
Outside of a quotation, words in quotation marks are the paper's only with a citation that names the page. In all other
cases they stay in the notes, in their place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from quaere.authoring.notes import annotated
from quaere.authoring.notes.annotated import PAIRS, Annotation
from quaere.authoring.notes.lines import Kind, Line, dedented, indent

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
# `Maker et al 2017:5`, `@maker2017, 5`, and the other numbers that pages have: `p. xii`
_NUMBER = re.compile(
    rf"(?:\b(?:19|20)\d\d[a-z]?:\s*|^(?=@)[^\s,]+,\s*)(?P<place>{_NUMBERS})$|(?:^|,\s*)pp?\.\s*(?P<bare>[\w–-]{{1,12}})$"
)
_YEAR = re.compile(r"\(?\b(?:19|20)\d\d[a-z]?\b\)?")
_BEFORE = re.compile(
    rf"(?:{_IN_BRACKETS}\s*[:：]?|{_PLACES.replace('<place>', '<bare>')}\s*[:：])\s*(?=\S)", re.IGNORECASE
)
_HEADING = re.compile(
    r"(?:(?:key|direct|notable|important|favou?rite|selected|interesting|some)\s+)*"
    r"(?:quotes?|quotations?|highlights?|annotations?|excerpts?|passages|extracts?|abstract|zitate?|auszüge|citas|extraits|"
    r"摘录|引用|原文|摘要)",
    re.IGNORECASE,
)
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
    """Words of the paper, where they stand, if that is known, the lines that said so, and the reader's own words."""

    text: str
    page: str
    lines: tuple[int, ...]
    note: str = ""


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
                    yield Quoted(*found[:2], taken, *found[2:])
        elif lines[at].kind is Kind.BULLET:
            if item := _item(lines, at, is_free, authors):
                yield item
                end = item.lines[-1] + 1
        elif lines[at].kind is Kind.TEXT:
            while end < len(lines) and lines[end].kind is Kind.TEXT:
                end += 1
            yield from _paragraph(lines, at, end, is_free, authors)
        at = end


def _paragraph(
    lines: Sequence[Line], at: int, end: int, is_free: Callable[[int], bool], authors: Sequence[str]
) -> list[Quoted]:
    """Return the quotations of a paragraph that consists of them, each with a citation."""
    begins = not at or lines[at - 1].kind in (Kind.BLANK, Kind.HEADING, Kind.RULE) or not is_free(at - 1)
    if not begins or not all(map(is_free, range(at, end))):
        return []
    made: list[Quoted] = []
    while at < end:
        found = next(
            ((stop, one) for stop in range(at + 1, end + 1) if (one := _annotated(lines[at:stop], authors))), None
        )
        # One that stands deeper belongs to a list.
        if not found or (lines[at].text[:1].isspace() and not found[1].is_exported):
            return []
        stop, one = found
        made.append(Quoted(one.text, one.page, tuple(range(at, stop)), one.note))
        at = stop
    return made


def _item(lines: Sequence[Line], at: int, is_free: Callable[[int], bool], authors: Sequence[str]) -> Quoted | None:
    """Return the quotation that an item of a list is, with what stands below it in the list as the reader's words."""
    line, end = lines[at], at + 1
    while end < len(lines) and lines[end].kind is Kind.TEXT and indent(lines[end].text) > line.depth:
        end += 1
    if line.is_ticked is not None or not all(map(is_free, range(at, end))):
        return None
    found = _annotated(lines[at:end], authors)
    if not found or not (found.is_exported or _stands_alone(lines, at)):
        return None
    below = list(filter(is_free, _below(lines, end, line.depth)))
    if any(_annotated(lines[n : n + 1], authors) for n in below):
        below = []
    told = "\n".join(dedented([lines[n].text for n in below]))
    note = "\n\n".join(filter(None, (found.note, told)))
    return Quoted(found.text, found.page, (*range(at, end), *below), note)


def _annotated(lines: Sequence[Line], authors: Sequence[str]) -> Annotation | None:
    """Return the quotation with a citation that some lines are."""
    first = lines[0].words
    if len(lines) > 1 and (found := annotated.of_properties(first, [line.text for line in lines[1:]])):
        return found
    text, page = "\n".join(line.words for line in lines), ""
    if lead := _BEFORE.match(text):
        text, page = f"{text[lead.end() :]} (p. {_page(lead)})", _page(lead)
    if not (found := annotated.read(text, _cited, lambda who: not authors or _are_authors(who, authors))):
        return None
    found = replace(found, page=page or found.page)
    is_plain = not _MARKDOWN.search(found.text) and _words(found.text) >= _FEWEST
    return found if found.is_exported or is_plain else None


def _cited(citation: str) -> tuple[str, str]:
    """Return the page that a citation ends with, and the names before it."""
    found = _IN_ZOTERO.search(citation) or _NUMBER.search(citation)
    who = citation[: found.start()] if found else citation
    page = _page(found) if found and found.re is not _NUMBER else found["place"] or found["bare"] if found else ""
    # A key says who it is by its own rules.
    return page, "" if who.startswith("@") or not found else _YEAR.sub("", who).strip(" ,")


def _stands_alone(lines: Sequence[Line], at: int) -> bool:
    """Tell whether an item of a list is no part of a sentence, nor of another item."""
    if lines[at].depth:
        return False
    above = next(
        (
            lines[n]
            for n in range(at - 1, -1, -1)
            if lines[n].kind is Kind.TEXT and not indent(lines[n].text) or lines[n].kind is Kind.HEADING
        ),
        None,
    )
    is_led = above is not None and above.kind is Kind.TEXT and re.search(r"[:：,，]\W*$", above.words)
    return not is_led or is_heading(above.words if above else "")


def _below(lines: Sequence[Line], start: int, depth: int) -> range:
    """Return the lines of a list that stand deeper."""
    n = start
    while n < len(lines) and lines[n].kind in (Kind.BULLET, Kind.TEXT) and indent(lines[n].text) > depth:
        n += 1
    return range(start, n)


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
        if not one or not (one[1] or text[0] in PAIRS):
            return []
        found.append(Quoted(*one[:2], tuple(range(at + start, at + end)), *one[2:]))
        start = end
    if len(found) < 2:
        return []
    # Blank lines at the end.
    return [*found[:-1], replace(found[-1], lines=tuple(range(found[-1].lines[0], at + len(said))))]


def _read(said: str, page: str, is_below_heading: bool, authors: Sequence[str]) -> tuple[str, str, str] | None:
    """Return a quotation's words, its page and the reader's words on it; None if it may not be the paper's."""
    text = said.strip()
    are_known = bool(authors)
    one = annotated.read(text, _cited, lambda who: not are_known or _are_authors(who, authors))
    if one and one.is_exported:
        return one.text, one.page or page, one.note
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
    is_marked = len(text) > 1 and PAIRS.get(text[0]) == text[-1] and not set(text[1:-1]) & {text[0], text[-1]}
    if is_marked:
        text = text[1:-1].strip()
    is_sure = bool(page) or is_marked or is_below_heading
    is_remark = _REMARK.search(text) or (not page and not is_marked and (_READER.search(text) or text[-1:] in "?？"))
    if _MARKDOWN.search(text) or is_remark or _words(text) < _FEWEST or not (is_sure or _AUTHORS.search(text)):
        return None
    return text, page, ""


def _words(text: str) -> int:
    return len(re.findall(r"[^\W_]+", text)) + len(re.findall(r"[\u3040-\u30ff\u4e00-\u9fff]", text))


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
