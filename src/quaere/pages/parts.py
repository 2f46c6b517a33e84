"""Splits a long list into parts, so that no page holds more than can be read.

The first part stands on the page of the list, and each other on a page of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeVar

from quaere.pages.summary import Summary

PAPERS, QUESTIONS, LINES = 60, 400, 300
"""How many papers, questions, and papers of groups stand on a page."""

Group = tuple[str, tuple[Summary, ...]]
"""A name and papers that have it; a large group goes on in the next part."""

_T = TypeVar("_T")
_Name = TypeVar("_Name", bound=Hashable)


def split(items: Iterable[_T], most: int, size: Callable[[_T], int] = lambda _: 1) -> tuple[tuple[_T, ...], ...]:
    """Split items into parts up to a size, or of one item that is larger; without any there is one empty part."""
    parts: list[tuple[_T, ...]] = []
    part: list[_T] = []
    held = 0
    for one in items:
        if part and held + size(one) > most:
            parts.append(tuple(part))
            part, held = [], 0
        part.append(one)
        held += size(one)
    return (*parts, tuple(part))


def split_groups(groups: Mapping[_Name, tuple[_T, ...]]) -> tuple[tuple[tuple[_Name, tuple[_T, ...]], ...], ...]:
    """Split groups of papers into parts."""
    pieces = [
        (name, papers[start : start + LINES])
        for name, papers in groups.items()
        for start in range(0, len(papers), LINES)
    ]
    return split(pieces, LINES, lambda piece: len(piece[1]))
