"""Where in which paper something stands, as docstrings tell it: `Source: Section 3.3, Eq. 2`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_KINDS = {
    kind: name
    for name, kinds in {
        "Section": "Section Sections Sec. Secs. § §§ Chapter Chapters",
        "Appendix": "Appendix Appendices App.",
        "Eq.": "Eq. Eqs. Equation Equations",
        "Algorithm": "Algorithm Algorithms Alg.",
        "Lemma": "Lemma Lemmas",
        "Theorem": "Theorem Theorems Proposition Propositions",
        "Table": "Table Tables Tab.",
        "Figure": "Figure Figures Fig. Figs.",
    }.items()
    for kind in kinds.split()
}
_ORDER = list(dict.fromkeys(_KINDS.values()))
_NUMBER = r"(?:[A-Z]\b(?:\.\d+)*|\d+(?:\.\d+)*)"
_NAMED = "|".join(re.escape(kind) for kind in sorted(_KINDS, key=len, reverse=True))
_NAME = r"[^\W\d_a-z][\w'’-]+"
_LONGEST = 2_000
_TOLD = re.compile(
    rf"(?P<work>{_NAME}(?:(?:, |,? and | & ){_NAME})*(?: et al\.?)?,? \(?(?:19|20)\d\d[a-z]?\)?)"
    rf"|(?P<kind>{_NAMED})\s?(?P<numbers>{_NUMBER}(?:(?:, and |, | and |-|–| to ){_NUMBER})*)"
    r"|(?P<end>;|, which\b)"
)


@dataclass(frozen=True)
class Named:
    """A part of a paper: the paper, `Section 3.3`, and what is named with it, `Eq. 2`."""

    work: str
    kind: str
    number: str
    besides: tuple[str, ...] = ()

    @property
    def order(self) -> tuple[int, list[tuple[int, str]]]:
        """Where the part stands in its paper, as far as its number tells."""
        first = re.split(r"[-–\s]", self.number)[0]
        numbers = [(int(part), "") if part.isdecimal() else (0, part) for part in first.split(".")]
        return _ORDER.index(self.kind), numbers


def work_of(text: str) -> str:
    """Return the first paper that a text names by its authors and year; empty if it names none."""
    return next((found["work"] for found in _TOLD.finditer(text[:_LONGEST]) if found["work"]), "")


def named(text: str, work: str) -> list[Named]:
    """Return the sections that a text names; where it names none, its equations, tables and figures.

    Args:
        text: What stands behind `Source:`.
        work: The paper that is meant where the text names none.
    """
    text = text[:_LONGEST]
    clauses: list[tuple[str, list[tuple[str, str]]]] = [(work, [])]
    for found in _TOLD.finditer(text):
        if found["work"]:
            clauses.append((found["work"], []))
        elif found["end"]:
            clauses.append((work, []))
        else:
            kind = _KINDS[found["kind"]]
            numbers = re.split(r", and |, | and ", found["numbers"])
            clauses[-1][1].extend((kind, number) for number in numbers)
    return [one for of, parts in clauses for one in _of_clause(of, parts)]


def _of_clause(work: str, parts: list[tuple[str, str]]) -> Iterable[Named]:
    is_section = [kind in ("Section", "Appendix") for kind, _ in parts]
    if not any(is_section):
        return [Named(work, *part) for part in parts]
    groups: list[tuple[tuple[str, str], list[str]]] = []
    before: list[str] = []
    for part, begins in zip(parts, is_section, strict=True):
        if begins:
            groups.append((part, before))
            before = []
        else:
            (groups[-1][1] if groups else before).append(" ".join(part))
    return [Named(work, *part, tuple(besides)) for part, besides in groups]
