"""Change entries of the bibliography as they are written, and nothing else of its file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from quaere.authoring import entries
from quaere.authoring.sources.found import PARENTS, alike, shown
from quaere.content.bibliography.bibtex import Bibliography, Written
from quaere.errors import MisuseError

_SYNONYMS = {
    "journaltitle": "journal", "location": "address", "school": "institution", "annote": "annotation",
    "eprinttype": "archiveprefix", "eprintclass": "primaryclass", "date": "year", "month": "year", "day": "year",
}  # fmt: skip
_OWN = frozenset({*PARENTS, "ids", "file", "options", "keywords", "timestamp", "owner", "groups", "abstract"})


_NAMING = frozenset({*PARENTS, "ids"})


def missing(values: Mapping[str, str], others: Mapping[str, str], *, is_own: bool = False) -> dict[str, str]:
    """Return the fields that an entry lacks and another one of the same paper has.

    Of an entry from elsewhere, what is a matter of its library is left out, such as keywords; not of the author's own.
    """
    left_out = _NAMING if is_own else _OWN
    has = {_SYNONYMS.get(name, name) for name, value in values.items() if value}
    return {
        name: value
        for name, value in others.items()
        if value and _SYNONYMS.get(name, name) not in has and name not in left_out
    }


def otherwise(values: Mapping[str, str], others: Mapping[str, str]) -> dict[str, str]:
    """Return the fields of another entry that say something else than an entry does."""
    more = missing(values, others, is_own=True)
    said = {alike(shown(value)) for value in values.values()}
    return {
        name: value
        for name, value in others.items()
        if name not in more and name not in _NAMING and alike(shown(value)) not in said
    }


def with_fields(source: str, fields: Mapping[str, str]) -> str:
    """Return an entry with more fields, behind those that it has; all else stays as it is written."""
    end = re.search(r"(?P<comma>,?)(?P<space>\s*)[)}]\s*\Z", source)
    first = re.match(r"@\w+\s*[{(]\s*[^\s,={}]*\s*(?P<comma>,?)", source)
    if not end or not first:
        return source
    indent = next(iter(re.findall(r"\n([ \t]+)\S", source)), "  ")
    # A comment before the end would take what stands behind it.
    if "%" in source[max(source.rfind("\n", 0, end.start()), 0) : end.start()]:
        new = "".join(f"\n{indent}{entries.line(name, value)}," for name, value in fields.items())
        comma = "" if first["comma"] else ","
        return source[: first.end()] + comma + new + source[first.end() :]
    new = "".join(f",\n{indent}{entries.line(name, value)}" for name, value in fields.items())
    space = end["space"] if "\n" in end["space"] else "\n"
    return f"{source[: end.start()]}{new}{end['comma']}{space}{source[end.end('space') :]}"


def with_value(source: str, name: str, value: str) -> str:
    """Return an entry whose field has another value, as TeX; as it is if the value is put together of parts."""
    found = re.search(rf"(?im)(?:[,{{(]|^)\s*{re.escape(name)}\s*=\s*", source)
    if not found:
        return source
    start, depth, end = found.end(), 0, found.end()
    opening = source[start : start + 1]
    while end < len(source):
        sign = source[end]
        if not depth and sign in ",})" and (end > start or opening not in '{"'):
            break
        if sign == "\\":
            end += 1
        depth += (sign == "{") - (sign == "}")
        end += 1
        if not depth and end - 1 > start and (sign == "}" if opening == "{" else sign == opening == '"'):
            break
    end = start + len(source[start:end].rstrip())
    is_part = source[end:].lstrip().startswith("#")
    return source if is_part else f"{source[:start]}{{{value}}}{source[end:]}"


def keyed(source: str, key: str) -> str:
    """Return an entry under another key."""
    return re.sub(r"\A(@\w+\s*[{(]\s*)[^\s,={}()]*", lambda found: found[1] + key, source, count=1)


def with_keys(source: str, keys: Iterable[str]) -> str:
    """Return an entry that has other keys, too, in its field `ids`."""
    listed = ", ".join(keys)
    source, count = re.subn(r"(?i)([,\s]ids\s*=\s*[{\"])(?=[^{}\"]*[}\"])", rf"\g<1>{listed}, ", source, count=1)
    return source if count else with_fields(source, {"ids": listed})


def written(book: Bibliography) -> dict[str, Written]:
    """Return the entries of a bibliography as they are written, by key, in their order; of two of one key the first."""
    found: dict[str, Written] = {}
    for part in book.written():
        if part.entry and part.entry.key:
            found.setdefault(part.entry.key, part)
    return found


def replaced(text: str, parts: Mapping[str, Written], sources: Mapping[str, str]) -> str:
    """Return a file in which some entries are written otherwise; an empty text takes one away.

    Args:
        text: The file.
        parts: Its entries as they are written, by key, in their order.
        sources: The new texts, by key.

    Raises:
        MisuseError: An entry can't be found as it is written.
    """
    end = "\r\n" if "\r\n" in text else "\n"
    made, at = list[str](), 0
    line, seen = 1, 0
    for key, part in parts.items():
        if key not in sources:
            continue
        # From the line where the entry begins.
        while line < part.place.line:
            seen = text.index("\n", seen) + 1
            line += 1
        start = text.find(part.source, max(seen, at))
        if start < 0:
            hint = "change it by hand, or choose --skip or --keep-both"
            raise MisuseError(part.place, f"the entry `{key}` can't be changed as it is written", hint)
        stop = start + len(part.source)
        if not sources[key]:
            stop = re.compile(r"[ \t]*(?:\r?\n)*").match(text, stop).end()  # type: ignore[union-attr]
        made += [text[at:start], sources[key].replace("\r\n", "\n").replace("\n", end)]
        at = stop
    return "".join([*made, text[at:]])
