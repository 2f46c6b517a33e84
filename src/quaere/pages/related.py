"""Papers that are like another: they share tags with it, or build on the same papers."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from quaere.pages.summary import Summary

MOST = 6
_NEAR = 40
"""Of a group with many papers, so many of those before and after in time are looked at."""


def related(
    paper: Summary,
    order: Mapping[str, int],
    tags: Mapping[str, Sequence[Summary]],
    built_on: Mapping[str, Sequence[Summary]],
) -> list[tuple[Summary, tuple[str, ...], tuple[str, ...]]]:
    """Return the most related papers, besides those that a paper builds on and those that build on it.

    A tag that both have counts one over the number of papers that have it, a paper that both build on twice one over
    the number of those that do: what few share says more.

    Args:
        paper: The paper.
        order: The place of each paper, by which the groups are sorted.
        tags: The papers of each tag.
        built_on: The papers that build on each.

    Returns:
        At most `MOST` papers, each with the tags and the slugs of the papers that both share.
    """
    lineage = {paper.slug, *paper.builds_on, *(one.slug for one in built_on.get(paper.slug, ()))}
    scores: dict[str, float] = {}
    shared: dict[str, tuple[list[str], list[str]]] = {}
    found: dict[str, Summary] = {}
    groups = [(0, name, tags[name], 1.0) for name in dict.fromkeys(paper.tags)]
    groups += [(1, name, built_on[name], 2.0) for name in dict.fromkeys(paper.builds_on)]
    for kind, name, group, weight in groups:
        for one in _near(group, paper, order):
            if one.slug not in lineage:
                found[one.slug] = one
                scores[one.slug] = scores.get(one.slug, 0.0) + weight / len(group)
                shared.setdefault(one.slug, ([], []))[kind].append(name)
    # Sums of fractions differ by their order: what is equal must stay so.
    best = sorted(scores, key=lambda slug: (-round(scores[slug], 9), order[slug]))[:MOST]
    return [(found[slug], tuple(shared[slug][0]), tuple(shared[slug][1])) for slug in best]


def _near(group: Sequence[Summary], paper: Summary, order: Mapping[str, int]) -> Sequence[Summary]:
    if len(group) <= 2 * _NEAR:
        return group
    place = bisect_left(group, order[paper.slug], key=lambda one: order[one.slug])
    start = max(0, min(place - _NEAR, len(group) - 2 * _NEAR))
    return group[start : start + 2 * _NEAR]
