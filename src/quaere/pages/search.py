"""What the search finds things by: from each page to an entry, and from all entries to files.

`read` reads one page; its entry can be kept as long as the page does not change. `files` and `Words` join all pages,
`changed` changes a file where some have changed. The browser reads, in `assets/find.js`:

- `names.json`: what cards, pages, tags and affiliations are called. It comes first, and is all that a title needs.
- `identifiers.json`: the pages by arXiv identifier and DOI.
- `words/<two characters>.json`: the words that begin with them, each with the pages and the parts that hold it.
- `pages/<number>.json`: the parts of a page with their texts, for what is shown of it.

`fold` and `terms` must do to a text what `fold` and `terms` of `find.js` do to a query.
"""

from __future__ import annotations

import hashlib
import html
import json
import operator
import re
import string
import sys
import unicodedata
from array import array
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

from quaere.content import addresses
from quaere.pages.page import Page, unicode_mathematics

# Whoever searches without a site needs none of what makes pages.
if TYPE_CHECKING:
    from quaere.pages.summary import Summary
    from quaere.pages.view import View

FOLDER = "assets/data/search/"
"""Where the files are in the site."""
WORDS = f"{FOLDER}words/"
"""Where those of words are."""

COMMON = frozenset(
    """
    a an and are as at be but by can do does for from has have how if in into is it its not of on or than that the their
    then there these they this to was were what when where which who why will with
    """.split()  # noqa: SIM905  (a list of quoted words would take a screen)
)
"""Words that hardly tell pages apart: only names are found by them."""
_UNFOUND = COMMON | {"", *string.ascii_lowercase, *string.digits}

# No possessive repeats: Python before 3.11.5 matches them wrongly.
_TO_END = r'[^>"]*(?:"[^"]*"[^>"]*)*>'

_UNREAD = re.compile(
    # From tag to tag is faster than `.*?`.
    "|".join(
        rf"<{start}[^<]*(?:<(?!/{tag}>)[^<]*)*</{tag}>"
        for start, tag in (
            (r"(script|style|math)\b", r"\1"),
            ('details class="mkdocstrings-source">', "details"),
            (r'a(?:\s[\w-]+="[^"]*")*?\sclass="(?:headerlink|q-back)"', "a"),
            ('p class="q-(?:actions|brief|counts|status|where)">', "p"),
            ('span class="q-badge"', "span"),
            ('div class="(?:arithmatex|q-copies)"', "div"),
        )
    )
    + r'|<h[1-6] id="cite_"[^<]*(?:<(?!h[1-6]\b)[^<]*)*'
)
"""What is no text, what is said twice or on every card, entries of the bibliography, and equations that stand alone."""
_EXCLUDED = re.compile(r"<(\w+)\b[^>]*\sdata-search-exclude\b[^<]*(?:<(?!/\1>)[^<]*)*</\1>")
_PART = re.compile(
    r'<(?:h(?P<level>[1-6])\b[^>]*?\sid="(?P<id>[^"]*)"[^>]*>(?P<title>.*?)</h(?P=level)>'
    r'|div class="q-claim" id="(?P<claim>[^"]*)">\s*<p>(?P<says>.*?)</p>)',
    re.DOTALL,
)
_INLINE = re.compile(
    rf"<(?:/?(?:a|abbr|code|del|em|ins|kbd|mark|s|small|span|strong|su[bp]|wbr)\b{_TO_END}|!--.*?-->)", re.DOTALL
)
_BLOCK = re.compile(rf"</?[a-z]{_TO_END}")
# Of bytes, which is several times as fast: letters in lower case, no other signs; what is not ASCII stays for `fold`.
_WORDS = bytes(one if one >= 128 else ord(chr(one).lower()) if chr(one).isalnum() else 32 for one in range(256))
_WORD = re.compile(r"[^\W_]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_ACCENT = re.compile("[\u0300-\u036f]+")
_UNSPACED = re.compile("([\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]+)")
_LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "ς": "σ"}
)
_LONGEST = 40
"""Characters of a word that count."""
_SLOTS = 1 << 16

Changes = list[tuple[int, str, bool]]


@dataclass(frozen=True)
class Entry:
    """What the search knows of a page.

    Attributes:
        number: The page's number.
        name: Its row in `names.json`: kind, address, title, short name, authors, year, weight.
        identifiers: The names of the paper in archives, in lower case.
        named: The words of names and titles, one a line, each with where: `Q2` is the question in part 2, `C` a claim,
            `S` a section, `M` a member of a module, `N` the names of people, tags and places.
    """

    number: int
    name: tuple[str, ...]
    identifiers: tuple[str, ...]
    named: str

    @property
    def parts(self) -> str:
        """The path of the file of the page's parts."""
        return f"{FOLDER}pages/{self.number}.json"

    def tell(self) -> list[Any]:
        """Write it as plain values."""
        return [self.number, list(self.name), list(self.identifiers), self.named]

    @classmethod
    def read(cls, told: list[Any]) -> Entry:
        """Return what was written by `tell`."""
        number, name, identifiers, named = told
        return cls(number, tuple(name), tuple(identifiers), named)


class Read(NamedTuple):
    """What was read of a page.

    Attributes:
        entry: Its entry.
        words: The words of its text alone, which the entry does not name, with blanks between them.
        parts: The content of the file of its parts: of each its id, kind, title, text and state.
    """

    entry: Entry
    words: str
    parts: str

    @classmethod
    def again(cls, entry: Entry, parts: str) -> Read:
        """Return it from what is kept: the words are long, and follow from the parts."""
        named = {line.partition(" ")[0] for line in entry.named.split("\n")}
        return cls(entry, _words((text for _, _, _, text, _ in json.loads(parts)), named), parts)

    @property
    def lines(self) -> Iterator[str]:
        """What files of words have of the page: each word, with where if it is of a name or a title."""
        yield from self.words.split()
        yield from filter(None, self.entry.named.split("\n"))


@dataclass(frozen=True)
class Part:
    """A part of a page.

    Attributes:
        id: Its id on the page; empty for what stands below the title.
        kind: `Q` for a question, `C` a claim, `S` a section, `M` a member of a module; empty for none of these.
        title: Its heading.
        text: What stands below it.
        state: The state of a question.
    """

    id: str
    kind: str
    title: str
    text: str
    state: str = ""


def fold(text: str) -> str:
    """Return a text in lower case without accents."""
    if text.isascii():
        return text.lower()
    plain = _ACCENT.sub("", unicodedata.normalize("NFKD", text)).lower().translate(_LETTERS)
    return unicodedata.normalize("NFC", plain)


def terms(text: str) -> set[str]:
    """Return the words of a text, folded; of a script without spaces each two neighboring characters."""
    found = set(text.encode(errors="replace").translate(_WORDS).decode().split())
    others = [word for word in found if not word.isascii()]
    found.difference_update(others)
    for one in others:
        for word in _WORD.findall(fold(one)):
            for run in _UNSPACED.split(word):
                found.update([run[at : at + 2] for at in range(len(run))] if _UNSPACED.match(run) else [run])
    long = [word for word in found if len(word) > _LONGEST]
    found.difference_update(long)
    found.update(word[:_LONGEST] for word in long)
    return found - _UNFOUND


def read_page(view: View, page: Page, number: int) -> Read | None:
    """Return what `read` returns of a generated page; None if the search does not find it."""
    if page.path in addresses.LISTS:
        return read(view, page.path, number, page.title, "")  # what a list says stands on the pages that it lists
    is_found = page.is_searched and page.source is not None
    return read(view, page.path, number, page.title, page.body) if is_found else None


def read(view: View, path: str, number: int, title: str, body: str) -> Read:
    """Read a page.

    Args:
        view: The library.
        path: The page.
        number: Its number.
        title: Its title, plain text.
        body: Its HTML.
    """
    about = view.summaries.get(path.removeprefix("papers/").removesuffix(".md")) if path.startswith("papers/") else None
    is_module = about is None and path.startswith("reference/")
    parts = list(_parts(body, title, about, "M" if is_module else "S"))
    names = (*about.authors, *about.tags, *about.affiliations, about.venue) if about else ()
    known = tuple(identifiers(about.doi, about.arxiv)) if about else ()
    return entry(number, _name(view, path, title, about, is_module), known, parts, names)


def entry(
    number: int, name: tuple[str, ...], identifiers: tuple[str, ...], parts: Sequence[Part], names: Iterable[str]
) -> Read:
    """Read a page of which the parts are known.

    Args:
        number: The page's number.
        name: Its row in `names.json`.
        identifiers: The names of the paper in archives, in lower case.
        parts: Its parts; the first is what stands below its title.
        names: The people, tags and places that it is found by.
    """
    named: dict[str, list[str]] = defaultdict(list)
    for at, part in enumerate(parts):
        for word in terms(f"{part.title} {_HUMP.sub(' ', part.title)}") if at and part.kind else ():
            named[word].append(f"{part.kind}{at}")
    for word in terms(" ".join(names)):
        named[word].append("N")
    lines = "\n".join(f"{word} {''.join(named[word])}" for word in sorted(named))
    words = _words((part.text for part in parts), named.keys())
    told = _json([[one.id, one.kind, one.title, one.text, one.state] for one in parts])
    return Read(Entry(number, name, identifiers, lines), words, told)


def _words(texts: Iterable[str], named: Set[str]) -> str:
    """Return the words of texts, but those that are named."""
    return " ".join(sorted(terms(" ".join(texts)) - named))


def _name(view: View, path: str, title: str, about: Summary | None, is_module: bool) -> tuple[str, ...]:
    """Return a row of `names.json`."""
    if about is None:
        return "M" if is_module else "H", view.url(path), one_line(title), "", "", "", "0"
    weight = len(view.followers.get(about.slug, ())) + len(about.questions) // 3
    authors = ["topic"] if about.is_topic else about.surnames
    return row(view.url(path), about.title, about.name, authors, (about.year, about.status), weight)


def row(
    address: str, title: str, name: str, authors: Iterable[str], said: Iterable[object], weight: int
) -> tuple[str, ...]:
    """Return the row of a paper in `names.json`.

    Args:
        address: Where it leads.
        title: The paper's title.
        name: Its name in links.
        authors: The family names of its authors.
        said: What is shown beside them: year and status.
        weight: Of two alike the one with more comes first.
    """
    short = "" if title.startswith(f"{name}: ") or name == title else name
    shown = " · ".join(str(one) for one in said if one)
    people = ", ".join(map(one_line, authors))
    return "P", address, one_line(title), one_line(short), people, shown, str(min(9, weight))


def identifiers(doi: str | None, arxiv: str | None) -> Iterator[str]:
    """Yield the names of a paper in archives by which it is found."""
    if doi:
        yield doi.lower()
    if arxiv:
        # Neither version nor subject class tells papers apart: math.GT/0309136v2 is math/0309136.
        yield re.sub(r"v\d+$|\.[a-z]{2}(?=/)", "", arxiv.lower())


def _parts(body: str, title: str, about: Summary | None, kind: str) -> Iterator[Part]:
    """Yield the parts of a page: what stands below its title, then each heading and each claim with what follows it."""
    shown = unicode_mathematics(_UNREAD.sub(" ", body))
    for one in reversed(list(_elements(_EXCLUDED, "data-search-exclude", shown))):
        shown = f"{shown[: one.start()]} {shown[one.end() :]}"
    states = {one.name: one.state.value for one in about.questions} if about else {}
    found = list(_elements(_PART, 'id="', shown))
    start = shown[: found[0].start()] if found else shown
    if found and found[0]["level"] == "1":
        first, *found = found
        start += " " + shown[first.end() : found[0].start() if found else None]
    yield Part("", "", one_line(title), _plain(start))
    for one, after in zip_longest(found, found[1:]):
        id = html.unescape(one["id"] if one["claim"] is None else one["claim"])
        # The sections of each card are called alike, and their ids end so.
        is_same = about is not None and id.endswith("_")
        named = "C" if one["claim"] is not None else "Q" if id in states else "" if is_same else kind
        text = shown[one.end() : after.start() if after else None]
        yield Part(id, named, _plain(one["title"] or one["says"] or ""), _plain(text), states.get(id, ""))


def _elements(pattern: re.Pattern[str], attribute: str, shown: str) -> Iterator[re.Match[str]]:
    """Yield what a pattern finds that begins with a tag: of all tags, only those with an attribute are looked at."""
    end = 0
    while (at := shown.find(f" {attribute}", end)) >= 0:
        found = pattern.match(shown, max(end, shown.rfind("<", end, at)))
        end = found.end() if found else at + 1
        if found:
            yield found


def _plain(shown: str) -> str:
    if "<" not in shown:
        return one_line(html.unescape(shown))
    for tag in ("</span>", "</code>", "</a>"):  # most tags are of code, and this is faster than what follows
        shown = shown.replace(tag, "")
    return one_line(html.unescape(_BLOCK.sub(" ", _INLINE.sub("", shown))))


def one_line(text: str) -> str:
    """Return a text in one line."""
    # A docstring can hold half of a character, which nothing can write.
    return " ".join(text.split()).encode(errors="replace").decode()


def numbers(paths: Iterable[str]) -> dict[str, int]:
    """Give each page a number, in the order of the numbers, so that other pages come and go without changing it."""
    names = sorted(paths)
    slots = _SLOTS
    while slots < 4 * len(names):
        slots *= 2
    taken: dict[int, str] = {}
    for path in names:
        slot = int.from_bytes(hashlib.sha256(path.encode()).digest()[:4]) % slots
        while slot in taken:
            slot = (slot + 1) % slots
        taken[slot] = path
    return {taken[slot]: slot for slot in sorted(taken)}


def files(view: View, entries: Collection[Entry]) -> Iterator[tuple[str, str]]:
    """Yield the path and the content of each file of names, of the entries of all pages in any order."""
    groups = [
        (kind, view.url(page) + f"#{anchors[name]}", one_line(name), "", "", str(len(papers)), "0")
        for kind, page, anchors, of in (
            ("T", addresses.TAGS, view.tag_anchors, view.tags),
            ("F", addresses.AFFILIATIONS, view.affiliation_anchors, view.affiliations),
        )
        for name, papers in of.items()
    ]
    return files_of_names(entries, groups)


def files_of_names(entries: Collection[Entry], groups: Iterable[tuple[str, ...]] = ()) -> Iterator[tuple[str, str]]:
    """Yield what `files` yields; `groups` are rows of `names.json` that stand for no page."""
    names = {one.number: one.name for one in entries}
    identifiers = {identifier: one.number for one in entries for identifier in one.identifiers}
    yield f"{FOLDER}names.json", _names(names, groups)
    yield f"{FOLDER}identifiers.json", _json(dict(sorted(identifiers.items())))


class Words:
    """The files of words of some pages, which come in any order."""

    _AT_ONCE = 64

    def __init__(self) -> None:
        self._waiting: list[Read] = []
        # A hundred thousand words and millions of numbers.
        self._texts: dict[str, array[int]] = defaultdict(partial(array, "I"))
        self._named: dict[str, array[int]] = defaultdict(partial(array, "I"))
        self._places: dict[str, list[str]] = defaultdict(list)

    def add(self, read: Read) -> None:
        """Add a page."""
        self._waiting.append(read)
        # From page to page, all of this would be gone from the processor's cache.
        if len(self._waiting) == self._AT_ONCE:
            self._add_all()

    def _add_all(self) -> None:
        for entry, words, _ in self._waiting:
            for word in words.split():
                self._texts[word].append(entry.number)
            for line in entry.named.split("\n") if entry.named else ():
                word, _, where = line.partition(" ")
                self._named[word].append(entry.number)
                self._places[word].append(sys.intern(where))
        self._waiting.clear()

    def files(self) -> Iterator[tuple[str, str]]:
        """Yield the path and the content of each file."""
        self._add_all()
        words: dict[str, list[str]] = defaultdict(list)
        for word in sorted(self._texts.keys() | self._named.keys()):
            words[shard(word)].append(word)
        for path, some in words.items():
            yield path, _json("\n".join(map(self._line, some)))

    def _line(self, word: str) -> str:
        named = zip(self._named.get(word, ()), self._places.get(word, ()), strict=True)
        return _line(word, self._texts.get(word, ()), [f"{number}{where}" for number, where in named])


def changes(gone: Iterable[Read], come: Iterable[Read]) -> dict[str, Changes]:
    """Return what changes in which files of words when some pages go and others come.

    Each change is the number of a page, a line of its entry, and whether it comes.
    """
    lost, got = ({(one.entry.number, line) for one in some for line in one.lines} for some in (gone, come))
    found: dict[str, Changes] = defaultdict(list)
    for number, line in lost ^ got:
        found[shard(line)].append((number, line, (number, line) in got))
    return found


def changed(content: str, changes: Changes) -> str:
    """Return the content of a file of words after changes. It is empty if there are no words, as before the first."""
    lines = {line.partition("|")[0]: line for line in json.loads(content).split("\n")} if content else {}
    for number, line, is_there in changes:
        word, _, where = line.partition(" ")
        _, deltas, named = lines.get(word, "||").split("|")
        numbers, places = set(accumulate(map(int, deltas.split()))), set(named.split())
        if where:
            (places.add if is_there else places.discard)(f"{number}{where}")
        else:
            (numbers.add if is_there else numbers.discard)(number)
        lines[word] = _line(word, numbers, places)
        if not (numbers or places):
            del lines[word]
    return _json("\n".join(lines[word] for word in sorted(lines))) if lines else ""


def _line(word: str, numbers: Iterable[int], places: Iterable[str]) -> str:
    """Return a line of a file of words: the word, the pages whose text has it, and where it is in names and titles."""
    in_order = sorted(places, key=lambda place: int(re.split(r"\D", place, maxsplit=1)[0]))
    return f"{word}|{_deltas(numbers)}|{' '.join(in_order)}"


def shard(word: str) -> str:
    """Return the path of the file that holds a word, or a line that begins with one."""
    start = word[:2].rstrip(" ")
    return f"{WORDS}{start if start.isascii() else f'x{ord(start[0]) >> 6:x}'}.json"


def _deltas(of: Iterable[int]) -> str:
    """Write numbers by how far each is from the one before."""
    ascending = sorted(of)
    return " ".join(map(str, map(operator.sub, ascending, [0, *ascending])))


def _names(rows: Mapping[int, tuple[str, ...]], groups: Iterable[tuple[str, ...]]) -> str:
    table = [*(rows[number] for number in sorted(rows)), *groups]
    # A column of like things is smaller than rows of unlike ones.
    kinds, paths, titles, shorts, authors, years, weights = zip(*table, strict=True) if table else [()] * 7
    return _json(
        {
            "numbers": _deltas(rows),
            "kinds": "".join(kinds),
            "addresses": "\n".join(paths),
            "titles": "\n".join(titles),
            "shorts": "\n".join(shorts),
            "authors": "\n".join(authors),
            "years": "\n".join(years),
            "weights": "".join(weights),
            "common": " ".join(sorted(COMMON)),
        }
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
