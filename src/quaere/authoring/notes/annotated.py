"""Read a quotation with its citation, as Zotero, its templates and other programs write what was marked in a PDF.

They write it as a paragraph or an item of a list, in quotation marks or highlighted, with a citation behind it that
names the page or leads to it, and the reader's own words behind that:

    “The toys run down.” ([Maker et al., 2017, p. 5](zotero://select/…)) ([pdf](zotero://open-pdf/…?page=5)) Do they?
    - ==The toys run down.== [(p. 5)](zotero://open-pdf/…)
    "The toys run down." [@maker2017, p. 5]
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

PAIRS = {"“": "”", '"': '"', "„": "“", "«": "»", "「": "」", "『": "』"}
_PROGRAM = re.compile(
    r"^(?:zotero|highlights|papers|readcube|skim)[\w-]*:|^(?!https?:).*\.pdf#|[?&]annotation=", re.IGNORECASE
)
_PAGE = re.compile(r"[?&#]page=(\d{1,4})\b", re.IGNORECASE)
_LINK = r"\[(?P<cited>(?:\\.|[^\[\]\\])*)\]\((?P<url>[^()\s]+)\)"
_CITATIONS = tuple(
    re.compile(rf"\s*{pattern}[.。]?")
    for pattern in (
        rf"[(（]\s*{_LINK}\s*[)）]",
        _LINK,
        r"[(（]?\[\[(?P<url>[^\[\]|]+\.pdf#[^\[\]|]*)(?:\|(?P<cited>[^\[\]]*))?\]\][)）]?",
        r"[(（\[【](?P<url>)(?P<cited>[^()（）\[\]【】]+)[)）\]】]",
    )
)
_OPENED = re.compile(r"(?:<(?:mark|span|u|font)\b[^<>]*>|==|\*{1,3}|_{1,2})+", re.IGNORECASE)
_CLOSED = re.compile(r"(?:</(?:mark|span|u|font)>|==|\*{1,3}|_{1,2})+", re.IGNORECASE)
_HIGHLIGHT = re.compile(r"<mark\b|==", re.IGNORECASE)
# What a PDF's words are never written with.
_FORMATTED = re.compile(
    r"</?(?:b|i|em|strong|sub|sup|u|span|mark|font)\b[^<>]*>|(?<!\\)\*{1,3}|(?<![\\\w])_(?=\S)|(?<=\S)(?<!\\)_(?!\w)"
)
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_LOGSEQ = re.compile(r"^\s*(?P<name>[\w-]+):: *(?P<value>.*)$")


@dataclass(frozen=True)
class Annotation:
    """Words of a PDF, the page, and the reader's own words on them.

    `is_exported` tells that a program wrote it: that a link leads to the place in the PDF.
    """

    text: str
    page: str
    note: str
    is_exported: bool


def read(text: str, page_of: Callable[[str], tuple[str, str]], are_authors: Callable[[str], bool]) -> Annotation | None:
    """Read a quotation with its citation; None if it is none, or somebody else's.

    Args:
        text: A paragraph, or an item of a list.
        page_of: Returns the page that a citation ends with, and what stands before it.
        are_authors: Tells whether words name nobody but the paper's authors.
    """
    lead = found.end() if (found := _OPENED.match(text)) else 0
    is_highlighted = bool(_HIGHLIGHT.search(text[:lead]))
    closing = PAIRS.get(text[lead : lead + 1], "")
    start = lead + len(closing)
    if not closing and not is_highlighted:
        return None
    for found in re.finditer(re.escape(closing) if closing else _CLOSED, text[start:]):
        end, behind = start + found.start(), start + found.end()
        if closing and (mark := _CLOSED.match(text, behind)):
            behind = mark.end()
        if (cited := _citation(text, behind, page_of, are_authors)) and (closing or cited.is_exported):
            said, note = text[start:end], text[cited.end :].strip()
            is_sentence = re.match(r"[,;:]|and\b", note) or "](zotero:" in note
            if is_sentence or (note and not cited.is_exported) or not _is_one(said, text[lead : lead + 1], cited):
                return None
            said = _plain(said) if cited.is_exported else said.strip()
            return Annotation(said, cited.page, re.sub(r"^[-–—:]+\s+", "", note), cited.is_exported) if said else None
    return None


def of_properties(words: str, properties: Sequence[str]) -> Annotation | None:
    """Read a block that Logseq writes of what was marked in a PDF: the words, and below them `hl-page:: 5`."""
    found = [_LOGSEQ.match(line) for line in properties]
    named = {one["name"]: one["value"].strip() for one in found if one}
    if len(named) != len(properties) or not named.get("hl-page", "").isdecimal() or words.startswith("[:span]"):
        return None
    return Annotation(words.strip(), named["hl-page"], "", is_exported=True)


@dataclass(frozen=True)
class _Cited:
    page: str
    is_exported: bool
    end: int


def _citation(
    text: str, at: int, page_of: Callable[[str], tuple[str, str]], are_authors: Callable[[str], bool]
) -> _Cited | None:
    """Return the page that the citations from a place on name, and where they end; None if they name none."""
    page, led, is_exported = "", "", False
    while found := next((one for pattern in _CITATIONS if (one := pattern.match(text, at))), None):
        cited, url = _ESCAPED.sub(r"\1", found["cited"] or "").strip("()（） "), found["url"]
        place, who = page_of(cited)
        is_program = bool(_PROGRAM.search(url))
        if not place and not is_program:
            break  # something else in brackets
        # A program names a work without authors by its title.
        if who and not re.search('[“"”]', who) and not are_authors(who):
            return None
        page, is_exported = page or place, is_exported or is_program
        led = led or (number[1] if (number := _PAGE.search(unquote(url))) else "")
        at = found.end()
    return _Cited(page or led, is_exported, at) if page or led else None


def _is_one(said: str, opening: str, cited: _Cited) -> bool:
    """Tell whether words between quotation marks are one quotation: marks in them are of others in it."""
    if opening not in PAIRS or (opening == PAIRS[opening] and cited.is_exported):
        return True
    depth = 0
    for sign in said:
        depth += (sign == opening) - (sign == PAIRS[opening] != opening)
        if depth < 0 or (depth and opening == PAIRS[opening]):
            return False
    return not depth


def _plain(said: str) -> str:
    """Return words as they stand in the PDF, without what Markdown puts around them."""
    said = re.sub(r"^==|==$", "", said.strip())
    return html.unescape(_ESCAPED.sub(r"\1", _FORMATTED.sub("", said))).strip()
