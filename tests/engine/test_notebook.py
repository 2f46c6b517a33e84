"""Experiments as notebooks: every line of the source is in it, in its order, and it runs from the top."""

import ast
import json

import nbformat

from quaere.content.results import Finding, Outcome, Quantity, Report, Table
from quaere.running import notebook

SOURCE = '''\
"""A walk.

It goes nowhere.
"""

import random
from dataclasses import dataclass

# How far.
FAR = 3
FARTHER = 4


# Why it is frozen.
@dataclass(frozen=True)
class Size:
    """How much."""

    steps: int


def experiment(run):
    return run
'''


def cells(source: str = SOURCE) -> list[tuple[str, str]]:
    book = json.loads(notebook.written(source, "house.experiments.walk", "small"))
    return [(cell["cell_type"], cell["source"]) for cell in book["cells"]]


def test_it_is_a_notebook_by_the_format() -> None:
    nbformat.validate(json.loads(notebook.written(SOURCE, "house.experiments.walk", "smoke")))


def test_it_holds_the_docstring_as_text_and_a_cell_for_each_definition() -> None:
    found = cells()
    assert found[1] == ("markdown", "# A walk.\n\nIt goes nowhere.")
    assert [source.split("\n")[0] for _, source in found[2:6]] == [
        "import random",
        "# How far.",
        "# Why it is frozen.",
        "def experiment(run):",
    ]
    assert "FARTHER = 4" in found[3][1]


def test_it_holds_all_of_the_code_in_its_order() -> None:
    code = "\n".join(source for kind, source in cells() if kind == "code")
    whole, written = ast.parse(SOURCE).body[1:], ast.parse(code).body
    start = next(n for n, node in enumerate(written) if ast.dump(node) == ast.dump(whole[0]))
    assert [ast.dump(node) for node in written[start : start + len(whole)]] == [ast.dump(node) for node in whole]


def test_it_runs_the_size_that_was_asked_for() -> None:
    assert any('"walk-small-notebook", size="small"' in source for _, source in cells())


def test_it_shows_tables_and_findings_in_words() -> None:
    table = Table(title="Scores", columns=("who", "score"), rows=(("a", 0.5), ("b", None)), note="Higher is better.")
    finding = Finding(
        claim="faster",
        outcome=Outcome.PARTLY,
        rule="Less than 2.",
        ran="It.",
        quantities=(Quantity(name="time", arms={"it": (1.2,)}),),
    )
    shown = notebook.tabulated(Report(tables=(table,), findings=(finding,), seeds=(0,)))
    assert "| who | score |\n| --- | --- |\n| a | 0.5 |\n| b | – |" in shown
    assert "- `faster`: **partly**. Less than 2.\n    - time: it 1.2" in shown
