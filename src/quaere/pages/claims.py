"""The claims of a card with what was found of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from quaere.content.model import Claim, Library, Paper
from quaere.content.results import Finding, Outcome, Result
from quaere.pages import dots


@dataclass(frozen=True)
class Judged:
    """A claim of a card with the finding on it, and the result that the finding is from, if there is one."""

    claim: Claim
    finding: Finding
    result: Result | None
    is_stale: bool

    @property
    def plots(self) -> list[dots.Plot]:
        """What was measured, as plots."""
        return [dots.plot(quantity) for quantity in self.finding.quantities]


def judged(library: Library, paper: Paper) -> list[Judged]:
    """Return the claims of a paper with their findings: verdicts come first, then what was measured without one."""
    found = library.findings(paper.slug)
    nothing = _unjudged(Outcome.NO_EXPERIMENT, "an experiment of this paper")
    if paper.slug in library.experiments:
        needed = "a new run: the claim is newer than the last one" if found else "a run of its experiment"
        nothing = _unjudged(Outcome.NO_VERDICT, needed)
    claims = []
    for claim in paper.card.claims:
        finding, result = found.get(claim.id, (nothing, None))
        is_stale = result is not None and finding.outcome.is_verdict and library.is_stale(paper.slug, result)
        claims.append(Judged(claim, finding, result, is_stale))
    ranks = {Outcome.NO_VERDICT: 1, Outcome.NO_EXPERIMENT: 2}
    return sorted(claims, key=lambda one: ranks.get(one.finding.outcome, 0))


@cache
def _unjudged(outcome: Outcome, needed: str) -> Finding:
    return Finding(claim="none", outcome=outcome, needed=needed)


def by_outcome(claims: Iterable[Judged]) -> dict[Outcome, int]:
    """Count claims by outcome; outcomes without claims are left out."""
    found = [one.finding.outcome for one in claims]
    return {outcome: found.count(outcome) for outcome in Outcome if outcome in found}
