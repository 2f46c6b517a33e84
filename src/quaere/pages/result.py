"""What experiments found, on pages: claims with what was reported and what was measured, tables and figures."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from quaere.content.model import Claim, Module, Paper
from quaere.content.results import Figure, Finding, Outcome, Result, Table, cell
from quaere.pages import figures, text
from quaere.pages.view import EXPERIMENTS, Page, View, card_path, stamp

_COUNTED = (Outcome.YES, Outcome.PARTLY, Outcome.NO, Outcome.NOT_TRIED)
_BENCHMARKS = "benchmarks"


def drawings(view: View) -> dict[str, str | bytes]:
    """Draw the figures of all results, by the paths where pages look for them."""
    shown = {**view.library.results, **({_BENCHMARKS: view.library.benchmarks} if view.library.benchmarks else {})}
    return {
        _drawing(slug, figure, ground): figures.draw(figure.model_dump_json(), ground).encode()
        for slug, result in shown.items()
        for figure in result.figures
        for ground in ("light", "dark")
    }


def _drawing(slug: str, figure: Figure, ground: str) -> str:
    return f"assets/results/{slug}-{figure.id}-{ground}.svg"


def claims(page: Page, paper: Paper) -> list[str]:
    """Tabulate what the paper says, what it reports for it, and what came out here."""
    result = page.view.library.results.get(paper.slug)
    found = {finding.claim: finding for finding in result.findings} if result else {}
    is_stale = result is not None and page.view.library.is_stale(paper.slug)
    # What was tried comes first.
    claims = sorted(paper.card.claims, key=lambda claim: not _is_tried(found.get(claim.id)))
    rows = [_claim(page, paper, claim, found.get(claim.id), is_stale) for claim in claims]
    table = ["| The paper says | Reported | Measured here |", "| --- | --- | --- |", *rows]
    return ['<div class="q-claims" markdown="1">\n\n' + "\n".join(table) + "\n\n</div>"] if rows else []


def _is_tried(finding: Finding | None) -> bool:
    return finding is not None and finding.outcome is not Outcome.NOT_TRIED


def _claim(page: Page, paper: Paper, claim: Claim, finding: Finding | None, is_stale: bool) -> str:
    where = f'<span class="q-quiet">{page.inline(claim.where)}</span>'
    said = f'<span id="{claim.id}_claim"></span>{page.inline(claim.says)}<br>{where}'
    return f"| {said} | {page.inline(claim.reported)} | {_measured(page, paper, finding, is_stale)} |"


def _measured(page: Page, paper: Paper, finding: Finding | None, is_stale: bool) -> str:
    """Write the outcome, what was measured, and by which rule it follows."""
    if finding is None:
        has_experiment = paper.slug in page.view.library.experiments
        why = "its experiment has not been run" if has_experiment else "there is no experiment of this paper"
        if paper.slug in page.view.library.results:
            why = "the claim is newer than the last run"
        finding = Finding(claim="none", outcome=Outcome.NOT_TRIED, why=why)
    parts = [
        outcome(finding.outcome) + (f" {_stale()}" if is_stale and _is_tried(finding) else ""),
        page.inline(finding.measured) if finding.measured else "",
        f'<span class="q-quiet">{page.inline(finding.why)}</span>',
    ]
    return "<br>".join(part for part in parts if part)


def outcome(value: Outcome, words: str = "") -> str:
    """Show what became of a claim."""
    return f'<span class="q-badge" data-state="{text.anchor(value)}">{html.escape(words or value)}</span>'


def _stale() -> str:
    return '<span class="q-badge" data-state="unverified">stale: the code has changed since</span>'


def experiment(page: Page, paper: Paper) -> list[str]:
    """Show a paper's experiment: how to run it, where the result comes from, its tables and figures."""
    module, result = page.view.library.experiments.get(paper.slug), page.view.library.results.get(paper.slug)
    if module is None:
        return []
    parts = [
        f"{page.inline(module.summary)} Its code: {page.module(module)}.",
        text.fence(
            "sh", f"quaere run {paper.slug} --size {result.size if result else 'small'}\nquaere notebook {paper.slug}"
        ),
    ]
    if result is None:
        return [*parts, "It has not been run at a size that says anything."]
    stale = f" {_stale()}" if page.view.library.is_stale(paper.slug) else ""
    return [*parts, f"{_stamp(page.view, result)}{stale}\n{{ .q-status }}", *show(page, paper.slug, result)]


def _stamp(view: View, result: Result) -> str:
    """Write what a result comes from."""
    seeds = f"seed{'s' * (len(result.seeds) != 1)} {', '.join(map(str, result.seeds))}" if result.seeds else ""
    known = [text.escape(f"size {result.size}"), seeds, text.escape(result.device)]
    return stamp(view, result.at, result.seconds or 0.0, result.commit, result.versions, known)


def show(page: Page, name: str, result: Result) -> list[str]:
    """Show a result's notes, figures and tables."""
    return [
        *([page.block(result.notes)] if result.notes else []),
        *(_figure(page, name, figure) for figure in result.figures),
        *(_table(page, table) for table in result.tables),
        *_settings(page, result.settings),
    ]


def _settings(page: Page, settings: Mapping[str, Any]) -> list[str]:
    """Tabulate what was run, folded away: how wide, how long, at which rates."""
    if not settings:
        return []
    rows = [f"| {page.inline(name)} | {page.inline(value)} |" for name, value in _flat(settings)]
    table = "\n".join(["| Setting | Value |", "| --- | --- |", *rows])
    return [f'<details class="q-settings" markdown="1"><summary>Settings</summary>\n\n{table}\n\n</details>']


def _flat(settings: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield names and values, a group's name before the names within it."""
    if isinstance(settings, Mapping):
        for part, value in settings.items():
            yield from _flat(value, f"{name}, {part}" if name else part)
    else:
        values = settings if isinstance(settings, Sequence) and not isinstance(settings, str) else [settings]
        yield name.replace("_", " "), ", ".join(map(_value, values)) or "none"


def _figure(page: Page, name: str, figure: Figure) -> str:
    """Write a figure for light and dark pages; the theme shows the one that fits."""
    images = _images(page, name, figure)
    caption = f"**{page.inline(figure.title)}.** {page.inline(figure.caption)}"
    return (
        f'<figure class="q-figure" id="{figure.id}_figure" markdown="1">\n\n{images}\n\n'
        f'<figcaption markdown="span">{caption}</figcaption>\n\n</figure>'
    )


def _images(page: Page, name: str, figure: Figure) -> str:
    alt = text.escape(figure.alt)
    return "\n".join(
        f"![{alt}]({page.to(_drawing(name, figure, ground))}#only-{ground}){{ loading=lazy }}"
        for ground in ("light", "dark")
    )


def _table(page: Page, table: Table) -> str:
    head = [page.inline(column) for column in table.columns]
    rows = [head, ["---"] * len(head), *([_cell(page, value) for value in row] for row in table.rows)]
    written = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    note = f"\n\n{page.inline(table.note)}\n{{ .q-quiet }}" if table.note else ""
    # A remark gets room, and the table is scrolled sideways; otherwise it makes its row as tall as the page.
    wide = " q-wide" if any(isinstance(row[-1], str) and len(row[-1]) > 100 for row in table.rows) else ""
    return f'<div class="q-table{wide}" markdown="1">\n\n**{page.inline(table.title)}**\n\n{written}{note}\n\n</div>'


def _value(value: Any) -> str:
    return cell(value) if value is None or isinstance(value, float) else str(value)


def _cell(page: Page, value: float | str | None) -> str:
    return page.inline(value) if isinstance(value, str) else cell(value)


def overview(view: View) -> str:
    """Write the page of all experiments: what became of each paper's claims."""
    page = Page(view, EXPERIMENTS)
    tried = [paper for paper in view.papers if paper.slug in view.library.experiments]
    counts = counted(view, (paper.slug for paper in tried))
    parts = [
        "---\nhide: [navigation]\n---\n\n# Experiments",
        "Each experiment puts a paper's claims to the test, at a size that the machine it ran on could carry. What did "
        "not come out as the paper says is shown as such.",
        " ".join(outcome(one, f"{counts[one]} {one}") for one in _COUNTED if counts[one]),
        '<div class="q-cards q-experiments" markdown="1">',
        *(_tile(page, paper, view.library.experiments[paper.slug]) for paper in tried),
        "</div>",
    ]
    return "\n\n".join(parts if tried else [*parts[:2], "There is no experiment yet."]) + "\n"


def counted(view: View, slugs: Iterable[str]) -> Mapping[Outcome, int]:
    """Count the findings on some papers by what became of the claims."""
    found = [
        finding.outcome
        for slug in slugs
        if slug in view.library.results
        for finding in view.library.results[slug].findings
    ]
    return {one: found.count(one) for one in _COUNTED}


def _tile(page: Page, paper: Paper, module: Module) -> str:
    """Show an experiment in short: its first figure, and what became of the claims."""
    result = page.view.library.results.get(paper.slug)
    counts = counted(page.view, [paper.slug])
    link = f"{page.to(card_path(paper.slug))}#experiment_"
    lines = [
        '<div class="q-card" markdown="1">',
        f"## [{text.escape(paper.reference.title)}]({link}) {{ #{paper.slug} }}",
        page.inline(module.summary),
        _images(page, paper.slug, result.figures[0]) if result and result.figures else "",
        " ".join(outcome(one, f"{counts[one]} {one}") for one in _COUNTED if counts[one]) or "not run yet",
        "</div>",
    ]
    return "\n\n".join(line for line in lines if line)


def benchmarks(page: Page) -> str:
    """Show how fast the implementation is, for a page written by hand."""
    result = page.view.library.benchmarks
    if result is None:
        return "No benchmark has been run yet."
    stale = f" {_stale()}" if page.view.library.is_speed_stale else ""
    return "\n\n".join([f"{_stamp(page.view, result)}{stale}\n{{ .q-status }}", *show(page, _BENCHMARKS, result)])
