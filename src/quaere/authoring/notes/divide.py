"""Divide notes into parts that are about one paper each; tell apart indexes, templates, talks and other files."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from quaere.authoring.notes import links
from quaere.authoring.notes.fields import field_of, labeled
from quaere.authoring.notes.lines import Kind, Line
from quaere.authoring.notes.paper import names, reference

_TEMPLATES = re.compile(r"(?:^|[\W_])(?:templates?|模板|テンプレート|vorlage)(?:$|[\W_])", re.IGNORECASE)
_TALKS = re.compile(
    r"(?:^|[\W_])(?:talks?|lectures?|slides|seminars?|panels?|meetups?|courses?|workshops?|podcasts?)(?:$|[\W_])",
    re.IGNORECASE,
)
_ABOUT = re.compile(
    r"^(?:license|licence|contributing|changelog|code_of_conduct|security|third_party_notices|agents|claude|security)$",
    re.IGNORECASE,
)
_HOLLOW = re.compile(
    r"^\W*(?:<[^<>]{2,40}>|\{\{[^{}]*\}\}|\[[^\[\]]{0,40}\]\(\)|YYYY|TODO|xxx|\.{3}|…)?\W*$", re.IGNORECASE
)
_GENERIC_WORDS = re.compile(
    r"(?:paper|pdf|arxiv|link|code|notes?|summary|here|blog|post|slides?|video|website|project|github)", re.IGNORECASE
)
_FEW, _MOST = 3, 0.6


@dataclass(frozen=True)
class Part:
    """Lines of a file that are about one paper; `name` is the file's or its folder's, if they are the whole file."""

    file: str
    lines: Sequence[Line]
    name: str = ""
    is_whole: bool = False


@dataclass(frozen=True)
class Row:
    """A row of an index: a paper that it names, with the lines below it, and the file of its note, if it links to one.

    `cells` are the values of a table's row, by the names of its columns.
    """

    file: str
    lines: Sequence[Line]
    cells: Mapping[str, str]
    note: str = ""


@dataclass(frozen=True)
class Aside:
    """Lines that are about no paper, and why."""

    file: str
    lines: Sequence[Line]
    why: str


def divide(file: str, lines: Sequence[Line], files: Mapping[str, object]) -> Iterator[Part | Row | Aside]:
    """Yield the parts of a file.

    Args:
        file: The file, relative to the notes.
        lines: Its lines.
        files: All files of the notes, by path.
    """
    folder, base = posixpath.split(file)
    stem = posixpath.splitext(base)[0]
    is_readme = stem.casefold() in ("readme", "index", "notes", "note", "_index")
    if _ABOUT.fullmatch(stem):
        yield Aside(file, lines, "about the collection, not about a paper")
    elif _TEMPLATES.search(stem) or _is_hollow(lines):
        yield Aside(file, lines, "a template")
    elif _TALKS.search(posixpath.basename(folder)) or re.match(
        r"(?:talk|lecture|panel|seminar)s?[-_ :]", stem, re.IGNORECASE
    ):
        yield Aside(file, lines, "notes on a talk")
    elif not any(line.kind is not Kind.BLANK for line in lines):
        yield Aside(file, lines, "empty")
    elif rows := _rows(file, lines, files):
        yield from rows
    elif (level := _level(lines)) is not None:
        yield from _sections(file, lines, level)
    elif bold := _bold(lines):
        yield from _at(file, lines, bold)
    elif is_readme and not folder and not _is_paper(lines):
        yield Aside(file, lines, "about the collection, not about a paper")
    else:
        yield Part(file, lines, posixpath.basename(folder) if is_readme else base, is_whole=True)


def _is_hollow(lines: Sequence[Line]) -> bool:
    """Tell whether a note has fields and headings and nothing in them."""
    told = [found for line in lines if (found := labeled(line.text))]
    rest = [line for line in lines if line.kind not in (Kind.BLANK, Kind.RULE, Kind.HEADING) and not labeled(line.text)]
    headings = sum(line.kind is Kind.HEADING for line in lines)
    return (
        len(told) + headings >= _FEW
        and all(_HOLLOW.match(value) for _, value in told)
        and all(_HOLLOW.match(line.words) for line in rest)
    )


def _is_paper(lines: Sequence[Line]) -> bool:
    """Tell whether lines begin as those about a paper do: its address, its authors, or a field of it."""
    begun = [line for line in lines if line.kind is not Kind.BLANK][:8]
    if begun and begun[0].kind is Kind.HEADING and any(map(_is_of_paper, links.links(begun[0].words))):
        return True
    for line in begun[1:]:
        if line.kind is Kind.HEADING:
            return False
        if (found := labeled(line.text)) and found[0] in (
            "authors",
            "doi",
            "arxiv",
            "url",
            "venue",
            "idea",
            "tags",
            "affiliations",
        ):
            return True
        if any(map(_is_of_paper, links.links(line.words))) and len(links.without_links(line.words)) <= 40:
            return True
        if line.kind is Kind.TEXT and names(links.plain(line.words)):
            return True
    return False


def _is_of_paper(found: links.Found) -> bool:
    return bool(links.arxiv(found.url) or links.doi(found.url) or links.kind(links.Found("", found.url)) == "paper")


# Several papers in a file


def _level(lines: Sequence[Line]) -> int | None:
    """Return the level of the headings that begin a paper each, if there are several papers."""
    at = [n for n, line in enumerate(lines) if line.kind is Kind.HEADING]
    for level in sorted({lines[n].depth for n in at}):
        starts = [n for n in at if lines[n].depth == level and not field_of(links.plain(lines[n].words))]
        ends = [*starts[1:], len(lines)]
        papers = sum(_is_paper(lines[start:end]) for start, end in zip(starts, ends, strict=False))
        if papers >= 2 and papers * 2 >= len(starts):
            return level
    return None


def _sections(file: str, lines: Sequence[Line], level: int) -> Iterator[Part | Aside]:
    starts = [n for n, line in enumerate(lines) if line.kind is Kind.HEADING and line.depth <= level]
    first = starts[0]
    if any(line.kind is not Kind.BLANK for line in lines[:first]):
        yield Aside(file, lines[:first], "above the first paper")
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        inside = lines[start:end]
        if lines[start].depth < level:
            yield Aside(file, inside, "a heading above several papers")
        elif _is_paper(inside) or any(line.kind is not Kind.BLANK for line in inside[1:]):
            yield Part(file, inside)
        else:
            yield Aside(file, inside, "a heading with nothing below it")


def _bold(lines: Sequence[Line]) -> list[int]:
    """Return where bold lines begin a paper each, if there are several."""
    starts = [
        n
        for n, line in enumerate(lines)
        if line.kind in (Kind.TEXT, Kind.BULLET)
        and line.depth == 0
        and re.match(r"(?:\*\*|__)[^*_:：]{8,}(?:\*\*|__)", line.words)
        and not labeled(line.text)
    ]
    papers = [
        n for n, end in zip(starts, [*starts[1:], len(lines)], strict=False)
        if any(map(_is_of_paper, links.links(lines[n].words))) or _is_paper(lines[n:end]) or reference(lines[n].words)
    ]  # fmt: skip
    return starts if len(papers) >= 2 and len(papers) * 2 >= len(starts) else []


def _at(file: str, lines: Sequence[Line], starts: Sequence[int]) -> Iterator[Part | Aside]:
    if any(line.kind is not Kind.BLANK for line in lines[: starts[0]]):
        yield Aside(file, lines[: starts[0]], "above the first paper")
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield Part(file, lines[start:end])


# Indexes


def _rows(file: str, lines: Sequence[Line], files: Mapping[str, object]) -> list[Row | Aside]:
    """Return the rows of an index with what stands between them; nothing if the file is none."""
    found: list[Row | Aside] = []
    counted = 0
    columns: list[str] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        end = at + 1
        if line.kind is Kind.BULLET and line.depth == 0:
            # With what is indented below it, and the rest of its sentence.
            while end < len(lines) and (
                (lines[end].kind is Kind.BULLET and lines[end].depth > 0) or lines[end].kind is Kind.TEXT
            ):
                end += 1
            if (row := _bullet(file, lines[at:end], files)) is not None:
                found.append(row)
                counted += 1
            else:
                found.append(Aside(file, lines[at:end], "names no paper"))
        elif line.kind is Kind.TABLE:
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.words)]
            if (
                at + 1 < len(lines)
                and re.fullmatch(r"[\s|:-]+", lines[at + 1].words or "")
                and lines[at + 1].kind is Kind.TABLE
            ):
                columns, end = [field_of(links.plain(cell)) for cell in cells], at + 2
                found.append(Aside(file, lines[at:end], "the head of a table"))
            elif columns and (row := _table_row(file, lines[at:end], dict(zip(columns, cells, strict=False)), files)):
                found.append(row)
                counted += 1
            else:
                found.append(Aside(file, lines[at:end], "names no paper"))
        else:
            found.append(Aside(file, lines[at:end], "between the rows of an index"))
        at = end
    said = sum(len(one.lines) for one in found if isinstance(one, Row) or one.why == "names no paper")
    other = sum(
        1
        for one in found
        if isinstance(one, Aside) and one.why.startswith("between") and one.lines[0].kind in (Kind.TEXT, Kind.QUOTE)
    )
    is_index = counted >= _FEW and counted >= _MOST * sum(
        isinstance(one, Row) or one.why == "names no paper" for one in found
    )
    return found if is_index and said > other else []


def _bullet(file: str, lines: Sequence[Line], files: Mapping[str, object]) -> Row | None:
    line = lines[0]
    words = " ".join([line.words, *(one.words for one in lines[1:] if one.kind is Kind.TEXT)])
    note = _note(file, words, files)
    is_of_paper = any(map(_is_of_paper, links.links(words)))
    title = links.plain(re.sub(r"\\?\[+[^\[\]]*\]\([^)]*\)\\?\]*", lambda one: _shown(one[0]), words)).strip(" -–—:.")
    is_named = len(title.split()) >= 2
    is_long = len(re.sub(r"\([^)]*\)", "", words)) > 400
    if is_named and not is_long and (note or is_of_paper or line.is_ticked is not None or reference(words)):
        return Row(file, lines, {}, note)
    return None


def _table_row(file: str, lines: Sequence[Line], cells: dict[str, str], files: Mapping[str, object]) -> Row | None:
    cells.pop("", None)
    title = links.plain(cells.get("title", ""))
    return Row(file, lines, cells, _note(file, lines[0].words, files)) if len(title.split()) >= 2 else None


def _shown(link: str) -> str:
    """Return the words of a link that is a title; nothing for `[paper](…)`."""
    found = re.search(r"\[([^\[\]]*)\]", link)
    words = found[1] if found else ""
    return "" if len(words.split()) <= 2 and _GENERIC_WORDS.search(words) else words


def _note(file: str, words: str, files: Mapping[str, object]) -> str:
    """Return the file of the notes that a row links to; empty if to none."""
    for target in re.findall(r"\]\(<?([^()<>]+?)>?\)", words):
        path = unquote(target.split("#")[0]).strip()
        here = posixpath.normpath(posixpath.join(posixpath.dirname(file), path))
        last = [one for one in files if path.endswith("/" + one)]
        for one in (here, f"{here}.md", f"{here}/README.md", *last[:1]):
            if one in files and one != file:
                return one
    for target in re.findall(r"\[\[([^\]|#]+)", words):
        for one in files:
            if posixpath.splitext(posixpath.basename(one))[0] == target.strip():
                return one
    return ""
