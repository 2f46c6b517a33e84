"""The results of experiments for the templates: findings, settings, drawings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from quaere.content.model import Paper
from quaere.content.results import Outcome, Table, cell
from quaere.errors import Place, ResultError
from quaere.pages import claims, figures
from quaere.pages.output import Output
from quaere.pages.view import View, drawing

BENCHMARKS = "benchmarks"
"""The name of the benchmarks' drawings."""

_WIDE = 100


def outputs(view: View) -> Iterator[Output]:
    """Yield the drawings of the figures of all results, by the paths where pages look for them."""
    library = view.library
    shown = {result.stem: (library.result_file(result), result) for each in library.results.values() for result in each}
    if library.benchmarks:
        shown[BENCHMARKS] = (library.settings.benchmarks, library.benchmarks)
    for name, (file, result) in shown.items():
        for index, figure in enumerate(result.figures):
            for ground in ("light", "dark"):
                place = Place(file, at=f"$.figures[{index}]")
                yield Output(drawing(name, figure, ground), partial(_drawn, figure.model_dump_json(), ground, place))


def _drawn(told: str, ground: str, place: Place, view: View) -> str:
    """Draw a figure.

    Raises:
        ResultError: It can't be drawn.
    """
    try:
        source = b"\0".join((figures.recipe(), ground.encode(), told.encode()))
        return view.kept(source, partial(figures.draw, told, ground))
    except Exception as error:
        # Of what draws, for numbers and pictures that make no figure.
        problem = f"this figure can't be drawn: {error or type(error).__name__}"
        raise ResultError(place, problem, "run it again") from error


def of_paper(view: View, paper: Paper) -> dict[str, Any]:
    """Return the outcomes of a paper's claims, and its experiment with the results, the largest first."""
    library = view.library
    return {
        "claims": claims.judged(library, paper),
        "experiment": library.experiments.get(paper.slug),
        "results": [(result, library.is_stale(paper.slug, result)) for result in library.results.get(paper.slug, ())],
    }


def counted(view: View, slugs: Iterable[str]) -> dict[Outcome, int]:
    """Count the claims of some papers by outcome; outcomes without claims are left out."""
    library = view.library
    return claims.by_outcome(one for slug in slugs for one in claims.judged(library, library.papers[slug]))


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
