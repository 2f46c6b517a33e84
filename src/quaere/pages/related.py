"""Papers that are like another: they share tags with it, or build on the same papers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

MOST = 6
_NEAR = 40
"""Of a group with many papers, so many of those before and after in time are looked at."""


@dataclass(frozen=True)
class Related:
    """A related paper by its slug: the tags, and the slugs of the papers, that both share."""

    slug: str
    tags: tuple[str, ...]
    papers: tuple[str, ...]


def related(
    slug: str, tags: Mapping[str, Sequence[str]], parents: Mapping[str, Sequence[str]], besides: Collection[str]
) -> list[Related]:
    """Return the most related papers.

    A tag that both have counts one over the number of papers that have it, a paper that both build on twice one over
    the number of those that do: what few share says more. Of equals, the first in the groups come first.

    Args:
        slug: The paper.
        tags: The papers of each of its tags, the newest first.
        parents: The papers that build on each paper on which it builds, the newest first.
        besides: Papers that are named elsewhere.
    """
    scores: dict[str, float] = {}
    shared: dict[str, tuple[list[str], list[str]]] = {}
    groups = [(0, name, group, 1.0) for name, group in tags.items()]
    groups += [(1, name, group, 2.0) for name, group in parents.items()]
    for kind, name, group, weight in groups:
        for one in _near(group, slug):
            if one != slug and one not in besides:
                scores[one] = scores.get(one, 0.0) + weight / len(group)
                shared.setdefault(one, ([], []))[kind].append(name)
    # Sums of fractions differ by their order: what is equal must stay so.
    best = sorted(scores, key=lambda one: -round(scores[one], 9))[:MOST]
    return [Related(one, *map(tuple, shared[one])) for one in best]


def _near(group: Sequence[str], slug: str) -> Sequence[str]:
    if len(group) <= 2 * _NEAR:
        return group
    start = max(0, min(group.index(slug) - _NEAR, len(group) - 2 * _NEAR))
    return group[start : start + 2 * _NEAR]
