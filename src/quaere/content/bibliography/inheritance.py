"""What an entry inherits from another that it names: BibLaTeX's rules, and BibTeX's where it has none.

BibLaTeX manual, section 2.4.1 and appendix B.
"""

from __future__ import annotations

from collections.abc import Mapping

from quaere.content.bibliography.kinds import SETS, WHOLES

# What is a matter of the parent's own.
_OWN = frozenset(
    """
    abstract annotation annote crossref entryset entrysubtype execute file ids key label options presort related
    relatedoptions relatedstring relatedtype shortauthor shorteditor shorthand shorthandintro sortkey sortname
    sortshorthand sorttitle sortyear xdata xref
    """.split()  # noqa: SIM905  (a list of quoted words would take a screen)
)
_OF_A_TITLE = frozenset({"shorttitle", "sorttitle", "indextitle", "indexsorttitle", "shortjournal"})
_DATES = frozenset({"date", "year", "month", "day"})

_PARTS_OF_A_BOOK = frozenset({"inbook", "bookinbook", "suppbook"})
_PARTS_OF_A_COLLECTION = frozenset({"incollection", "inreference", "suppcollection"})
_PAPERS = frozenset({"inproceedings", "conference"})
_PARTS = _PARTS_OF_A_BOOK | _PARTS_OF_A_COLLECTION | _PAPERS
_ARTICLES = frozenset({"article", "suppperiodical"})


def inherited(kind: str, fields: Mapping[str, str], parent_kind: str, parent: Mapping[str, str]) -> dict[str, str]:
    """Return the fields of an entry with those that it inherits by `crossref`.

    Args:
        kind: The entry's type.
        fields: Its fields.
        parent_kind: The type of the entry that it names.
        parent: The fields of that entry, with what it inherits itself.
    """
    target = _target(kind, parent_kind)
    found: dict[str, str] = {}
    for name, value in parent.items():
        if name in _OWN or (target and name in _OF_A_TITLE):
            continue
        renamed = name
        if target and name in ("title", "subtitle", "titleaddon"):
            renamed = target + name
            # A parent made for BibTeX says by itself under which title its parts are cited.
            if parent.get(renamed):
                continue
        found[renamed] = value
    if kind in _PARTS_OF_A_BOOK and parent_kind in ("book", "mvbook") and parent.get("author"):
        found.setdefault("bookauthor", parent["author"])
    return added(fields, found)


def added(fields: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """Return fields with more of them, where they are not there yet; a date goes as a whole."""
    has_date = any(fields.get(name) for name in _DATES)
    own = {name: value for name, value in fields.items() if value}
    new = {name: value for name, value in more.items() if not (has_date and name in _DATES)}
    return {**fields, **new, **own}


def _target(kind: str, parent: str) -> str:
    """Return what the parent's title is to an entry: the start of the field's name; empty where it stays a title."""
    if parent == "periodical" and kind in _ARTICLES:
        return "journal"
    if parent in SETS and kind in WHOLES | _PARTS | SETS:
        return "main"
    return "book" if parent in WHOLES and kind in _PARTS else ""
