"""Papers that are like another: they share tags with it, or build on the same papers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest

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
    by_tag, by_parent = ({name: _near(group, slug) for name, group in groups.items()} for groups in (tags, parents))
    scores: dict[str, float] = {}
    for near, groups, weight in ((by_tag, tags, 1.0), (by_parent, parents, 2.0)):
        for name, some in near.items():
            share = weight / len(groups[name])
            for one in some:
                scores[one] = scores.get(one, 0.0) + share
    for one in (slug, *besides):
        scores.pop(one, None)
    # Sums of fractions differ by their order: what is equal must stay so.
    rounded = {one: round(score, 9) for one, score in scores.items()}
    best = nlargest(MOST, rounded, rounded.__getitem__)
    return [Related(one, _with(by_tag, one), _with(by_parent, one)) for one in best]


def _with(near: Mapping[str, Sequence[str]], slug: str) -> tuple[str, ...]:
    return tuple(name for name, some in near.items() if slug in some)


def _near(group: Sequence[str], slug: str) -> Sequence[str]:
    if len(group) <= 2 * _NEAR:
        return group
    start = max(0, min(group.index(slug) - _NEAR, len(group) - 2 * _NEAR))
    return group[start : start + 2 * _NEAR]
