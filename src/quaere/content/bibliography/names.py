"""Parse names in the formats of BibTeX and BibLaTeX."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from quaere.content.bibliography.reference import OTHERS, Name

_EXTENDED = re.compile(r"(?i)^\s*\"?\s*(given|family|prefix|suffix|useprefix|[\w-]+-i)\s*=")
_NAME_PARTS = ("family", "given", "prefix", "suffix")
# Without a point, Jun and Sen are people's names.
_SUFFIX = re.compile(r"(?i:(?:jr|sr)\.?|(?:jun|sen)\.)|I{2,3}|IV|VI{1,3}|\d(st|nd|rd|th)")
# Databases write initials without points: Lenin, VI.
_INITIALS = re.compile(r"[IV]+")
_APOSTROPHES = "'’ʼ‘‐-"

Read = Callable[[str], str]


class NameFormError(ValueError):
    """A name that can't be parsed; the message says why."""


def read(written: str, show: Read, *, keeps_prefix: bool = False) -> tuple[Name, ...]:
    """Read a list of names, joined by `and`.

    Args:
        written: The list, as TeX.
        show: Makes Unicode text of TeX.
        keeps_prefix: Whether particles belong to the family name, as BibLaTeX's option `useprefix` says.

    Raises:
        NameFormError: A name can't be read.
    """
    found = []
    for one in split(written, AND):
        try:
            found += [_name(one, show, keeps_prefix)] if one.strip(" ,~") else []
        except NameFormError as error:
            raise NameFormError(f"the name `{one}` can't be read: {error}") from None
    return tuple(found)


AND, _COMMA, _SEMICOLON, _SPACE = (
    re.compile(rf"\\.|[{{}}]|(?P<here>{separator})", re.DOTALL | re.IGNORECASE)
    for separator in (r"(?<!\S)and(?!\S)", ",", r";(?:\s|$)", r"(?:~|\s)+")
)


def split(text: str, separator: re.Pattern[str]) -> list[str]:
    """Split a text at separators outside of all braces."""
    parts, depth, start = [], 0, 0
    for match in separator.finditer(text):
        if match[0] == "{":
            depth += 1
        elif match[0] == "}":
            depth -= 1
        elif match["here"] and depth == 0:
            parts.append(text[start : match.start()].strip())
            start = match.end()
    return [*parts, text[start:].strip()]


def _name(written: str, show: Read, keeps_prefix: bool) -> Name:
    if re.fullmatch(r"\{*\s*(others|et\s*~?\s*al\.?)\s*\}*", written, re.IGNORECASE):
        return OTHERS
    if _is_braced(written):
        return Name(show(written), is_literal=True)
    if _EXTENDED.match(written):
        return _extended(written, show, keeps_prefix)
    # DBLP numbers people of one name: Jones 0001.
    written = re.sub(r"(?<=\S)[\s~]+\d{4}$", "", written)
    parts = [part for part in split(written, _COMMA) if part.strip("~ ")]
    if len(split(written, _SEMICOLON)) > 1:
        raise NameFormError("semicolons don't separate names")
    if len(parts) > 3:
        raise NameFormError("too many commas")
    if not parts:
        return Name(show(written), is_literal=True)
    words = _words(parts[0])
    is_suffixed = len(parts) == 2 and _SUFFIX.fullmatch(parts[1])
    if len(parts) == 1 or (is_suffixed and not (len(words) == 1 and _INITIALS.fullmatch(parts[1]))):
        words, suffix = _without_suffix(words)
        suffix = parts[1:] or suffix
        parts = parts[:1]
        first = next((n for n, word in enumerate(words) if _is_lower(word, show)), len(words) - 1)
        given, last = words[:first], words[first:]
    else:
        last, suffix = _without_suffix(words)
        given = _words(parts[-1])
        if len(parts) == 3:
            suffix = [parts[1]]
            if _SUFFIX.fullmatch(parts[2]) and not _SUFFIX.fullmatch(parts[1]):
                given, suffix = _words(parts[1]), [parts[2]]
    count = next((n for n, word in enumerate(last) if not _is_lower(word, show)), len(last) - 1)
    particle, family = last[:count], last[count:]
    if len(parts) > 1 and not particle:
        given, particle = _particle_behind(given, show)
    return _made(family, given, particle, suffix, show, keeps_prefix)


def _made(
    family: Sequence[str], given: Sequence[str], particle: Sequence[str], suffix: Sequence[str], show: Read, keeps: bool
) -> Name:
    shown = [show(" ".join(words)) for words in (family, given, particle, suffix)]
    # TeX's tie between two words is for its lines, not for ours.
    name, first, before, after = (one.replace("\u00a0", " ") for one in shown)
    attached, name = _attached(name)
    dropping, non_dropping = ("", f"{before} {attached}".strip()) if keeps else (before, attached)
    return Name(name, first, after, dropping, non_dropping)


def _extended(written: str, show: Read, keeps_prefix: bool) -> Name:
    """Read BibLaTeX's format `family=…, given=…, prefix=…`; each value may be in quotes or braces."""
    parts: dict[str, str] = {}
    for part in split(written.strip().strip('"'), _COMMA):
        key, equals, value = part.strip().strip('"').partition("=")
        if not equals:
            raise NameFormError(f"`{part}` has no `=`")
        parts[key.strip().lower()] = value.strip().strip('"')
    if not parts.get("family") and not parts.get("given"):
        raise NameFormError("it has no `family=`")
    keeps = parts.get("useprefix", str(keeps_prefix)).lower() == "true"
    if not parts.get("family"):
        return Name(show(parts["given"]))
    family, given, prefix, suffix = ([parts[key]] if parts.get(key) else [] for key in _NAME_PARTS)
    return _made(family, given, prefix, suffix, show, keeps)


def _is_braced(text: str) -> bool:
    """Tell whether one pair of braces encloses all of a text, which is then a literal name."""
    if not (text.startswith("{") and text.endswith("}")):
        return False
    depth = 0
    for match in re.finditer(r"\\.|[{}]", text, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return match.end() == len(text)
    return False


def _words(text: str) -> list[str]:
    return [word for word in split(text, _SPACE) if word]


def _without_suffix(words: list[str]) -> tuple[list[str], list[str]]:
    if len(words) > 1 and _SUFFIX.fullmatch(words[-1]):
        return words[:-1], words[-1:]
    return words, []


def _is_lower(word: str, show: Read) -> bool:
    """Tell whether a word begins with a lower-case letter; a word in braces does not."""
    if word.startswith("{") and not word.startswith("{\\"):
        return False
    # What stands in parentheses is a remark, such as (ed.).
    letter = next((one for one in show(word) if one.isalpha() or one == "("), "")
    return letter.islower()


def _particle_behind(given: list[str], show: Read) -> tuple[list[str], list[str]]:
    """Take particles off the end of given names, as in "Beethoven, Ludwig van"."""
    count = len(given)
    while count > 0 and _is_lower(given[count - 1], show):
        count -= 1
    return (given[:count], given[count:]) if count else (given, [])


def _attached(family: str) -> tuple[str, str]:
    """Take a particle off the front of a family name: d’Alembert, al-Hasan, or what stood in braces with it."""
    if found := re.match(rf"([^\W\d_]{{1,4}}[{_APOSTROPHES}])(?=[^\W\d_])", family):
        before, after = found[1], family[found.end() :]
        if before[:-1].islower() and after[0].isupper():
            return before, after
    words = family.split(" ")
    count = next((n for n, word in enumerate(words) if not word[:1].islower()), 0)
    return " ".join(words[:count]), " ".join(words[count:])
