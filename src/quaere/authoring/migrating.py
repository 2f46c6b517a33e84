"""Lift cards to today's version of their form."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from quaere.authoring import edit
from quaere.authoring.changes import Change, Changes
from quaere.content.model import VERSION, Library, Paper

Step = Callable[[Library, Paper, str], str]
"""Returns the text of a card's file in the next version."""


def migrate(library: Library) -> Changes:
    """Lift all cards to today's version, one version after another; comments and all else stay."""
    changes = []
    for paper in library.papers.values():
        text = paper.source
        for version in range(paper.card.version, VERSION):
            text = STEPS[version](library, paper, text)
            text = _with_version(text, version + 1, paper.file)
        changes.append(Change(paper.file, paper.source, text))
    made = Changes.of("", changes)
    count = len(made.files)
    cards = "1 card" if count == 1 else f"{count:,} cards"
    said = f"lifted {cards} to version {VERSION}" if count else f"all cards are of version {VERSION} already"
    return Changes(said, made.files)


def _with_version(text: str, version: int, file: str) -> str:
    if "schema" in edit.fields(text):
        return edit.put(text, ("schema",), version, file)
    return edit.put_first(text, "schema", version, file)


def _without_needless_implementation(library: Library, paper: Paper, text: str) -> str:
    """Lift a card from version 1 to 2, in which one without a module need not say so.

    Where a module is called like the card, or a comment says something, the key stays.
    """
    is_written = paper.card.implementation is None and "implementation" in edit.fields(text)
    has_namesake = any(module.name.partition(".")[2] == paper.slug for module in library.modules)
    if not is_written or has_namesake:
        return text
    line = text.split("\n")[paper.place("implementation").line - 1]
    return text if "#" in line else edit.remove(text, ("implementation",), paper.file)


STEPS: Mapping[int, Step] = {1: _without_needless_implementation}
"""The step from each version to the next."""
