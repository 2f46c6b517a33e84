"""Write names as BibTeX reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from quaere.authoring.entries import value_of
from quaere.content.bibliography.reference import OTHERS, Name

# A word that no reader of names takes for anything but a part of a name.
_PLAIN = re.compile(r"(?!(?:[IVX]+|\d\w*|[Jj]r|[Ss]r|[Jj]un|[Ss]en|[Aa]nd|others)\.?$)[^\W\d_a-zß-öø-ÿ][^,;=~{}()]*")


def people(names: Iterable[Name]) -> str:
    """Return names as the value of a field."""
    return " and ".join(written for name in names if (written := _name(name)))


def _name(name: Name) -> str:
    if name is OTHERS:
        return "others"
    if not name.is_literal and not name.given and _PLAIN.fullmatch(name.surname) and " " not in name.surname:
        return value_of("", name.surname)
    if name.is_literal or not name.given:
        return f"{{{value_of('', name.surname)}}}" if name.surname.strip() else ""
    # In braces, a particle goes with the name; before them, it does not.
    family = _part(f"{name.non_dropping} {name.family}".strip() if not _is_attached(name) else name.surname)
    before = name.dropping if not _is_attached(name) else ""
    if before and not all(word[:1].islower() for word in before.split()):
        family, before = _part(name.surname), ""
    last = f"{value_of('', before)} {family}" if before else family
    return ", ".join(filter(None, (last, _part(name.suffix), _part(name.given))))


def _is_attached(name: Name) -> bool:
    return name.non_dropping.endswith(("'", "’", "ʼ", "-", "‐"))


def _part(text: str) -> str:
    """Return a part of a name, in braces where a reader could take it for something else."""
    written = value_of("", text)
    is_plain = all(_PLAIN.fullmatch(word) for word in text.split())
    return written if is_plain or not written else f"{{{written}}}"


def read(written: str) -> Name:
    """Read a name in one line: `Family, Given` or `Family, Given, Suffix`; without a comma it is a whole name."""
    parts = [part.strip() for part in written.split(",")]
    if len(parts) == 1 or not any(parts[1:]):
        return Name(parts[0], is_literal=True)
    return Name(parts[0], parts[1], ", ".join(filter(None, parts[2:])))
