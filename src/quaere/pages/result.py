"""The results of experiments for the templates: claims with measured values, provenance, drawings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from quaere.content.model import Claim, Paper
from quaere.content.results import Finding, Outcome, Result, Table, cell
from quaere.errors import Place, ResultError
from quaere.pages import figures
from quaere.pages.view import View, drawing

COUNTED = (Outcome.YES, Outcome.PARTLY, Outcome.NO, Outcome.NOT_TRIED)
"""The outcomes in the order in which pages count them."""

BENCHMARKS = "benchmarks"
"""The name of the benchmarks' drawings."""

_WIDE = 100


def drawings(view: View) -> dict[str, bytes]:
    """Draw the figures of all results, by the paths where pages look for them.

    Raises:
        ResultError: A figure can't be drawn.
    """
    benchmarks = view.library.benchmarks
    shown = {**view.library.results, **({BENCHMARKS: benchmarks} if benchmarks else {})}
    settings, drawn = view.library.settings, {}
    for slug, result in shown.items():
        own = f"{settings.papers}/results/{slug}.json"
        file = settings.benchmarks if result is benchmarks else own
        for index, figure in enumerate(result.figures):
            for ground in ("light", "dark"):
                try:
                    content = figures.draw(figure.model_dump_json(), ground)
                except Exception as error:
                    # Of what draws, for numbers and pictures that make no figure.
                    problem = f"this figure can't be drawn: {error or type(error).__name__}"
                    raise ResultError(Place(file, at=f"$.figures[{index}]"), problem, "run it again") from error
                drawn[drawing(slug, figure, ground)] = content.encode()
    return drawn


def of_paper(view: View, paper: Paper) -> dict[str, Any]:
    """Return the outcomes of a paper's claims, and its experiment with the result."""
    result = view.library.results.get(paper.slug)
    return {
        "claims": list(_claims(view, paper, result)),
        "experiment": view.library.experiments.get(paper.slug),
        "result": result,
        "is_stale": result is not None and view.library.is_stale(paper.slug),
    }


def _claims(view: View, paper: Paper, result: Result | None) -> Iterator[tuple[Claim, Finding]]:
    """Yield the claims with their findings; those that were tried come first."""
    found = {finding.claim: finding for finding in result.findings} if result else {}
    why = "there is no experiment of this paper"
    if paper.slug in view.library.experiments:
        why = "its experiment has not been run"
    if result:
        why = "the claim is newer than the last run"
    nothing = Finding(claim="none", outcome=Outcome.NOT_TRIED, why=why)
    pairs = [(claim, found.get(claim.id, nothing)) for claim in paper.card.claims]
    yield from sorted(pairs, key=lambda pair: pair[1].outcome is Outcome.NOT_TRIED)


def counted(view: View, slugs: Iterable[str]) -> dict[Outcome, int]:
    """Count the findings on some papers by outcome; outcomes without findings are left out."""
    results = [view.library.results[slug] for slug in slugs if slug in view.library.results]
    found = [finding.outcome for result in results for finding in result.findings]
    return {outcome: found.count(outcome) for outcome in COUNTED if outcome in found}


def settings(given: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the names and values of what was run, a group's name before the names within it."""
    if isinstance(given, Mapping):
        for part, value in given.items():
            yield from settings(value, f"{name}, {part}" if name else part)
    else:
        values = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
        yield name.replace("_", " "), ", ".join(map(_value, values)) or "none"


def is_wide(table: Table) -> bool:
    """Tell whether a table's last column has remarks, which need a wide table that scrolls sideways."""
    return any(isinstance(row[-1], str) and len(row[-1]) > _WIDE for row in table.rows)


def _value(value: Any) -> str:
    return cell(value) if value is None or isinstance(value, float) else str(value)
