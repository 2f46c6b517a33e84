"""An experiment as a Jupyter notebook: its source, one cell per definition, then the run and its result."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from quaere.pages.notebook import SETUP, book

_RUN = """\
from quaere.running.experiments import Run

run = Run(ROOT / ".quaere" / "runs" / "{slug}-{size}-notebook", size="{size}")
with run.shown():
    report = experiment(run)
"""

_TABLES = """\
from IPython.display import HTML, Markdown, display

from quaere.running.notebook import drawn, tabulated

display(Markdown(tabulated(report)))
"""

_FIGURES = """\
for figure in report.figures:
    display(Markdown(f"**{figure.title}.** {figure.caption}"), HTML(drawn(figure)))
"""


def written(source: str, module: str, size: str) -> str:
    """Write the notebook of an experiment.

    Args:
        source: The code of the experiment's module, which defines `experiment(run)`.
        module: The module's name.
        size: The size that the notebook runs: `smoke`, `small` or `full`.

    Returns:
        The notebook as JSON.
    """
    slug = module.rpartition(".")[2]
    return book(
        [
            ("code", SETUP),
            *_pieces(source),
            ("markdown", f"## Run\n\nThe size is `{size}`; `quaere run --help` lists the others."),
            ("code", _RUN.format(slug=slug, size=size)),
            ("markdown", "## What came out"),
            ("code", _TABLES),
            ("code", _FIGURES),
        ]
    )


def _pieces(source: str) -> Iterator[tuple[str, str]]:
    """Split code into cells: its docstring as Markdown, the imports, other statements, and each definition."""
    tree, lines = ast.parse(source), source.split("\n")
    body = tree.body
    if docstring := ast.get_docstring(tree):
        title, _, rest = docstring.partition("\n")
        yield "markdown", f"# {title}\n{rest}"
        body = body[1:]
    starts = [_first_line(node, lines) for node in body]
    groups: list[tuple[str, int, int]] = []
    for node, start, end in zip(body, starts, [*starts[1:], len(lines) + 1], strict=True):
        kind = _kind(node)
        if groups and kind == groups[-1][0] != "definition":
            groups[-1] = (kind, groups[-1][1], end)
        else:
            groups.append((kind, start, end))
    for _, start, end in groups:
        yield "code", "\n".join(lines[start - 1 : end - 1]).strip("\n")


def _kind(node: ast.stmt) -> str:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return "import"
    return "definition" if isinstance(node, ast.ClassDef | ast.FunctionDef) else "statement"


def _first_line(node: ast.stmt, lines: list[str]) -> int:
    """Return the line where a statement starts, with its decorators and the comments right above it."""
    decorators = getattr(node, "decorator_list", [])
    line: int = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    while line > 1 and lines[line - 2].startswith("#"):
        line -= 1
    return line


def tabulated(report: Any) -> str:
    """Write a report's tables and findings as Markdown."""
    from quaere.content.results import cell, mean_and_range

    parts = []
    for table in report.tables:
        rows = [table.columns, ["---"] * len(table.columns), *([cell(value) for value in row] for row in table.rows)]
        parts += [f"**{table.title}**", "\n".join(f"| {' | '.join(row)} |" for row in rows), table.note]
    for one in report.findings:
        measured = (
            f"{what.title}: " + ", ".join(f"{arm} {mean_and_range(values)}" for arm, values in what.arms.items())
            for what in one.quantities
        )
        parts.append("\n    - ".join((f"- `{one.claim}`: **{one.outcome}**. {one.rule or one.needed}", *measured)))
    return "\n\n".join(part for part in parts if part)


def drawn(figure: Any) -> str:
    """Draw a figure as SVG, on a light ground whatever the notebook's colors."""
    from quaere.pages import figures

    return (
        f'<div style="background: white; display: inline-block">{figures.draw(figure.model_dump_json(), "light")}</div>'
    )
