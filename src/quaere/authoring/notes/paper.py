"""Read what a note says of one paper: title, metadata, idea, links, questions with answers; the rest is its notes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import yaml

from quaere.authoring.notes import links, quotes
from quaere.authoring.notes.fields import field_of, labeled, values
from quaere.authoring.notes.lines import Fate, Kind, Line, dedented, indent

YEAR = re.compile(r"(?<!\d)(?:19[5-9]|20[0-4])\d(?!\d)")
_VENUE = re.compile(
    r"\b(?:NeurIPS|NIPS|ICML|ICLR|CVPR|ICCV|ECCV|WACV|BMVC|ACL|EMNLP|NAACL|EACL|COLING|TACL|AAAI|IJCAI|AISTATS|UAI|COLT|"
    r"KDD|SIGIR|WWW|WSDM|CIKM|RecSys|Interspeech|ICASSP|CoRL|ICRA|IROS|RSS|JMLR|TMLR|PAMI|TPAMI|SIGGRAPH|CHI|OSDI|SOSP|"
    r"NSDI|SIGMOD|VLDB|ASPLOS|ISCA|MICCAI|COLM|CCS|USENIX|arXiv|Nature|Science)(?=['’]?\d|\b)",
)
_NAME = re.compile(r"^[^\W\d_][\w.'’-]*(?:\s+(?:[^\W\d_][\w.'’-]*|\([^)]*\))){0,4}$")
_GENERIC = re.compile(
    r"(?:paper|papers?|notes?|my notes|summary|overview|info(?:rmation)?|paper info|meta(?:data)?|abstract|"
    r"introduction|"
    r"(?:extracted )?annotations(?:\s*\([\d/.,: APM]+\))?|"
    r"reading notes?|paper notes?|untitled|details|basic info(?:rmation)?|论文|笔记|论文笔记|基本信息|摘要)\s*[:：]?",
    re.IGNORECASE,
)
_QUESTIONS = re.compile(
    r"(?:(?:some|my|open|other|preliminary|further|remaining|unanswered|follow-?up)\s+)*"
    r"questions?(?:\s+(?:for|to|about|i have).*)?"
    r"|q\s*&\s*a|faq|things? i (?:do not|don'?t|did not|didn'?t) understand|"
    r"疑问|问题|疑問|質問|fragen|preguntas|вопросы",
    re.IGNORECASE,
)
_ASKED = re.compile(
    r"^(?:\*\*|__|\*)?\s*(?:q|question|问题?|質問)\s*\d*\s*(?:\*\*|__)?\s*[:：.](?:\*\*|__|\*)?\s*(?P<ask>\S.*)$",
    re.IGNORECASE,
)
_ANSWER = re.compile(
    r"^(?:[-*+]\s+|>\s*)?(?:\*\*|__|\*)?\s*(?:a|answer|ans|答案?|回答)\s*\d*\s*(?:\*\*|__)?\s*[:：](?:\*\*|__|\*)?\s*(?P<text>.*)$",
    re.IGNORECASE,
)
_INLINE_ANSWER = re.compile(r"\s+(?:[-–—>]+\s*)?(?:\*\*|__)?(?:A|Answer|答)\s*\d*\s*[:：](?:\*\*|__)?\s*")
_CHORE = re.compile(r"(?:todo|to-do|fixme|xxx)\b", re.IGNORECASE)
_ENDS = re.compile(r"[?？]+[\s)\]\"'”’*_]*$")
_FIRST = re.compile(r"^(?P<ask>.*?[?？]+[)\"'”’]*)(?:\s+|(?<=？))(?P<rest>\S.*)$", re.DOTALL)
# Tags of Obsidian and Logseq, and the name of a block, behind a question: they are no answer to it.
_MARKS = re.compile(r"(?:(?:#[^\W\d][\w/-]*|\^[\w-]+)(?:\s+|$))+")
_STATES = (
    ("to-read", r"to[ -]?read|toread|unread|not (?:yet )?(?:read|started)|todo|to[ -]do|queued?|backlog|"
                r"want to read|inbox|待读|未读|想读"),
    ("reading", r"reading|in[ -]?progress|started|ongoing|partial(?:ly)?(?: read)?|skimm(?:ed|ing)|half|"
                r"wip|current(?:ly reading)?|在读|阅读中|进行中|泛读"),
    ("read", r"read|done|finished|completed?|yes|true|x|✓|✔|✅|已读|已精读|精读|读完|已完成"),
)  # fmt: skip
_PAGES = re.compile(
    r"\bread\b.{0,20}?\b(?P<pages>\d{1,3})\s*(?:pages?|pp?\.?)\s+(?:so far|until now|yet)", re.IGNORECASE
)
_TLDR = re.compile(
    r"\W*(?:tl;?\s?dr|one[- _]?(?:line|sentence)|in a nutshell|一句话|要約|한줄|en bref|en resumen|kurz)", re.IGNORECASE
)
_NUMBER = re.compile(r"^(?:\d{1,2}(?:\.\d{1,2})*[.)]?\s+)(?=\D)")
_LONGEST_IDEA = 700
# What a title says of the notes themselves.
_NOTES = r"(?:论文)?阅读笔记|论文笔记|读书笔记|学习笔记|精读笔记|论文阅读|论文解读"
_OF_NOTES = re.compile(
    rf"^\W*(?:(?:paper|reading) notes?|{_NOTES})\s*[:：|｜—–-]+\s*(?=\S)"
    rf"|[\s_—–|｜:：(（\[【-]*(?:{_NOTES}|(?<=[\s_—–|:([-])(?:reading|paper) notes?)[)）\]】]*$",
    re.IGNORECASE,
)
_COUNT = r"(?!(?:19|20)\d\d\b)\d{1,4}"
_ISSUE = re.compile(
    rf"[\s,.]+(?:vol\.?\s*)?(?P<volume>{_COUNT})(?:[.,]?\s*(?:no\.?\s*|\()?(?P<number>{_COUNT})\)?)?"
    r"\s*(?:\((?:\w+\.?\s+)?(?:19|20)\d\d\))?"
    r"(?:\s*[:,]\s*(?:pp?\.?\s*)?(?P<pages>\d+(?:\s*[-–—]+\s*\d+)?))?\W*(?:(?:19|20)\d\d\W*)?$",
    re.IGNORECASE,
)
_MARKED = re.compile(r"^[\[【](?P<marks>[^\[\]【】]{2,24})[\]】]\s*(?P<title>(?![(\[])\S+\s+\S.*)$")
_BEHIND_COMMA = re.compile(
    r"^(?P<title>\S+\s.*?\S),\s*(?:(?P<venue>(?-i:[A-Z][A-Z&-]{2,}[a-z]*)|[^,]*\b(?:Journal|Proceedings|Transactions|Conference|"
    r"Workshop|Symposium|Letters)\b[^,]*|Interspeech|NeurIPS|arXiv),?\s+)?(?P<year>(?:19|20)\d\d)\s*$"
)
_PROPERTY = re.compile(r"^\s*(?P<name>[\w.-]+)::(?=\s|$)")
_OF_LOGSEQ = re.compile(
    r"collapsed|id|heading|(?:created|updated)-at|background-color|ls-type|(?:hl|query|card|logseq)[-.][\w.-]+"
)
# When a program wrote what was marked in a PDF.
_WRITTEN = re.compile(
    r"\(?\d{1,2}[/.]\d{1,2}[/.](?:19|20)\d\d,\s*\d{1,2}:\d\d(?::\d\d)?(?:\s*[AP]M)?\)?", re.IGNORECASE
)
# As Zotero names files: `Maker et al. - 2020 - A paper on toys`.
_AS_ZOTERO = re.compile(r"^(?P<who>[^-]\S*(?: (?!- )\S+)*) - (?P<year>(?:19|20)\d\d) - (?P<title>\S.*)$")
_RATING = re.compile(r"^[\s\W]*(?:[★☆⭐🌟]\ufe0f?\s*){1,10}$")


@dataclass
class Asked:
    """A question of a note: the lines that it came from, and its answer in prose, if it has one."""

    ask: str
    line: int
    answer: str = ""


@dataclass
class Draft:
    """What a note says of one paper, and what has become of each of its lines.

    `is_whole` tells whether the whole file is about it; `missing` names what its entry in the bibliography lacks;
    `entry` is one that was found elsewhere: its type, and its fields as TeX.
    """

    file: str
    line: int = 1
    is_whole: bool = False
    title: str = ""
    authors: list[str] = field(default_factory=list)
    year: int | None = None
    venue: str = ""
    doi: str = ""
    arxiv: str = ""
    url: str = ""
    within: dict[str, str] = field(default_factory=dict)
    short: str = ""
    tags: list[str] = field(default_factory=list)
    affiliations: list[str] = field(default_factory=list)
    idea: str = ""
    reading: str = ""
    through: str = ""
    links: list[dict[str, str]] = field(default_factory=list)
    questions: list[Asked] = field(default_factory=list)
    quotes: list[quotes.Quoted] = field(default_factory=list)
    notes: str = ""
    date: str = ""
    fates: list[Fate] = field(default_factory=list)
    entry: tuple[str, dict[str, str]] | None = None

    @property
    def missing(self) -> list[str]:
        """What the entry in the bibliography lacks."""
        return [name for name in ("authors", "year") if not getattr(self, name)]


def read(
    file: str, lines: Sequence[Line], *, name: str = "", is_whole: bool = True, templates: Set[str] = frozenset()
) -> Draft:
    """Read the part of a note that is about one paper.

    Args:
        file: The file.
        lines: Its lines that are about the paper.
        name: The file's name or the folder's, which may be the title, a date, or an arXiv identifier.
        is_whole: Whether these are all lines of the file: then front matter is looked for.
        templates: Questions that stand in many notes, as `asked_alike` writes them.
    """
    return _Reading(file, lines, templates).draft(name, is_whole)


def asked_alike(words: str) -> str:
    """Return a question so that two of the same words are equal."""
    return re.sub(r"\W+", " ", words.casefold()).strip()


def questions_in(lines: Iterable[Line]) -> Iterator[str]:
    """Yield what lines ask, as `asked_alike` writes it: what many notes ask is their template's."""
    for line in lines:
        if line.kind in (Kind.HEADING, Kind.BULLET, Kind.TEXT) and _ENDS.search(line.words):
            asked = _ASKED.match(line.words)
            yield asked_alike(links.plain(asked["ask"] if asked else line.words).strip("*_ "))


class _Reading:
    def __init__(self, file: str, lines: Sequence[Line], templates: Set[str]) -> None:
        self.file, self.lines, self.templates = file, lines, templates
        self.to: dict[int, str] = {}
        """Where each line went, by its place in `lines`."""
        self.why: dict[int, str] = {}
        self.made = Draft(file, lines[0].number if lines else 1)

    def draft(self, name: str, is_whole: bool) -> Draft:
        self.made.is_whole = is_whole
        if is_whole:
            self._front_matter()
        self._marks()
        self._title()
        self._header()
        if not self.made.title and name:
            self._named(name)
        self._sections()
        self._ideas()
        self._questions()
        self._quotes()
        self._notes()
        made = self.made
        made.year = made.year or _year_of_arxiv(made.arxiv)
        made.fates = [
            Fate(self.file, line.number, self.to.get(at, "" if at in self.why else "notes"), self.why.get(at, ""))
            for at, line in enumerate(self.lines)
        ]
        return made

    def _take(self, at: int, to: str) -> None:
        self.to.setdefault(at, to)

    def _leave(self, at: int, why: str) -> None:
        self.why.setdefault(at, why)

    def _is_free(self, at: int) -> bool:
        return at not in self.to and at not in self.why

    # Metadata

    def _front_matter(self) -> None:
        first = next((at for at, line in enumerate(self.lines) if line.kind is not Kind.BLANK), None)
        if first is None or self.lines[first].text.strip() != "---":
            return
        end = next(
            (at for at in range(first + 1, len(self.lines)) if self.lines[at].text.strip() in ("---", "...")), None
        )
        if end is None or end - first > 100:
            return
        keys = self._keys(first + 1, end)
        written = "\n".join(line.text for line in self.lines[first + 1 : end])
        try:
            data: Any = yaml.safe_load(re.sub(r":\s+(\[\[.*?\]\].*)$", r': "\1"', written, flags=re.MULTILINE))
        except (yaml.YAMLError, ValueError):
            data = None
        if not isinstance(data, dict):
            data = {key: "\n".join(text) for key, (_, text) in keys.items()}
        self._leave(first, "a mark of the front matter")
        self._leave(end, "a mark of the front matter")
        for key, value in data.items():
            field, (ats, _) = field_of(str(key)), keys.get(str(key), ([], []))
            if value is None:
                value = " ".join(keys.get(str(key), ([], [""]))[1]) or None  # to YAML, tags behind `#` are a comment
            texts = [str(one) for one in value] if isinstance(value, list) else [] if value is None else [str(value)]
            is_used = bool(field) and _all(self._set(field, one, is_one=isinstance(value, list)) for one in texts)
            for at in ats:
                if texts and is_used:
                    self._take(at, field)
                elif not texts:
                    self._leave(at, "an empty field")
        for at in range(first, end + 1):
            if self._is_free(at):
                self._leave(at, "front matter that a card has no place for")

    def _marks(self) -> None:
        """Leave out what Logseq notes of its blocks for itself, but not of one that it made of an annotation."""
        at = 0
        while at < len(self.lines):
            end = at + 1
            while end < len(self.lines) and (
                self.lines[end].kind is Kind.TEXT and _PROPERTY.match(self.lines[end].text)
            ):
                end += 1
            properties = {n: _PROPERTY.match(self.lines[n].text) for n in range(at + 1, end)}
            names = {n: found["name"] for n, found in properties.items() if found}
            if "hl-page" not in names.values():
                for n, name in names.items():
                    if _OF_LOGSEQ.fullmatch(name):
                        self._leave(n, "a mark of an outline")
            at = end

    def _keys(self, start: int, end: int) -> dict[str, tuple[list[int], list[str]]]:
        """Return the lines of each key between two lines, and what they hold."""
        keys: dict[str, tuple[list[int], list[str]]] = {}
        current: tuple[list[int], list[str]] = ([], [])
        for at in range(start, end):
            text = self.lines[at].text
            if found := re.match(r"^([^\s#:-][^:]*?)\s*:(?:\s+(.*))?$", text):
                current = keys.setdefault(found[1], ([], []))
                current[1].extend([found[2]] if found[2] else [])
            elif text.strip():
                current[1].append(text.strip().removeprefix("- "))
            current[0].append(at)
        return keys

    def _set(self, field: str, value: str, *, is_one: bool = False) -> bool:
        """Put what a note says into a field; return whether the card has a place for it."""
        made, value = self.made, value.strip()
        if not value:
            return True
        plain = links.plain(value).strip("\"'")
        if field == "title":
            made.title = made.title or _without_end(plain.removeprefix("@"), made)  # as Logseq names pages of Zotero
        elif field == "authors":
            names = [plain] if is_one else _split_names(plain)
            made.authors += [one for one in names if one not in made.authors]
        elif field in ("year", "date"):
            if field == "date" and not re.fullmatch(r"(?:19|20)\d\d", plain):
                made.date = made.date or _iso(plain)
                return bool(made.date)
            made.year = made.year or _year(plain)
            return made.year is not None
        elif field == "venue":
            made.year = made.year or _year(plain)
            made.venue = made.venue or re.sub(r"\s*[('’]?(?:19|20)?\d\d\)?$", "", plain).strip(" ,") or plain
            self._address(value)
        elif field == "doi":
            self._address(plain)
            return bool(links.doi(plain) or links.arxiv(plain))
        elif field == "arxiv":
            made.arxiv = made.arxiv or links.arxiv(value) or links.arxiv(plain)
            return bool(made.arxiv)
        elif field in ("url", "code", "links", "reference"):
            return self._field_of_links(field, value)
        elif field == "tags":
            for one in [plain] if is_one and not value.startswith("#") else values(value):
                self._tag(links.plain(one))
        elif field == "affiliations":
            listed = (
                re.split(r"\s*(?:^|\s)(?:\d+[.)]|[¹²³⁴⁵⁶⁷⁸⁹])\s*", value)
                if re.match(r"\d+[.)]|[¹-⁹]", value)
                else [value]
            )
            for one in [plain] if is_one else [one for part in listed for one in values(part)]:
                name = re.sub(r"^\d+[.)]?\s+|^[¹²³⁴⁵⁶⁷⁸⁹]\s*", "", links.plain(one)).strip()
                if name and name not in made.affiliations:
                    made.affiliations.append(name)
        elif field == "status":
            return self._status(plain)
        elif field == "idea":
            return self._idea(value)
        elif field == "aliases":
            made.short = made.short or (plain if len(plain) <= 60 and not is_one else made.short)
            return bool(made.short == plain)
        else:
            return False
        return True

    def _tag(self, name: str) -> None:
        made = self.made
        if re.fullmatch(r"(?:19|20)\d\d", name):
            made.year = made.year or int(name)
        elif (venue := _VENUE.match(name)) and re.fullmatch(r"[-'’/ ]?(?:(?:19|20)\d\d|\d\d)?", name[venue.end() :]):
            made.venue, made.year = made.venue or venue[0], made.year or _year(name)
        elif name and name.casefold() not in {one.casefold() for one in made.tags} and len(name) <= 100:
            made.tags.append(name)

    def _field_of_links(self, field: str, value: str) -> bool:
        found = links.links(value)
        if field == "reference":
            if not self.made.authors and (read := reference(value)):
                title, authors, year = read
                self.made.title, self.made.year = self.made.title or title, self.made.year or year
                self.made.authors, self.made.venue = authors, self.made.venue or venue_beside(value, title)
                self._address(value)
                return True
            self._address(value)
            return bool(found) and not links.without_links(value)
        for one in found:
            self._link(one, "code" if field == "code" else "paper" if field == "url" and not one.words else "")
        return bool(found) and (field != "links" or len(links.without_links(value)) < 40)

    def _status(self, words: str) -> bool:
        if pages := _PAGES.search(words):
            self.made.reading, self.made.through = "reading", f"page {pages['pages']}"
            return True
        for state, spelled in _STATES:
            if re.fullmatch(rf"[\W_]*(?:{spelled})[\W_]*", words, re.IGNORECASE):
                self.made.reading = self.made.reading or state
                return True
        return False

    def _idea(self, value: str) -> bool:
        made, value = self.made, " ".join(value.split())
        if made.idea or not value:
            return False
        if len(value) > _LONGEST_IDEA:
            return False
        made.idea = value
        return True

    def _address(self, text: str) -> None:
        """Note an identifier of the paper that an address names."""
        made = self.made
        made.arxiv = made.arxiv or links.arxiv(text)
        made.doi = made.doi or links.doi(text)

    def _link(self, found: links.Found, kind: str = "") -> None:
        kind = kind or links.kind(found)
        made = self.made
        if kind == "paper":
            identifier = links.arxiv(found.url), links.doi(found.url)
            if any(identifier) and identifier[0] in ("", made.arxiv or identifier[0]):
                self._address(found.url)
                return
            if not made.url:
                made.url = found.url
                return
        words = links.plain(found.words) or re.sub(r"^https?://(?:www\.)?|/$", "", found.url)
        one = {"kind": kind, "title": words[:300], "url": found.url}
        if re.fullmatch(r"https?://[^\s/]+(/\S*)?", found.url) and one["url"] not in {has["url"] for has in made.links}:
            made.links.append(one)

    # The title, and what stands around it

    def _title(self) -> None:
        made = self.made
        for at, line in self._free():
            if line.kind is Kind.BLANK:
                continue
            if line.kind is Kind.HEADING and not _GENERIC.fullmatch(line.words):
                if field_of(links.plain(line.words)) or _QUESTIONS.fullmatch(line.words):
                    break
                is_same = made.title and asked_alike(_without_end(links.plain(line.words), Draft(""))) == asked_alike(
                    made.title
                )
                if not made.title or is_same:
                    self._titled(line.words)
                    self._take(at, "title")
                    break
            if made.title or line.kind is not Kind.HEADING:
                break
        if not made.title:
            self._title_below()

    def _title_below(self) -> None:
        """Take a title that is no heading: a bold line, a reference, or the first of some short bullets."""
        waiting = [(at, line) for at, line in self._free() if line.kind is not Kind.BLANK][:6]
        if any(labeled(line.text) and labeled(line.text)[0] == "title" for _, line in waiting if labeled(line.text)):  # type: ignore[index]
            return  # the header says it
        for at, line in waiting:
            if line.kind is Kind.HEADING:
                continue
            words = links.plain(line.words)
            is_bold = bool(re.fullmatch(r"(?:\*\*|__)\S.*?\S(?:\*\*|__)[.:]?(?:\s*[\[(].*)?", line.words))
            if is_bold and not labeled(line.text):
                self._titled(re.sub(r"\*\*|__", "", line.words))
                self._take(at, "title")
            elif found := reference(line.words):
                title, authors, year = found
                self.made.title, self.made.authors, self.made.year = title, authors, year
                self.made.venue = self.made.venue or venue_beside(line.words, title)
                self._address(line.text)
                for one in links.links(line.text):
                    self._link(one)
                self._take(at, "reference")
            elif (
                line.kind is Kind.BULLET
                and len(waiting) > 1
                and waiting[1][1].kind is Kind.BULLET
                and names(links.plain(waiting[1][1].words), least=1)
                and 3 <= len(words.split()) <= 25
            ):
                self._titled(line.words)
                self._take(at, "title")
            return

    def _titled(self, words: str) -> None:
        """Take a title with what may stand behind it: links, a year, a venue, authors."""
        made = self.made
        for one in links.links(words):
            self._link(one, "paper" if one.words and len(one.words.split()) > 2 else "")
        words = re.sub(r"\[\[[^\[\]]{0,40}\]\]\([^)]*\)", "", words)
        if marked := _MARKED.match(words):
            for mark in values(marked["marks"]):
                self._tag(links.plain(mark))
            words = marked["title"]
        rest = re.sub(r"\\?\[(?:\s*\\?\[?[^\[\]]{0,40}\]\([^)]*\)\s*[|/,]?\s*)+\\?\]", "", words)
        title = _without_end(links.plain(rest).strip().strip("\"'“”"), made)
        made.title = made.title or title

    def _named(self, name: str) -> None:
        """Take the title from a file's name."""
        made = self.made
        stem = re.sub(r"\.(?:md|markdown|txt)$", "", name)
        if identifier := links.arxiv(stem):
            made.arxiv = made.arxiv or identifier
            made.title = f"arXiv:{identifier}"
            return
        if found := _AS_ZOTERO.match(stem):
            made.year, stem = made.year or int(found["year"]), found["title"]
            who = re.sub(r"\s+et al\.?$", ", others", found["who"])
            made.authors = made.authors or re.split(r",\s*(?:and\s+)?|\s+and\s+", who)
        if found := re.match(r"^(\d{4}\.\d{4,5})(?:v\d+)?[\s_-]+(.+)$", stem):
            made.arxiv, stem = made.arxiv or found[1], found[2]
        if found := re.match(r"^((?:19|20)\d\d)(?:[-_.]\d\d(?:[-_.]\d\d)?)?[\s_-]+(.+)$", stem):
            if not re.match(r"^(?:19|20)\d\d[-_.]\d\d", stem):
                made.year = made.year or int(found[1])
            stem = found[2]
        words = (
            re.sub(r"[_-]+", " ", stem).strip()
            if not re.search(r"\s", stem)
            else stem.replace("_", ": ", 1)
            if "_" in stem
            else stem
        )
        made.title = _without_end(words[:1].upper() + words[1:], made) or stem

    def _header(self) -> None:
        """Read what stands below the title: authors, links, labeled fields; up to the first words of prose."""
        at = 0
        while at < len(self.lines):
            line = self.lines[at]
            if not self._is_free(at) or line.kind in (Kind.BLANK, Kind.RULE):
                at += 1
                continue
            if line.kind is Kind.HEADING:
                # `# Paper` stands above the fields; `# Summary` begins the notes.
                if not (_GENERIC.fullmatch(line.words) and self._has_field_below(at)):
                    return
                self._leave(at, "a heading above metadata")
                at += 1
                continue
            after = self._header_line(at)
            if after == at and not _PROPERTY.match(line.text):
                return
            at = max(after, at + 1)

    def _has_field_below(self, at: int) -> bool:
        below = next((line for line in self.lines[at + 1 :] if line.kind is not Kind.BLANK), None)
        return below is not None and (labeled(below.text) is not None or bool(_WRITTEN.fullmatch(below.words)))

    def _header_line(self, at: int) -> int:
        """Read one line of the header; return where to go on: at the same line if it is none."""
        line, made = self.lines[at], self.made
        if found := labeled(line.text):
            return self._field(at, *found)
        if line.kind is Kind.VERBATIM or line.kind is Kind.TABLE:
            return at
        if not made.authors and (cited := citation(line.words, made.title)):
            made.authors, made.within = cited.authors, cited.within
            made.year, made.venue = made.year or cited.year, made.venue or cited.venue
            self._address(line.words)
            self._take(at, "reference")
            return at + 1
        words = line.words
        found_links = links.links(words)
        if found_links and len(links.without_links(words)) <= 12:
            for one in found_links:
                self._link(one)
            self._take(at, "links")
            return at + 1
        if _RATING.match(line.text):
            return at
        plain = links.plain(words)
        if _PAGES.search(plain) and len(plain) < 120:
            self._status(plain)
            self._take(at, "reading")
            return at + 1
        if not made.authors and (people := names(plain)):
            made.authors = people
            self._take(at, "authors")
            return at + 1
        if (venue := _VENUE.search(plain)) and len(plain) <= 60 and _year(plain):
            made.venue, made.year = made.venue or venue[0], made.year or _year(plain)
            self._take(at, "venue")
            return at + 1
        if _WRITTEN.fullmatch(plain):
            made.date = made.date or _iso(plain)
            self._take(at, "date")
            return at + 1
        if re.fullmatch(r"\(?(?:19|20)\d\d\)?", plain):
            made.year = made.year or _year(plain)
            self._take(at, "year")
            return at + 1
        if plain.startswith("#") and re.fullmatch(
            r"(?:#\[\[[^\]]+\]\]|#[^\s#]+)(?:\s+(?:#\[\[[^\]]+\]\]|#[^\s#]+))*", words
        ):
            self._set("tags", words)
            self._take(at, "tags")
            return at + 1
        return at

    def _field(self, at: int, field: str, value: str) -> int:
        """Read a labeled line, with the list or the paragraph below it if it holds no value; return where to go on."""
        line = self.lines[at]
        below: list[int] = []
        if not value or field == "idea":
            for n in range(at + 1, len(self.lines)):
                one = self.lines[n]
                if one.kind is Kind.BLANK and not below and not value:
                    continue
                is_deeper = one.kind is Kind.BULLET and (line.kind is not Kind.BULLET or one.depth > line.depth)
                is_text = one.kind is Kind.TEXT and line.kind is not Kind.BULLET
                if not (is_deeper and not value) and not (is_text and not labeled(one.text)):
                    break
                below.append(n)
        texts = [self.lines[n].words for n in below]
        if field == "idea":
            is_used = self._set(field, " ".join([value, *texts]))
        elif texts:
            is_used = _all(
                self._set(field, one, is_one=self.lines[n].kind is Kind.BULLET)
                for n, one in zip(below, texts, strict=True)
            )
        elif value:
            is_used = self._set(field, value)
        else:
            self._leave(at, "an empty field")
            return at + 1
        for n in (at, *below) if is_used else ():
            self._take(n, field)
        # What is not understood is a note, and the header goes on below it.
        return at + 1 + (len(below) and below[-1] - at)

    def _sections(self) -> None:
        """Read sections that are fields: `## Tags`, `## TL;DR`, `## Links`."""
        for at, line in self._free():
            if line.kind is not Kind.HEADING or not (field := field_of(links.plain(line.words).rstrip(":："))):
                continue
            end = next(
                (n for n in range(at + 1, len(self.lines)) if self.lines[n].kind is Kind.HEADING), len(self.lines)
            )
            inside = [
                n for n in range(at + 1, end) if self._is_free(n) and self.lines[n].kind not in (Kind.BLANK, Kind.RULE)
            ]
            plain = [n for n in inside if self.lines[n].kind in (Kind.BULLET, Kind.TEXT)]
            if not inside:
                if field != "idea":
                    self._leave(at, "an empty field")
                continue
            if len(plain) != len(inside):
                continue
            if field == "idea":
                is_used = self._idea(" ".join(self.lines[n].words for n in plain))
            elif field in ("links", "code", "url"):
                for n in plain:
                    if self._set(field, self.lines[n].words):
                        self._take(n, field)
                continue  # the heading goes with the last of them
            elif field in ("tags", "authors", "affiliations", "doi", "arxiv", "venue", "year", "status"):
                texts = [self.lines[n].words for n in plain]
                if any(len(text) > 400 for text in texts):
                    continue
                is_used = _all(
                    self._set(field, text, is_one=self.lines[n].kind is Kind.BULLET)
                    for n, text in zip(plain, texts, strict=True)
                )
            else:
                continue
            for n in (at, *inside) if is_used else ():
                self._take(n, field)

    def _ideas(self) -> None:
        """Read a labeled idea wherever it stands (`TL;DR: …`), and how many pages were read."""
        for at, line in self._free():
            found = labeled(line.text) if line.kind in (Kind.TEXT, Kind.BULLET, Kind.QUOTE) else None
            if found and found[0] == "idea" and not self.made.idea and _TLDR.match(line.words):
                self._field(at, *found)
            elif (
                line.kind is Kind.TEXT and not self.made.reading and len(line.words) < 120 and _PAGES.search(line.words)
            ):
                self._status(line.words)
                self._take(at, "reading")

    # Questions

    def _questions(self) -> None:
        section, is_mixed, depth = "", False, 0
        outline: range = range(0)
        at = -1
        while (at := at + 1) < len(self.lines):
            line = self.lines[at]
            if line.kind is Kind.HEADING:
                words = links.plain(line.words)
                is_mixed = bool(re.search(r"[/&]|\band\b", words)) and "question" in words.casefold()
                section, depth = words if _QUESTIONS.fullmatch(words) else "", 0
                if self._is_free(at) and _ENDS.search(words) and not section and not self._is_template(words):
                    self._heading_question(at)
                continue
            if not self._is_free(at) or line.kind not in (Kind.BULLET, Kind.TEXT):
                continue
            if line.kind is Kind.BULLET and _QUESTIONS.fullmatch(_outlined(line.words)):
                # In an outline, a heading is an item above others.
                inside = [n for n in self._deeper(at) if self.lines[n].kind is Kind.BULLET]
                if inside:
                    outline, depth = self._deeper(at), self.lines[inside[0]].depth
                    continue
            is_section = at in outline or bool(section)
            if (asked := self._asked(at, is_section, is_mixed, depth if at in outline else 0)) is not None:
                self._question(at, *asked)

    def _is_template(self, words: str) -> bool:
        return asked_alike(words) in self.templates

    def _asked(self, at: int, is_section: bool, is_mixed: bool, depth: int = 0) -> tuple[str, str] | None:
        """Return what a line asks, and the answer that it holds; None if it asks nothing.

        In a section of questions, each item is one that stands at a depth.
        """
        line = self.lines[at]
        words = _unwrapped(line.words)
        for n in range(at + 1, len(self.lines)):
            below = self.lines[n]
            is_deeper = below.kind is Kind.TEXT and indent(below.text) > line.depth
            if line.kind is not Kind.BULLET or not is_deeper or _ENDS.search(words):
                break
            if _ENDS.search(below.words):
                return None if self._is_template(f"{words} {below.words}") else (words, "")
        if labeled(line.text) and labeled(line.text)[0] == "title":  # type: ignore[index]
            return None
        if explicit := _ASKED.match(words):
            ask, rest = explicit["ask"], ""
            if parts := _INLINE_ANSWER.split(ask, maxsplit=1)[1:]:
                ask, rest = ask[: len(ask) - len(parts[0])], parts[0]
                ask = _INLINE_ANSWER.sub("", ask).strip() or ask
            elif (first := _FIRST.match(ask)) and not (_ENDS.search(first["rest"]) or _MARKS.fullmatch(first["rest"])):
                ask, rest = first["ask"], first["rest"]
            return None if self._is_template(links.plain(ask)) else (ask, rest)
        if _CHORE.match(words) or self._is_template(links.plain(words).strip("*_ ")):
            return None
        is_alone = line.kind is Kind.BULLET or self._is_paragraph(at)
        is_task = line.is_ticked is not None
        if _ENDS.search(words) and is_alone and not re.search(r"^[^?？]*\([^()]*[?？]+\)\W*$", words):
            return words, ""
        if line.kind is Kind.BULLET and (is_section or is_task) and (first := _FIRST.match(words)):
            return (words, "") if _MARKS.fullmatch(first["rest"]) else (first["ask"], first["rest"])
        if is_section and not is_mixed and not is_task and line.kind is Kind.BULLET and line.depth == depth:
            return words, ""
        return None

    def _is_paragraph(self, at: int) -> bool:
        """Tell whether a line of text is a paragraph of its own, and one sentence."""
        above = self.lines[at - 1].kind if at else Kind.BLANK
        below = self.lines[at + 1].kind if at + 1 < len(self.lines) else Kind.BLANK
        begins = above in (Kind.BLANK, Kind.HEADING, Kind.RULE) or not self._is_free(at - 1)
        is_single = begins and below is not Kind.TEXT
        return is_single and not re.search(r"[.!。！]\s+\S", self.lines[at].words) and len(self.lines[at].words) <= 300

    def _heading_question(self, at: int) -> None:
        line = self.lines[at]
        end = next(
            (
                n
                for n in range(at + 1, len(self.lines))
                if self.lines[n].kind is Kind.HEADING and self.lines[n].depth <= line.depth
            ),
            len(self.lines),
        )
        inside = [n for n in range(at + 1, end) if self._is_free(n)]
        answer = _text([self.lines[n].text for n in inside])
        asked = _ASKED.match(line.words)
        self._add(at, asked["ask"] if asked else _NUMBER.sub("", line.words), answer, inside if answer else [])

    def _question(self, at: int, ask: str, rest: str) -> None:
        line, taken, answer = self.lines[at], list[int](), [rest] if rest else []
        n = at + 1
        # A bullet goes on in lines that stand deeper.
        while n < len(self.lines) and self._is_free(n):
            below = self.lines[n]
            if (
                below.kind is Kind.TEXT
                and line.kind is Kind.BULLET
                and indent(below.text) > line.depth
                and not _ANSWER.match(below.words)
            ):
                if _ENDS.search(ask):
                    answer.append(below.words)
                else:
                    ask = f"{ask} {below.words}"
                taken.append(n)
                n += 1
                continue
            break
        after = n
        while after < len(self.lines) and self.lines[after].kind is Kind.BLANK:
            after += 1
        if (
            after < len(self.lines)
            and self._is_free(after)
            and after - n <= 1
            and (
                given := _ANSWER.match(
                    self.lines[after].words if self.lines[after].kind is Kind.BULLET else self.lines[after].text.strip()
                )
            )
        ):
            answer.append(given["text"])
            taken += [*range(n, after + 1)]
            n = after + 1
            while n < len(self.lines) and self._is_free(n) and self._goes_on(n, line):
                answer.append(self.lines[n].text)
                taken.append(n)
                n += 1
        elif line.kind is Kind.BULLET:
            nested = self._nested(n, line.depth)
            if nested and not all(
                _ENDS.search(self.lines[one].words) for one in nested if self.lines[one].kind is Kind.BULLET
            ):
                answer += dedented([self.lines[one].text for one in nested])
                taken += nested
        elif _ASKED.match(line.words):
            # A paragraph below an explicit question answers it.
            while (
                n < len(self.lines)
                and self._is_free(n)
                and self.lines[n].kind in (Kind.TEXT, Kind.QUOTE)
                and not _ASKED.match(self.lines[n].words)
            ):
                answer.append(self.lines[n].text)
                taken.append(n)
                n += 1
        self._add(at, ask, _text(answer), taken)

    def _goes_on(self, n: int, line: Line) -> bool:
        one = self.lines[n]
        if one.kind is Kind.BULLET and one.depth <= line.depth and line.kind is Kind.BULLET:
            return False
        return one.kind in (Kind.TEXT, Kind.BULLET, Kind.QUOTE, Kind.VERBATIM) and not _ASKED.match(one.words)

    def _nested(self, start: int, depth: int) -> list[int]:
        """Return the lines from `start` on that stand deeper than a bullet."""
        inside: list[int] = []
        for n in range(start, len(self.lines)):
            one = self.lines[n]
            if one.kind is Kind.BLANK:
                inside.append(n)
                continue
            is_deeper = (one.depth if one.kind is Kind.BULLET else indent(one.text)) > depth
            if not self._is_free(n) or not is_deeper or one.kind is Kind.HEADING:
                break
            inside.append(n)
        while inside and self.lines[inside[-1]].kind is Kind.BLANK:
            inside.pop()
        return inside

    def _deeper(self, at: int) -> range:
        """Return the lines below an item of a list that stand deeper."""
        end, line = at + 1, self.lines[at]
        while end < len(self.lines):
            one = self.lines[end]
            depth = one.depth if one.kind is Kind.BULLET else indent(one.text)
            if one.kind is not Kind.BLANK and (depth <= line.depth or one.kind is Kind.HEADING):
                break
            end += 1
        return range(at + 1, end)

    def _add(self, at: int, ask: str, answer: str, taken: Iterable[int]) -> None:
        ask = " ".join(ask.split()).strip()
        ask = re.sub(r"^(\*\*|__)(.*)\1$", r"\2", ask)
        if len(ask) > 2000 or not re.search(r"\w", ask):
            return
        number = len(self.made.questions)
        self.made.questions.append(Asked(ask, self.lines[at].number, answer))
        self._take(at, f"questions[{number}]")
        for n in taken:
            self._take(n, f"questions[{number}].answer")

    # Quotes, and notes

    def _quotes(self) -> None:
        for quoted in quotes.find(self.lines, self._is_free, self.made.authors):
            self.made.quotes.append(quoted)
            for at in quoted.lines:
                self._take(at, "quotes")

    def _notes(self) -> None:
        for at, line in self._free():
            # A heading whose questions, or whose field, stand elsewhere now says nothing.
            if line.kind is Kind.HEADING:
                end = next(
                    (n for n in range(at + 1, len(self.lines)) if self.lines[n].kind is Kind.HEADING), len(self.lines)
                )
                inside = [n for n in range(at + 1, end) if self.lines[n].kind is not Kind.BLANK]
                if (
                    inside
                    and not any(map(self._is_free, inside))
                    and (quotes.is_heading(line.words) or any(self.to.get(n) != "quotes" for n in inside))
                    and (end == len(self.lines) or self.lines[end].depth <= line.depth)
                ):
                    self._leave(at, "a heading of what stands elsewhere on the card")
            elif line.kind is Kind.BULLET and (
                _QUESTIONS.fullmatch(_outlined(line.words)) or quotes.is_heading(_outlined(line.words))
            ):
                inside = [n for n in self._deeper(at) if self.lines[n].kind is not Kind.BLANK]
                if inside and not any(map(self._is_free, inside)):
                    self._leave(at, "a heading of what stands elsewhere on the card")
        kept = [line.text if self._is_free(at) else None for at, line in enumerate(self.lines)]
        shown = [line for line in kept if line is not None]
        text = _text(shown)
        if not re.search(r"\w|!\[", text):
            for at, line in self._free():
                if line.kind is not Kind.BLANK:
                    self._leave(at, "no words")
            text = ""
        self.made.notes = text
        for at, line in self._free():
            if line.kind is Kind.BLANK or (line.kind is Kind.RULE and not text):
                self._leave(at, "blank")

    def _free(self) -> Iterator[tuple[int, Line]]:
        return ((at, line) for at, line in enumerate(self.lines) if self._is_free(at))


def _outlined(words: str) -> str:
    """Return the words of an item of an outline without the marks of a heading."""
    return links.plain(re.sub(r"^#{1,6}\s+", "", words)).strip(" *_:：[]")


def reference(line: str) -> tuple[str, list[str], int] | None:
    """Read a reference, "Title. Authors. Year. [[paper]](url)", or with the authors first; None if it is none."""
    words = re.sub(r"\s*\\?\[+[^\[\]]*\\?\]+\([^)]*\)\\?\]*|\s*https?://\S+", " ", line)
    words = links.plain(words).strip(" -*.")
    parts = [part.strip() for part in re.split(r"(?<=[\w)?!\"”])\.\s+|(?<=[?!])\s+|\s+-\s+", words) if part.strip()]
    if not 2 <= len(parts) <= 6:
        return None
    year = next((found for part in reversed(parts) if (found := _year(part))), None)
    people = [
        (index, some)
        for index, part in enumerate(parts[:3])
        if (some := _surname_of_several(part))
        or (some := names(re.sub(r"\s*et al\.?", "", part), least=2 if "et al" not in part else 1))
    ]
    if year is None or not people:
        return None
    index, authors = people[0]
    titles = [
        part
        for n, part in enumerate(parts[:3])
        if n != index and len(part.split()) >= 2 and not re.fullmatch(r"\W*(?:19|20)\d\d\W*", part)
    ]
    return (titles[0].strip(" \"'“”"), authors, year) if titles else None


def venue_beside(line: str, title: str) -> str:
    """Return the venue that a reference names beside the title; empty if none is known."""
    found = _VENUE.search(links.plain(line).replace(title, ""))
    return found[0] if found else ""


def _surname_of_several(part: str) -> list[str]:
    found = re.fullmatch(r"(?P<who>[^\W\d_][\w'’-]+),? et al\.?", part.strip())
    return [found["who"], "others"] if found and found["who"][0].isupper() else []


@dataclass(frozen=True)
class Cited:
    """What a citation says of a paper besides its title; `within` has the volume, the number and the pages."""

    authors: list[str]
    year: int | None
    venue: str
    within: dict[str, str]


def citation(line: str, title: str) -> Cited | None:
    """Read a line that cites the paper, with its title between the authors and the rest; None if it does not."""
    words = re.findall(r"\w+", title)
    if len(words) < 2:
        return None
    line = " ".join(re.sub(r"\*+|(?<!\w)_+|_+(?!\w)", "", links.plain(line)).split())
    found = re.search(r"(?<!\w)" + r"\W+".join(map(re.escape, words)) + r"(?!\w)", line, re.IGNORECASE)
    if not found or not (authors := _cited(line[: found.start()])):
        return None
    rest = line[found.end() :].strip("?!.\"'“”’ ,:;")
    year = _year(line[: found.start()]) or _year(rest)
    rest = re.sub(
        r"(?:\barxiv\s+preprint\s+)?\barxiv:\s*[\w./-]*\d(?:v\d+)?|https?://\S+|\bdoi:\s*\S+",
        "",
        rest,
        flags=re.IGNORECASE,
    )
    rest = re.sub(r"[\s.]*\b(?:APA|MLA|Web|Print)\W*$|^\W*in:?\s+", "", rest.strip(" .,"), flags=re.IGNORECASE)
    within: dict[str, str] = {}
    if issue := _ISSUE.search(rest):
        within = {name: value for name, value in issue.groupdict().items() if value}
        rest = rest[: issue.start()]
    rest = re.sub(r"\W*(?:19|20)\d\d\W*$", "", rest).strip(" .,;()")
    venue = _VENUE.search(rest)
    return Cited(authors, year, rest if within or not venue else venue[0], within)


def _cited(people: str) -> list[str]:
    """Return the authors of a citation in the styles of MLA, APA, IEEE and others; none if these are no names."""
    bare = re.sub(r"[(\[]?(?:19|20)\d\d[a-z]?[)\]]?", "", people).strip(" .,:;\"'“”‘-–—")
    few = re.sub(r",?\s*\bet al\b\.?$", "", bare)
    others = ["others"] * (few != bare)
    bare = few
    parts = [
        one.strip(" .") for one in re.split(r"\s*(?:[,;，；]\s*(?:&|and\b)?|\s&\s|\band\b)\s*", bare) if one.strip(" .")
    ]
    given = [re.sub(r"[.\s-]", "", one) for one in parts[1::2]]
    if ";" in bare:
        listed = [
            " ".join(reversed([half.strip() for half in one.split(",", 1)])) for one in re.split(r"\s*;\s*", bare)
        ]
    elif len(parts) > 1 and not len(parts) % 2 and all(one.isupper() and len(one) <= 4 for one in given):
        listed = [f"{first}. {family}" for family, first in zip(parts[::2], parts[1::2], strict=True)]
    elif len(parts) > 1 and (" " not in parts[0] or parts[0][0].islower()) and all(" " in one for one in parts[2:]):
        listed = [f"{parts[1]} {parts[0]}", *parts[2:]]
    else:
        listed = parts
    return [*listed, *others] if listed and names(", ".join(listed), least=1) else []


def _unwrapped(words: str) -> str:
    """Return a remark without the brackets, the emphasis and the label around it: `(*Note: Why?*)`."""
    inner = words.strip()
    while found := re.fullmatch(
        r"\((?P<in>[^()]*(?:\([^()]*\)[^()]*)*)\)|(?P<mark>\*\*|__|\*|_)(?P<on>[^*_]+)(?P=mark)", inner
    ):
        inner = (found["in"] or found["on"] or "").strip()
    label = re.match(
        r"(?:side[- ]?note|note(?: to self)?|nb|n\.b\.|aside|remark|my question)\s*[:：]\s*", inner, re.IGNORECASE
    )
    return inner[label.end() :] if label and _ENDS.search(inner) else inner if _ENDS.search(inner) else words


def names(line: str, least: int = 2) -> list[str]:
    """Return the names of people in a line that holds nothing else; none if there are fewer than `least`."""
    line = re.sub(r"^by\s+", "", line.strip().rstrip("."), flags=re.IGNORECASE)
    if len(line) > 2000 or ":" in line or re.search(r"[?!;]\s", line):
        return []
    found = _split_names(line)
    whole = [one for one in found if " " in one or re.fullmatch(r"[\u4e00-\u9fff]{2,4}", one)]
    are_names = all(
        _NAME.fullmatch(one) and (one[0].isupper() or not one.isascii()) and one[-1] != "?" for one in found
    )
    capital = all(
        word[0].isupper() or word.casefold() in _PARTICLES or not word.isascii()
        for one in found
        for word in one.split()
    )
    return found if are_names and capital and len(whole) == len(found) >= least else []


_PARTICLES = {
    "van",
    "von",
    "der",
    "den",
    "de",
    "da",
    "del",
    "della",
    "di",
    "du",
    "la",
    "le",
    "bin",
    "ibn",
    "al",
    "el",
    "dos",
    "ter",
    "zu",
    "y",
}


def _split_names(line: str) -> list[str]:
    bare = re.sub(r"[\d*†‡§¶¹²³⁴⁵⁶⁷⁸⁹⁰ᵃᵇᶜ]+(?=\s*(?:,|;|$|\band\b|&))", "", line)
    bare = re.sub(r",?\s*(?:et al\.?|等人?|and others|\.\.\.|…)\s*$", "", bare)
    parts = re.split(r"\s*(?:[,;，；、|]|\s&\s|\band\b)\s*", bare)
    return [one.strip() for one in parts if one.strip()]


def _without_end(title: str, made: Draft) -> str:
    """Return a title without the year, the venue or the authors behind it, which the draft takes."""
    title = _OF_NOTES.sub("", title) or title
    if listed := _BEHIND_COMMA.match(title):
        venue = _VENUE.search(listed["venue"] or "")
        made.year = made.year or _year(listed["year"])
        made.venue = made.venue or (venue[0] if venue else listed["venue"] or "")
        title = listed["title"]
    while found := re.search(
        r"^(?P<title>.*?\S)\s*(?:[\[(（](?P<in>[^\[\]()（）]*)[\])）]|\s[-–—]\s(?P<after>[^-–—]+))\s*$", title
    ):
        inside = (found["in"] or found["after"] or "").strip()
        year, venue = _year(inside), _VENUE.search(inside)
        people = re.sub(r"(?:19|20)\d\d|et al\.?", "", inside).strip(" ,")
        if found["after"] and not (names(people) or re.fullmatch(r"(?:[A-Z][\w'’-]+)(?:,\s*[A-Z][\w'’-]+)*", people)):
            break
        if found["in"] is not None and not year and not venue:
            break
        made.year, made.venue = made.year or year, made.venue or (venue[0] if venue else "")
        if people and not venue and not made.authors and not made.title:
            made.authors = [one for one in _split_names(people) if one[0].isupper()]
        title = found["title"]
    return title.strip().rstrip(":：").strip()


def _year(text: str) -> int | None:
    found = YEAR.search(text)
    if found:
        return int(found[0])
    short = re.search(r"(?<=[A-Za-z'’ -])(?:['’]|(?<=[A-Z]))(\d\d)\b", text)
    return (2000 if int(short[1]) < 50 else 1900) + int(short[1]) if short else None


def _year_of_arxiv(identifier: str) -> int | None:
    found = re.match(r"(\d\d)\d\d\.|.*/(\d\d)\d{5}", identifier)
    if not found:
        return None
    digits = int(found[1] or found[2])
    return (1900 if digits > 90 else 2000) + digits


def _iso(text: str) -> str:
    if found := re.search(r"(?<!\d)((?:19|20)\d\d)[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)", text):
        return f"{found[1]}-{int(found[2]):02}-{int(found[3]):02}"
    if found := re.search(r"(?<!\d)(\d{1,2})[/.](\d{1,2})[/.]((?:19|20)\d\d)(?!\d)", text):
        month, day = int(found[1]), int(found[2])
        month, day = (month, day) if month <= 12 else (day, month)
        return f"{found[3]}-{month:02}-{day:02}"
    return ""


def _text(lines: Sequence[str]) -> str:
    """Join lines to a text without blank lines at its ends, and with at most one between paragraphs."""
    text = "\n".join(line.rstrip() if not line.endswith("  ") else line for line in lines)
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n").rstrip()


def _all(done: Iterable[bool]) -> bool:
    """Tell whether all was done; all of it is done in any case."""
    return all(list(done))
