"""Tell the format of a text by its content, and read the entries in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from quaere.authoring.sources import csl_json, ris
from quaere.authoring.sources.found import Found, Made, Reading, Unread, of_bibtex, of_made
from quaere.errors import AuthorError, Place

BIBTEX, CSL_JSON, RIS, PDF, WORDS = "BibTeX", "CSL-JSON", "RIS", "PDF", "words"
_KINDS_OF_BIBTEX = re.compile(r"^[ \t]*@[A-Za-z]+\s*[{(]", re.MULTILINE)
_CHUNK = 200


class UnknownFormatError(AuthorError):
    """A text in no format that can be read."""


def decoded(data: bytes, file: str) -> tuple[str, list[str]]:
    """Return a text, in UTF-8 or as Windows and EndNote write it, and what there is to say of that."""
    for sign, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig")):
        if data.startswith(sign):
            return data.decode(encoding, "replace"), []
    try:
        return data.decode(), []
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        told = f"{Place(file, line)}: this is not UTF-8; the file was read as Windows-1252"
        return data.decode("cp1252", "replace"), [told]


def format_of(text: str) -> str:
    """Return the format of a text."""
    head = text.lstrip("\ufeff \t\r\n")
    if head.startswith("%PDF-"):
        return PDF
    if head.startswith(("[", "{")):
        return CSL_JSON
    if re.search(r"^\s?TY  ?- ?", head, re.MULTILINE):
        return RIS
    return BIBTEX if _KINDS_OF_BIBTEX.search(head) else WORDS


def read(text: str, file: str, tell: Callable[[int], None] = lambda _: None) -> Reading:
    """Read the entries of a text.

    Args:
        text: The text.
        file: What it is called.
        tell: Is told how many entries have been read since it was told last.

    Raises:
        UnknownFormatError: It is in no format of a bibliography, or has no entry.
    """
    form = format_of(text)
    if form == BIBTEX:
        parts: Iterable[Found | Unread | str] = of_bibtex(text, file)
    elif form == CSL_JSON:
        parts = _of_made(csl_json.read(text, file))
    elif form == RIS:
        parts = _of_made(ris.read(text, file))
    else:
        problem = "this is empty" if not text.strip() else "this is neither BibTeX, nor CSL-JSON, nor RIS"
        hint = "give an entry, a file with entries, an arXiv identifier, a DOI or an address"
        raise UnknownFormatError(Place(file), problem, hint)
    reading = Reading()
    for part in parts:
        if isinstance(part, Found):
            reading.found.append(part)
        elif isinstance(part, Unread):
            reading.unread.append(part)
        else:
            reading.preambles.append(part)
        tell(1)
    if not reading.found and not reading.unread:
        raise UnknownFormatError(Place(file), f"there is no entry in this {form}", "look at the file")
    return reading


def _of_made(parts: Iterable[Made | Unread]) -> Iterable[Found | Unread]:
    made: list[Made] = []
    for part in parts:
        if isinstance(part, Unread):
            yield part
            continue
        made.append(part)
        if len(made) == _CHUNK:
            yield from of_made(made)
            made = []
    yield from of_made(made)
