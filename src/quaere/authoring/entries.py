"""Entries of the bibliography: keys, and BibTeX for what is known of a paper."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence

from quaere.content.bibliography.dates import MONTHS

_SMALL = frozenset(
    """
    a an the on of in for to and with from by via is are at as towards toward how what why do does that this i we you my
    our it its
    """.split()  # noqa: SIM905  (a list of quoted words would take a screen)
)


def without_accents(words: str) -> str:
    """Return words without accents."""
    # What no decomposition takes apart.
    for letter, plain in (
        ("ß", "ss"),
        ("ø", "o"),
        ("Ø", "O"),
        ("ł", "l"),
        ("Ł", "L"),
        ("đ", "d"),
        ("æ", "ae"),
        ("œ", "oe"),
    ):
        words = words.replace(letter, plain)
    return "".join(sign for sign in unicodedata.normalize("NFKD", words) if not unicodedata.combining(sign))


def ascii_of(words: str) -> str:
    """Return words in Latin letters without accents; others are left out."""
    return without_accents(words).encode("ascii", "ignore").decode()


def telling(title: str) -> list[str]:
    """Return the telling words of a title, in lower-case Latin letters and digits."""
    words = re.findall(r"[a-z0-9]+", re.sub(r"['’]s\b", "", ascii_of(title).casefold()))
    return [word for word in words if word not in _SMALL] or words


def key_of(authors: Sequence[str], year: int | None, title: str, taken: Collection[str]) -> str:
    """Make a key as Google Scholar does, `vaswani2017attention`; one that is taken gets a letter."""
    surname = authors[0].split(",")[0] if authors and "," in authors[0] else authors[0].split()[-1] if authors else ""
    name = "".join(re.findall(r"[a-z]+", ascii_of(surname).casefold()))
    first = next((word for word in telling(title) if not word.isdigit()), "")
    return free(f"{name or 'anonymous'}{year or ''}{first}", taken)


def free(key: str, taken: Collection[str]) -> str:
    """Return a key, with a letter or a number behind it if it is taken; to BibTeX, `A` and `a` are one."""
    ends = itertools.chain(["", *"abcdefghijklmnopqrstuvwxyz"], (f"-{n}" for n in itertools.count(1)))
    keys: Iterator[str] = (key + end for end in ends)
    return next(one for one in keys if one.casefold() not in taken and one not in taken)


def bibtex(kind: str, key: str, fields: Mapping[str, str]) -> str:
    """Write an entry; the values are Unicode text, names in the form of BibTeX. Empty fields are left out."""
    return source(kind, key, {name: value_of(name, value) for name, value in fields.items()})


def source(kind: str, key: str, fields: Mapping[str, str]) -> str:
    """Write an entry; the values are TeX. Empty fields are left out."""
    kept = {name: value for name, value in fields.items() if value}
    width = max(map(len, kept), default=0)
    lines = [f"  {line(name, value, width)},\n" for name, value in kept.items()]
    return f"@{kind}{{{key},\n{''.join(lines)}}}\n"


def line(name: str, value: str, width: int = 0) -> str:
    """Write a field; the value is TeX. A month's name is written for every style to translate."""
    return f"{name.ljust(width)} = {value if name == 'month' and value in MONTHS else f'{{{value}}}'}"


def value_of(name: str, value: str) -> str:
    """Return the TeX of a field's Unicode text."""
    value = " ".join(value.split())
    if name in _VERBATIM:
        return re.sub(r"[{}\\]", lambda sign: f"%{ord(sign[0]):02X}", value)
    # Mathematics, as people write it in titles.
    parts = re.split(r"(\$(?:[A-Za-z]|(?=\S)[^$]*[\\^_=][^$]*(?<![\s\\]))\$)", value)
    return "".join(
        part if n % 2 and _is_balanced(part) else _tex(part, keeps_capitals=name == "title")
        for n, part in enumerate(parts)
    )


_VERBATIM = frozenset({"url", "doi", "eprint"})
_SIGNS = {
    **{sign: f"\\{sign}" for sign in "{}&%#_$"},
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
}


def _tex(text: str, *, keeps_capitals: bool) -> str:
    text = re.sub(r"[{}&%#_$\\~^]|-(?=-)|`(?=`)|'(?=')|[!?](?=`)", _sign, text)
    # Braces keep the capitals inside of words.
    within = r"(?<![\w\\{])(?=[A-Za-z\d-]*[A-Za-z\d][A-Z])[A-Za-z\d-]+(?![\w}])"
    return re.sub(within, r"{\g<0>}", text) if keeps_capitals else text


def _sign(found: re.Match[str]) -> str:
    return _SIGNS.get(found[0]) or f"{found[0]}{{}}"


def _is_balanced(value: str) -> bool:
    depth = 0
    for sign in re.findall(r"(?<!\\)[{}]", value):
        depth += 1 if sign == "{" else -1
        if depth < 0:
            return False
    return depth == 0
