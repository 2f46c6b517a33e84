"""Entries of the bibliography: keys, and BibTeX for what is known of a paper."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence

_SMALL = frozenset(
    """
    a an the on of in for to and with from by via is are at as towards toward how what why do does that this i we you my
    our it its
    """.split()  # noqa: SIM905  (a list of quoted words would take a screen)
)


def ascii_of(words: str) -> str:
    """Return words in Latin letters without accents; others are left out."""
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
    return unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode()


def telling(title: str) -> list[str]:
    """Return the telling words of a title, in lower-case Latin letters and digits."""
    words = re.findall(r"[a-z0-9]+", re.sub(r"['’]s\b", "", ascii_of(title).casefold()))
    return [word for word in words if word not in _SMALL] or words


def key_of(authors: Sequence[str], year: int | None, title: str, taken: Collection[str]) -> str:
    """Make a key as Google Scholar does, `vaswani2017attention`; one that is taken gets a letter."""
    surname = authors[0].split(",")[0] if authors and "," in authors[0] else authors[0].split()[-1] if authors else ""
    name = "".join(re.findall(r"[a-z]+", ascii_of(surname).casefold()))
    first = next((word for word in telling(title) if not word.isdigit()), "")
    base = f"{name or 'anonymous'}{year or ''}{first}"
    ends: list[str] = ["", *"abcdefghijklmnopqrstuvwxyz", *map(str, range(len(taken) + 1))]
    return next(key for key in (base + end for end in ends) if key not in taken)


def bibtex(kind: str, key: str, fields: Mapping[str, str]) -> str:
    """Write an entry; the values are Unicode text. Empty fields are left out."""
    width = max(map(len, fields), default=0)
    lines = [f"  {name.ljust(width)} = {{{_tex(name, value)}}},\n" for name, value in fields.items() if value]
    return f"@{kind}{{{key},\n{''.join(lines)}}}\n"


def _tex(name: str, value: str) -> str:
    value = " ".join(value.split())
    if name in ("url", "doi", "eprint"):
        return re.sub(r"[{}]", lambda sign: f"%{ord(sign[0]):02X}", value)
    if re.search(r"\$[^$]+\$", value) and _is_balanced(value):
        return value  # mathematics, as people write it in titles
    value = value.replace("\\", "\0")
    value = re.sub(r"[{}&%#_$]", lambda sign: "\\" + sign[0], value).replace("\0", "\\textbackslash{}")
    # Braces keep the capitals inside of words.
    return (
        re.sub(r"(?<![\w\\])(?=[A-Za-z\d-]*[A-Za-z\d][A-Z])[A-Za-z\d-]+", r"{\g<0>}", value)
        if name == "title"
        else value
    )


def _is_balanced(value: str) -> bool:
    depth = 0
    for sign in re.findall(r"[{}]", value):
        depth += 1 if sign == "{" else -1
        if depth < 0:
            return False
    return depth == 0
