"""`quaere next`: what there is to do, in which order, and under which names."""

import datetime
import json

from quaere.content.agenda import Task, tasks
from quaere.content.states import Kind
from tests.engine.conftest import SOUND, Base

DAY = datetime.date(2026, 2, 10)
CODE = '''"""Toy."""


def how() -> None:
    """
    Answers: toy.how
        So.

        >>> 1
        2
    """
'''
BARE = "cite: toy2020\nimplementation: null\n"


def card(*lines: str, idea: str = "An idea.") -> str:
    return "\n".join(["cite: toy2020", f"idea: {idea}", "implementation: null", *lines, ""])


def asked(id: str, date: str) -> str:
    return f"questions: [{{id: {id}, ask: 'Why {id}?', asked: {date}}}]"


def of(base: Base, kind: Kind) -> list[Task]:
    library = base.library()
    return [task for task in tasks(library, base.project.verdicts(library), DAY) if task.kind is kind]


def test_a_question_counts_its_days_times_the_cards_that_wait_for_it(base: Base) -> None:
    base.write(
        {
            "papers/toy.yml": card(asked("old", "2026-01-31")),
            "papers/root.yml": card(asked("young", "2026-02-05")),
            "papers/leaf.yml": card("builds_on: [root]"),
            "papers/twig.yml": card("builds_on: [leaf]", asked("newest", "2026-02-10")),
            "papers/ahead.yml": card(asked("next", "2026-02-11")),
        }
    )
    assert [(task.name, task.days, task.rests) for task in of(base, Kind.OPEN)] == [
        ("root.young", 5, 2),
        ("toy.old", 10, 0),
        # Asked where the next day had begun.
        ("ahead.next", 0, 0),
        ("twig.newest", 0, 0),
    ]


def test_cards_that_build_on_each_other_in_a_circle_are_counted_once(base: Base) -> None:
    base.write(
        {
            "papers/one.yml": f"{BARE}builds_on: [two]\n",
            "papers/two.yml": f"{BARE}builds_on: [one]\n",
        }
    )
    library, _ = base.project.read()
    assert [task.rests for task in tasks(library, {}, DAY) if task.kind is Kind.NO_IDEA] == [1, 1]


def test_what_is_being_read_comes_first_and_a_card_without_an_idea_is_named(base: Base) -> None:
    base.write(
        {
            "papers/a.yml": card("reading: {state: to-read}"),
            "papers/b.yml": f"{BARE}reading: {{state: reading}}\n",
            "papers/c.yml": card("reading: {state: read}"),
        }
    )
    assert [task.command for task in of(base, Kind.TO_READ)] == ["quaere read b", "quaere read a"]
    assert [(task.name, str(task.place)) for task in of(base, Kind.NO_IDEA)] == [("b", "papers/b.yml:1:1")]


def test_answers_that_fail_or_have_not_run_and_entries_without_a_card(base: Base) -> None:
    book = SOUND["papers/references.bib"]
    base.write(
        {
            "reference_impl/toy.py": CODE,
            "papers/toy.yml": SOUND["papers/toy.yml"].replace("implementation: null\n", ""),
            "papers/references.bib": book + "@misc{spare2021,\n  title = {Spare},\n  year = {2021},\n}\n",
        }
    )
    (stale,) = of(base, Kind.UNVERIFIED)
    assert (stale.name, stale.place.file, stale.command) == (
        "toy.how",
        "reference_impl/toy.py",
        "quaere verify toy.how",
    )
    list(base.project.verify(base.library(), base.library().answers))
    assert [task.name for task in of(base, Kind.BROKEN)] == ["toy.how"]
    assert of(base, Kind.UNVERIFIED) == []
    assert [(task.command, str(task.place)) for task in of(base, Kind.NO_CARD)] == [
        ("quaere add spare2021", "papers/references.bib:6:1")
    ]


def test_next_shows_a_few_of_each_kind_says_how_many_there_are_and_gives_all_to_programs(base: Base) -> None:
    several = ", ".join(f"{{id: q{n}, ask: 'Why {n}?', asked: 2026-01-31}}" for n in range(8))
    base.write({"papers/toy.yml": card(f"questions: [{several}]")})
    run = base.quaere("next")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("8 open questions, 5 of them here  quaere answer NAME\n  toy.q0  Why 0?")
    assert "toy.q5" not in run.stdout
    assert "toy.q7" in base.quaere("next", "--all").stdout
    told = json.loads(base.quaere("next", "--limit", "1", "--kind", "open", "--json").stdout)
    assert told["counts"] == {"open": 8}
    (task,) = told["tasks"]
    assert {**task, "days": 0} == {
        "kind": "open", "name": "toy.q0", "says": "Why 0?", "file": "papers/toy.yml", "line": 4, "days": 0,
        "rests": 0, "command": "quaere answer toy.q0",
    }  # fmt: skip
    assert base.quaere("next", "--kind", "no-idea").stdout == "nothing to do\n"


def test_next_shows_what_it_can_read_beside_the_faults(base: Base) -> None:
    base.write({"papers/bad.yml": "cite: [\n"})
    run = base.quaere("next")
    assert (run.returncode, "toy.why" in run.stdout, "papers/bad.yml:2:1: not YAML" in run.stderr) == (1, True, True)
