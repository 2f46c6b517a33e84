"""What an import of notes makes: cards, entries of the bibliography, pictures; and an account of each line."""

from __future__ import annotations

import datetime
import difflib
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

from quaere.authoring import amending, edit, entries, renaming
from quaere.authoring.changes import Change, Changes
from quaere.authoring.notes import divide, joining, links, paper
from quaere.authoring.notes.divide import Aside, Part, Row
from quaere.authoring.notes.fields import values
from quaere.authoring.notes.joining import Conflict
from quaere.authoring.notes.lines import Fate, Line, scan
from quaere.authoring.notes.paper import Draft, asked_alike
from quaere.authoring.questions import id_of
from quaere.content import located_yaml
from quaere.content.attachments import PICTURES
from quaere.content.bibliography.bibtex import Bibliography
from quaere.content.model import Library, Paper

FOLDER = "imported"
"""Where what was imported is kept, below the folder of the cards: the base of the next import's comparison."""

_TEMPLATE = 3
_SAME_TITLE = 0.6
"""How alike two titles must be for one to be the other as it was edited, from 0 to 1."""
_IMPORTED = re.compile(r"# Imported from (.*)\n")
_SAME_NOTES = 0.6
"""How alike two notes must be for one to be the other under another name, from 0 to 1."""
_PICTURE = re.compile(
    r"!\[(?P<alt>[^\]]*)\]\((?P<path><[^>]+>|[^)\s]+)(?P<title>\s+(?:\"[^\"]*\"|'[^']*'))?\)(?:\{[^{}]*\})?"
)
_EMBEDDED = re.compile(r"!\[\[(?P<path>[^\]|]+)(?:\|[^\]]*)?\]\]")
_IMG = re.compile(r"<img\b[^>]*?\bsrc\s*=\s*[\"'](?P<path>[^\"']+)[\"'][^>]*?/?>", re.IGNORECASE)
_WIKILINK = re.compile(r"(?<!!)\[\[(?P<target>[^\]|#]+)(?P<part>#[^\]|]*)?(?:\|(?P<words>[^\]]+))?\]\]")
_LOCAL = re.compile(r"(?<!!)\[(?P<words>[^\[\]]+)\]\((?P<path>(?![a-z][a-z0-9+.-]*:|#|//)[^()\s]+)\)", re.IGNORECASE)
_CODE = re.compile(r"^(?P<fence>[ \t]*(?:`{3,}|~{3,})).*?^(?P=fence)[ \t]*$|`[^`\n]+`", re.DOTALL | re.MULTILINE)


@dataclass
class Planned:
    """A card that an import makes or changes.

    Attributes:
        slug: The card's name.
        draft: What the notes say.
        base: The name under which they were imported: the card's, or that of one that was merged into it.
        status: `new`, `changed`, `same`, or `conflict`.
        card: The card's fields.
        entry: The entry of the bibliography; empty where the library has one.
        pictures: The pictures to be copied: from the notes, to the folder of the cards.
        text: The card's file, as it is imported.
    """

    slug: str
    draft: Draft
    base: str
    status: str = "new"
    card: dict[str, Any] = field(default_factory=dict)
    entry: str = ""
    pictures: dict[str, str] = field(default_factory=dict)
    text: str = ""
    conflicts: list[Conflict] = field(default_factory=list)


@dataclass
class Plan:
    """The cards of an import, the changes of the author's files, and what has become of each line."""

    cards: list[Planned]
    asides: list[Aside]
    fates: list[Fate]
    changes: Changes

    @property
    def pictures(self) -> list[tuple[str, str]]:
        """All pictures to be copied: from the notes, to the folder of the cards."""
        return [pair for one in self.cards for pair in one.pictures.items()]


def plan(
    sources: Mapping[str, str],
    library: Library,
    texts: Callable[[str], str | None],
    *,
    files: Collection[str] = (),
    asked: datetime.date,
    dates: Mapping[str, datetime.date] | None = None,
    look_up: Callable[[Sequence[Draft]], object] = lambda _: None,
) -> Plan:
    """Plan an import.

    Args:
        sources: The notes: their texts by path.
        library: The knowledge base.
        texts: Returns the text of a file of the knowledge base, by its path; None if there is none.
        files: The other files beside the notes, pictures among them.
        asked: When questions were asked whose file has no date.
        dates: When the files were first written, where that is known.
        look_up: Completes what notes say of papers that are not in the library.
    """
    sources = {file: _readable(text) for file, text in sources.items()}
    lines = {file: scan(text) for file, text in sources.items()}
    parts = [part for file in sorted(lines) for part in divide.divide(file, lines[file], lines)]
    counts = Counter(one for part in parts if isinstance(part, Part) for one in set(paper.questions_in(part.lines)))
    templates = {one for one, count in counts.items() if count >= _TEMPLATE}
    asides = [part for part in parts if isinstance(part, Aside)]
    drafts: list[Draft] = []
    for part in parts:
        if isinstance(part, Part):
            draft = paper.read(part.file, part.lines, name=part.name, is_whole=part.is_whole, templates=templates)
            draft.date = draft.date or str((dates or {}).get(part.file, ""))
            drafts.append(draft)
    drafts = _merged(drafts)
    rows = [part for part in parts if isinstance(part, Row)]
    drafts = _with_rows(drafts, rows)
    known = _known(library)
    # What others know of the papers is no part of what the notes say.
    told = {id(draft): _fields(draft) for draft in drafts}
    look_up([draft for draft in drafts if not any(name in known for name in _names(draft))])
    planned = _named(drafts, library, known, texts)
    _complete(planned, library, files, asked)
    fates = [Fate(one.file, line.number, "", one.why) for one in asides for line in one.lines]
    fates += [fate for draft in drafts for fate in draft.fates]
    return Plan(
        planned,
        asides,
        sorted(fates, key=lambda fate: (fate.file, fate.line)),
        _changes(planned, library, texts, told, sources),
    )


# One paper, one draft


def _merged(drafts: Iterable[Draft]) -> list[Draft]:
    """Join drafts of the same paper: what the later ones add comes below."""
    kept: dict[str, Draft] = {}
    made: list[Draft] = []
    for draft in drafts:
        names = list(_names(draft))
        first = next((kept[name] for name in names if name in kept), None)
        if first is None:
            made.append(draft)
            first = draft
        else:
            _fill(first, draft)
            number = len(first.questions)
            first.questions += draft.questions
            stem = posixpath.splitext(posixpath.basename(draft.file))[0]
            first.quotes += draft.quotes
            if draft.notes:
                first.notes = f"{first.notes}\n\n## {stem}\n\n{draft.notes}".strip()
            first.fates += [replace(fate, to=_moved(fate.to, number)) for fate in draft.fates]
        for name in (*names, *_names(first)):
            kept.setdefault(name, first)
    return made


def _moved(to: str, by: int) -> str:
    return re.sub(r"^questions\[(\d+)\]", lambda found: f"questions[{int(found[1]) + by}]", to)


def _names(draft: Draft) -> Iterable[str]:
    if draft.arxiv:
        yield f"arxiv:{draft.arxiv}"
    if draft.doi:
        yield f"doi:{draft.doi.casefold()}"
    if len(title := asked_alike(draft.title)) > 12:
        yield title


def _fill(draft: Draft, other: Draft) -> None:
    """Take what a draft lacks from another one of the same paper."""
    for name in (
        "title",
        "year",
        "venue",
        "doi",
        "arxiv",
        "url",
        "short",
        "idea",
        "reading",
        "through",
        "date",
        "within",
    ):
        setattr(draft, name, getattr(draft, name) or getattr(other, name))
    draft.authors = draft.authors if len(draft.authors) >= len(other.authors) else other.authors
    draft.tags += [one for one in other.tags if one not in draft.tags]
    draft.affiliations += [one for one in other.affiliations if one not in draft.affiliations]
    draft.links += [one for one in other.links if one["url"] not in {has["url"] for has in draft.links}]


def _with_rows(drafts: list[Draft], rows: Iterable[Row]) -> list[Draft]:
    """Add what the rows of indexes say: to the draft of the note that they link to, of the same paper, or a new one."""
    by_name = {name: draft for draft in reversed(drafts) for name in _names(draft)}
    by_file = {draft.file: draft for draft in reversed(drafts)}
    made = list(drafts)
    for row in rows:
        draft = _of_row(row)
        known = by_file.get(row.note) or next((by_name[name] for name in _names(draft) if name in by_name), None)
        if known:
            _fill(known, draft)
            known.fates += draft.fates
        else:
            made.append(draft)
            by_name |= dict.fromkeys(_names(draft), draft)
    return made


def _of_row(row: Row) -> Draft:
    first = row.lines[0]
    if row.cells:
        cells = "\n".join(f"{name}: {value}" for name, value in row.cells.items())
        draft = paper.read(row.file, scan(cells), is_whole=False)
        draft.fates = [Fate(row.file, first.number, "title")]
        return replace(draft, line=first.number, notes="")
    words = " ".join([first.words, *(one.words for one in row.lines[1:] if not _is_bullet(one))])
    heading = scan(f"# {words}")
    draft = paper.read(row.file, heading, is_whole=False)
    draft.line = first.number
    if found := paper.reference(words):
        draft.title, draft.authors, draft.year = found
        draft.venue = draft.venue or paper.venue_beside(words, draft.title)
    for link in links.links(words):
        draft.arxiv, draft.doi = draft.arxiv or links.arxiv(link.url), draft.doi or links.doi(link.url)
    if first.is_ticked is not None:
        draft.reading = "read" if first.is_ticked else "to-read"
    draft.fates = [Fate(row.file, one.number, "title") for one in row.lines if not _is_bullet(one) or one is first]
    below = [one for one in row.lines[1:] if _is_bullet(one)]
    listed = values(below[0].words) if len(below) == 1 else []
    if listed and all(len(one.split()) <= 4 for one in listed) and not links.links(below[0].words):
        draft.tags += [tag for tag in listed if tag not in draft.tags]
        draft.fates.append(Fate(row.file, below[0].number, "tags"))
    elif below:
        least = min(one.depth for one in below)
        text = "\n".join(f"{' ' * (one.depth - least)}- {one.words}" for one in below)
        draft.notes = f"{draft.notes}\n\n{text}".strip()
        draft.fates += [Fate(row.file, one.number, "notes") for one in below]
    return draft


def _is_bullet(line: Line) -> bool:
    return line.kind == "bullet"


# Names, texts, pictures


def _known(library: Library) -> dict[str, str]:
    """Return the cards of the library by what names their papers."""
    known: dict[str, str] = {}
    for slug, one in library.papers.items():
        if one.is_topic:
            continue
        reference = one.reference
        like = Draft("", title=reference.title, arxiv=links.arxiv(reference.arxiv or ""), doi=reference.doi or "")
        known |= dict.fromkeys(_names(like), slug)
    return known


def _named(
    drafts: Sequence[Draft], library: Library, known: Mapping[str, str], texts: Callable[[str], str | None]
) -> list[Planned]:
    """Give each draft its card: the one that has its paper already, or a new one."""
    taken = {*library.papers, *library.unsound, *library.former_slugs, "index"}
    planned: list[Planned] = []
    used: set[str] = set()
    merged = dict(_merged_before(library, texts))
    before: dict[tuple[str, str], list[str]] = {}
    of_file: dict[str, list[str]] = {}
    is_known = all(any(name in known for name in _names(draft)) for draft in drafts)
    for file, title, slug in () if is_known else _imported_before(library, texts):
        before.setdefault((posixpath.basename(file), title), []).append(slug)
        of_file.setdefault(file, []).append(slug)
    for draft in drafts:
        slug = next((known[name] for name in _names(draft) if name in known), "")
        if not slug and (
            waiting := before.get((posixpath.basename(draft.file), asked_alike(draft.title or draft.file)))
        ):
            slug = waiting.pop(0)
        if not slug and draft.is_whole and len(former := of_file.get(draft.file, [])) == 1:
            slug = former[0] if _may_be(draft, library.papers[former[0]]) else ""
        base = slug
        if not slug or slug in used:
            base = slug_of(draft, ())
            slug = merged.get((posixpath.basename(draft.file), base), "")
            if not slug or base in used:
                slug = base = slug_of(draft, taken)
        taken.add(slug)
        used.add(base)
        planned.append(Planned(slug, draft, base))
    return planned


def _may_be(draft: Draft, one: Paper) -> bool:
    """Tell whether a note whose title was edited may still be about the paper that its file was about."""
    reference = one.reference
    same = [(draft.arxiv, links.arxiv(reference.arxiv or "")), (draft.doi.casefold(), (reference.doi or "").casefold())]
    if any(known and there and known != there for known, there in same):
        return False
    return difflib.SequenceMatcher(None, asked_alike(draft.title), asked_alike(reference.title)).ratio() >= _SAME_TITLE


def _imported_before(library: Library, texts: Callable[[str], str | None]) -> Iterable[tuple[str, str, str]]:
    """Yield the note's file, the title and the card of what was imported; those made first come first."""
    for slug, one in sorted(library.papers.items(), key=lambda item: (len(item[0]), item[0])):
        base = texts(f"{library.settings.papers}/{FOLDER}/{slug}.yml") or ""
        if not one.is_topic and (found := _IMPORTED.match(base)):
            yield found[1], asked_alike(one.reference.title), slug


def _merged_before(library: Library, texts: Callable[[str], str | None]) -> Iterable[tuple[tuple[str, str], str]]:
    """Yield the cards that have taken in others, by the name of the note's file and the name that the other had."""
    for old, slug in library.former_slugs.items():
        # What was imported moves with a card that is renamed, and stays where two are merged.
        base = texts(f"{library.settings.papers}/{FOLDER}/{old}.yml") or ""
        if found := _IMPORTED.match(base):
            yield (posixpath.basename(found[1]), old), slug


def slug_of(draft: Draft, taken: Collection[str]) -> str:
    """Make a short name: the name before a title's colon, the file's own short name, or the title's first words."""
    head, colon, _ = draft.title.partition(":")
    stem = posixpath.splitext(posixpath.basename(draft.file))[0]
    stem = (
        posixpath.basename(posixpath.dirname(draft.file)) if stem.casefold() in ("readme", "notes", "index") else stem
    )
    stem = re.sub(r"^(?:\d{4}\.\d{4,5}|(?:19|20)?\d\d(?:[-_.]\d\d){0,2})[\s_-]+", "", stem)
    bare = re.sub(r"\([^)]*\)|[^\w\s-]", "", entries.ascii_of(head)).strip()
    candidates = (
        draft.short,
        bare if colon and len(bare.split()) <= 2 and len(bare) <= 24 else "",
        stem
        if draft.is_whole and re.fullmatch(r"[A-Za-z][\w -]{1,24}", stem) and len(re.split(r"[\W_]+", stem)) <= 4
        else "",
        " ".join(entries.telling(draft.title)[:3]),
        f"arxiv {draft.arxiv}" if draft.arxiv else "",
        stem,
    )
    words = next((made for one in candidates if (made := _slug(one))), "paper")
    return next(one for n in range(1, len(taken) + 2) if (one := words if n == 1 else f"{words}_{n}") not in taken)


def _slug(words: str) -> str:
    made = re.sub(r"[^a-z0-9]+", "_", entries.ascii_of(words).casefold()).strip("_")[:40].strip("_")
    return made if re.match(r"[a-z]", made) else f"p_{made}" if made else ""


def _complete(planned: list[Planned], library: Library, files: Collection[str], asked: datetime.date) -> None:
    """Make each card's fields, its entry, and its notes with links and pictures that lead where they should."""
    slugs: dict[str, str] = {}
    for one in planned:
        for name in (
            one.draft.file,
            posixpath.splitext(posixpath.basename(one.draft.file))[0].casefold(),
            one.draft.title.casefold(),
        ):
            slugs.setdefault(name, one.slug)
    keys = set(library.bibliography)
    folders = {posixpath.basename(posixpath.dirname(file)) for file in library.attachments.values()}
    for one in planned:
        draft = one.draft
        known = library.papers.get(one.slug)
        key = (known and known.card.cite) or entries.key_of(draft.authors, draft.year, draft.title, keys)
        keys.add(key)
        shown = _Rewriting(draft.file, one.slug, slugs, files, _folder(library, one, folders))
        questions: list[dict[str, Any]] = []
        for question in draft.questions:
            id = id_of(question.ask, {has["id"] for has in questions})
            item: dict[str, Any] = {"id": id, "ask": shown.text(question.ask), "asked": _date(draft.date) or asked}
            if question.answer:
                answer = shown.text(question.answer)
                item["answer"] = f"{answer}\n" if "\n" in answer else answer
            questions.append(item)
        notes = shown.text(draft.notes)
        reading = {"state": draft.reading, **({"through": draft.through} if draft.through else {})}
        card: dict[str, Any] = {
            "cite": key,
            "idea": shown.text(draft.idea),
            "short": draft.short,
            "tags": draft.tags,
            "affiliations": draft.affiliations,
            "implementation": None,
            "reading": reading if draft.reading else None,
            "links": [{**link, "title": link["title"] or link["url"]} for link in draft.links],
            "notes": f"{notes}\n" if "\n" in notes else notes,
            "quotes": [_quote(one.text, one.page, shown.text(one.note)) for one in draft.quotes],
            "questions": questions,
        }
        one.card = {name: value for name, value in card.items() if value or name == "implementation"}
        one.pictures = shown.pictures
        if not known:
            one.entry = _entry(draft, key)
        draft.fates = [replace(fate, to=_by_id(fate.to, questions)) for fate in draft.fates]


def _folder(library: Library, one: Planned, folders: Collection[str]) -> str:
    """Return the folder of a card's pictures, which is named after it, or as it was called when they came."""
    known = library.papers.get(one.slug)
    names = (one.base, one.slug, *(known.card.formerly if known else ()))
    return next((name for name in names if name in folders), one.slug)


def _quote(text: str, page: str, note: str) -> dict[str, Any]:
    item: dict[str, Any] = {"text": f"{text}\n" if "\n" in text else text}
    item |= {"page": int(page) if page.isdecimal() and page.isascii() else page} if page else {}
    return item | ({"note": f"{note}\n" if "\n" in note else note} if note else {})


def _by_id(to: str, questions: list[dict[str, Any]]) -> str:
    return re.sub(r"^questions\[(\d+)\]", lambda found: f"questions.{questions[int(found[1])]['id']}", to)


def _date(text: str) -> datetime.date | None:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        return None


def _entry(draft: Draft, key: str) -> str:
    if draft.entry:
        return entries.source(draft.entry[0], key, draft.entry[1])
    fields = {"title": draft.file, **_fields(draft)}
    return entries.source(fields.pop("type"), key, {name: fields[name] for name in _ORDER if name in fields})


_ORDER = (
    "author",
    "title",
    "journal",
    "booktitle",
    "year",
    "volume",
    "number",
    "pages",
    "eprint",
    "archiveprefix",
    "doi",
    "url",
)


def _fields(draft: Draft) -> dict[str, str]:
    """Return what a note tells of a paper's entry: its fields as TeX, and its type as `type`."""
    is_arxiv = not draft.venue or draft.venue.casefold() == "arxiv"
    kind = "article" if {"number", "pages"} & draft.within.keys() else "misc" if is_arxiv else "inproceedings"
    fields = {
        "author": " and ".join(_author(name) for name in draft.authors),
        "title": draft.title,
        "journal" if kind == "article" else "booktitle": "" if is_arxiv else draft.venue,
        "year": str(draft.year or ""),
        **{name: re.sub(r"\s*[-–—]+\s*", "–", value) for name, value in draft.within.items()},
        "eprint": draft.arxiv,
        "archiveprefix": "arXiv" if draft.arxiv else "",
        "doi": draft.doi,
        "url": draft.url,
    }
    return {"type": kind, **{name: entries.value_of(name, value) for name, value in fields.items() if value}}


def _author(name: str) -> str:
    # A comma or an `and` in a name would part it.
    return f"{{{name}}}" if re.search(r",|\band\b", name) else name


def _readable(text: str) -> str:
    """Return a text without signs that YAML can't hold; blanks of other kinds than it knows are blanks."""
    text = re.sub("[\v\f\x1c-\x1f\x85\u2028\u2029\ufeff]", " ", text)
    return located_yaml.without_control_characters(text)


class _Rewriting:
    """Leads the links and pictures of a note's texts to where they are beside a card."""

    def __init__(
        self, file: str, slug: str, slugs: Mapping[str, str], files: Collection[str], folder: str = ""
    ) -> None:
        self.file, self.slug, self.slugs, self.files, self.folder = file, slug, slugs, files, folder or slug
        self.pictures: dict[str, str] = {}

    def text(self, markdown: str) -> str:
        """Return a text with its links led on; code stays as it is."""
        made, end = [], 0
        for found in _CODE.finditer(markdown):
            made += [self._outside(markdown[end : found.start()]), found[0]]
            end = found.end()
        return "".join([*made, self._outside(markdown[end:])])

    def _outside(self, text: str) -> str:
        text = _PICTURE.sub(lambda found: self._picture(found["path"].strip("<>"), found["alt"], found[0]), text)
        text = _EMBEDDED.sub(lambda found: self._picture(found["path"], "", found[0]), text)
        text = _IMG.sub(lambda found: self._picture(found["path"], "", found[0]), text)
        text = _WIKILINK.sub(self._wikilink, text)
        return _LOCAL.sub(self._local, text)

    def _picture(self, path: str, alt: str, written: str) -> str:
        if re.match(r"(?:https?:)?//|data:", path):
            return (
                written
                if written.startswith("!") and path.startswith("http")
                else f"![{alt}]({path})"
                if path.startswith("http")
                else f"(picture: {alt})"
            )
        name = unquote(path.split("?")[0].split("#")[0])
        here = posixpath.normpath(
            posixpath.join(posixpath.dirname(self.file), name.lstrip("/") if name.startswith("/") else name)
        )
        found = next((one for one in (here, name.lstrip("/")) if one in self.files), None)
        found = found or next((one for one in self.files if one.endswith(f"/{posixpath.basename(name)}")), None)
        if found is None or posixpath.splitext(found)[1].lower() not in PICTURES:
            return f"(picture: {alt or name})"
        base = re.sub(r"[^\w.-]+", "-", posixpath.basename(found))
        target = f"{self.folder}/{base}"
        taken = {other for source, other in self.pictures.items() if source != found}
        stem, suffix = posixpath.splitext(target)
        target = next(
            one for n in range(1, len(taken) + 2) if (one := target if n == 1 else f"{stem}-{n}{suffix}") not in taken
        )
        self.pictures[found] = target
        return f"![{alt}]({target})"

    def _wikilink(self, found: re.Match[str]) -> str:
        target = found["target"].strip()
        slug = self.slugs.get(target.casefold()) or self.slugs.get(posixpath.basename(target).casefold())
        if slug and slug != self.slug:
            return f"[[{slug}|{found['words'].strip()}]]" if found["words"] else f"[[{slug}]]"
        # Somebody else's: its words stay.
        return found["words"].strip() if found["words"] else f"\\[\\[{target}{found['part'] or ''}\\]\\]"

    def _local(self, found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(self.file), unquote(found["path"].split("#")[0])))
        slug = next((self.slugs[one] for one in (path, f"{path}.md", f"{path}/README.md") if one in self.slugs), None)
        if slug and slug != self.slug:
            return f"[[{slug}|{found['words']}]]"
        return f"{found['words']} ({found['path']})"


# What is written


def _changes(
    planned: Iterable[Planned],
    library: Library,
    texts: Callable[[str], str | None],
    told: Mapping[int, Mapping[str, str]],
    sources: Collection[str],
) -> Changes:
    papers, bibliography = library.settings.papers, library.settings.bibliography
    changes: dict[str, Change] = {}
    added: list[str] = []
    # A long one takes seconds to be read.
    is_read = any(one.slug in library.papers for one in planned)
    book = Bibliography((texts(bibliography) or "") if is_read else "", bibliography)
    written, completed = amending.written(book), dict[str, str]()
    by_name: dict[str, list[str]] = {}
    for source in sources:
        by_name.setdefault(posixpath.basename(source), []).append(source)
    for one in planned:
        base_file = f"{papers}/{FOLDER}/{one.base}.yml"
        base = texts(base_file)
        known = library.papers.get(one.slug)
        file = known.file if known else f"{papers}/{one.slug}.yml"
        before = changes[file].after if file in changes else texts(file)
        former = edit.fields(base) if base is not None else {}
        entry, was = told[id(one.draft)], former.pop("entry", {})
        # Several files may speak of a paper, such as its notes and an index.
        files = {one.draft.file, *(fate.file for fate in one.draft.fates)}
        own = found[1] if (found := _IMPORTED.match(base or "")) else one.draft.file
        were = set(former.pop("from", [])) or {own}
        is_aside = not any(_is_same(own, file) for file in files)
        if is_aside and _is_renamed(one.draft, former, files, were):
            were, own, is_aside = {*(were - {own}), one.draft.file}, one.draft.file, False
        is_partial = not _are_among(were, by_name)
        is_mixed = is_partial and any(f"\n\n## {_stem(was)}\n\n" in former.get("notes", "") for was in were)
        is_unclear = (is_aside or is_mixed) and not _put_notes_below(
            one, former, is_new=is_aside and not _are_known(files, were)
        )
        files = were | {file for file in files if not _are_known([file], were)}
        told_of = own if is_partial or _is_same(own, one.draft.file) else one.draft.file
        _keep_dates(one.card, former)
        one.text = after = f"# Imported from {told_of}\n{edit.written(one.card)}"
        if before is not None:
            others = _other_notes(
                one, known, library, lambda path: changes[path].after if path in changes else texts(path)
            )
            new, is_named = edit.plain(one.card), _is_named(library, one.slug, texts)
            after, one.conflicts = joining.join(
                one.slug,
                before,
                file,
                new,
                former,
                others=others,
                is_partial=is_partial,
                is_aside=is_aside,
                is_named=is_named,
            )
        if is_unclear:
            one.conflicts.append(Conflict(one.slug, "notes"))
        if base and one.base != one.slug and (cited := re.search(r"^cite: .*$", base, re.MULTILINE)):
            one.text = re.sub(r"^cite: .*$", lambda _: cited[0], one.text, count=1, flags=re.MULTILINE)
        changes[file] = Change(file, texts(file), after)
        is_changed = after != before
        if is_partial:
            entry = {**entry, **was} if is_aside else {**was, **entry}
            kept = joining.together(edit.plain(one.card), former, is_aside=is_aside)
            kept["cite"] = edit.fields(one.text)["cite"]
            one.text = f"# Imported from {told_of}\n{edit.written(kept)}"
        more = {"entry": entry} | ({"from": sorted(files)} if files != {told_of} else {})
        new_base = one.text + edit.written(more)
        is_as_before = base is not None and (new_base.partition("\n")[0], edit.fields(new_base)) == (
            base.partition("\n")[0], edit.fields(base)
        )  # fmt: skip
        changes[base_file] = Change(base_file, base, base if is_as_before else new_base)
        if known and (key := known.reference.key) in written:
            source, values = completed.get(key, written[key].source), book.values(book.entries[key])
            if key in completed:  # by other notes of the same paper
                again = Bibliography(source, bibliography)
                values |= again.values(again.entries[key])
            source, conflicts = joining.join_entry(one.slug, source, values, entry, was)
            one.conflicts += conflicts
            if source != written[key].source:
                is_changed = True
                completed[key] = source
        if one.entry:
            added.append(one.entry)
        if before is not None:
            one.status = "conflict" if one.conflicts else "changed" if is_changed else "same"
    if added or completed:
        before = texts(bibliography)
        text = amending.replaced(before or "", written, completed)
        head = f"{text.rstrip()}\n\n" if text.strip() and added else text
        changes[bibliography] = Change(bibliography, before, head + "\n".join(added))
    return Changes.of("imported", changes.values())


def _is_same(file: str, other: str) -> bool:
    """Tell whether two paths may be of one file, seen from two folders."""
    return file == other or file.endswith(f"/{other}") or other.endswith(f"/{file}")


def _stem(file: str) -> str:
    return posixpath.splitext(posixpath.basename(file))[0]


def _are_known(files: Iterable[str], others: Collection[str]) -> bool:
    return any(_is_same(file, other) for file in files for other in others)


def _is_renamed(draft: Draft, former: Mapping[str, Any], files: Iterable[str], were: Collection[str]) -> bool:
    """Tell whether a file that was not imported before is the paper's notes under another name."""
    if not draft.is_whole or _are_known(files, were):
        return False
    notes = former.get("notes", "")
    return not notes or difflib.SequenceMatcher(None, notes, draft.notes).quick_ratio() >= _SAME_NOTES


def _put_notes_below(one: Planned, former: Mapping[str, Any], *, is_new: bool) -> bool:
    """Put what other notes say of a paper below its own notes, as they were; False if it can't be told where."""
    notes, more = former.get("notes", ""), one.card.get("notes", "")
    is_there = more.strip() in notes
    if more and notes and not is_there and is_new:
        one.card["notes"] = f"{notes.rstrip()}\n\n## {_stem(one.draft.file)}\n\n{more.rstrip()}\n"
    elif notes:
        one.card["notes"] = notes
    return is_there or is_new or not notes


def _are_among(files: Collection[str], by_name: Mapping[str, Sequence[str]]) -> bool:
    """Tell whether all files are among others, each as one of its own; the others are given by name."""
    used: set[str] = set()
    for file in sorted(files, key=lambda file: (file not in by_name.get(posixpath.basename(file), ()), file)):
        others = by_name.get(posixpath.basename(file), ())
        there = file if file in others else next((one for one in others if one not in used and _is_same(file, one)), "")
        if not there or there in used:
            return False
        used.add(there)
    return True


def _keep_dates(card: Mapping[str, Any], former: Mapping[str, Any]) -> None:
    """Give questions the dates that they had at the last import: most notes don't say when they were asked."""
    there = former.get("questions", [])
    asked = {key: has["asked"] for key, has in zip(joining.keys("questions", there), there, strict=True)}
    new = card.get("questions", [])
    for key, item in zip(joining.keys("questions", new), new, strict=True):
        item["asked"] = asked.get(key, item["asked"])


def _other_notes(
    one: Planned, known: Paper | None, library: Library, texts: Callable[[str], str | None]
) -> list[dict[str, Any]]:
    """Return what other notes say whose card was merged into one's card."""
    names = {one.slug, *(known.card.formerly if known else ())} - {one.base}
    bases = (texts(f"{library.settings.papers}/{FOLDER}/{name}.yml") for name in sorted(names))
    return [edit.fields(base) for base in bases if base]


def _is_named(library: Library, slug: str, texts: Callable[[str], str | None]) -> Callable[[str], bool]:
    return lambda id: bool(renaming.naming(library, f"{slug}.{id}", texts))
