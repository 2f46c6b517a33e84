"""Addresses, links and evidence outlive the renaming of a card or a question."""

import dataclasses
from html.parser import HTMLParser
from pathlib import Path

import pytest

from quaere.content.states import State
from quaere.pages import render
from quaere.project import Project
from tests.engine.conftest import Base
from tests.engine.test_pages import Reading, body, library, paper, question, view

CARD = """\
cite: toy2020
idea: A sound idea.
{card}implementation: null
questions:
  - {{id: {id}, ask: Why?, asked: 2026-01-31{question}}}
  - {{id: how, ask: How?, asked: 2026-01-31}}
"""
MODULE = '''\
"""A toy.

Answers: {name}
    It is one.

    >>> from reference_impl.toy import one
    >>> one()
    1

Answers: {slug}.how
    So.

    >>> 1 + 1
    2
"""


def one() -> int:
    """Return one.

    Asked: {name}
    """
    return {one}
'''


def states(base: Base) -> dict[str, State]:
    project = base.project
    found = base.library()
    verdicts = project.verdicts(found)
    return {id: asked.state(verdicts) for id, asked in found.questions.items()}


def verify(project: Project) -> list[str]:
    found, faults = project.check()
    assert not faults
    return [answer.id for answer, _, _ in project.verify(found, project.stale(found))]


def write(
    base: Base, slug: str, id: str, *, card: str = "", question: str = "", one: str = "1", how: str = "2"
) -> None:
    (base.root / "papers/toy.yml").unlink(missing_ok=True)
    module = MODULE.format(name=f"{slug}.{id}", slug=slug, one=one)
    text = CARD.format(card=card, id=id, question=question)
    base.write({f"papers/{slug}.yml": text, "reference_impl/toy.py": module})


def test_a_verdict_outlives_a_renaming_where_the_code_is_the_same(base: Base) -> None:
    write(base, "toy", "why")
    assert sorted(verify(base.project)) == ["toy.how", "toy.why"]
    write(base, "doll", "reason", card="formerly: [toy]\n", question=", formerly: [why]")
    assert states(base) == {"doll.reason": State.DEMONSTRATED, "doll.how": State.DEMONSTRATED}
    assert verify(base.project) == []
    # What is written for another answer keeps it, under its new name.
    project, found = base.project, base.library()
    how = found.questions["doll.how"].answer
    assert how
    assert [answer.id for answer, _, _ in project.verify(found, [how])] == ["doll.how"]
    assert set(base.project.evidence.verdicts) == {"doll.reason", "doll.how"}


def test_a_verdict_on_other_code_is_none_under_a_new_name(base: Base) -> None:
    write(base, "toy", "why")
    verify(base.project)
    write(base, "toy", "reason", question=", formerly: [why]", one="2 - 1")
    assert states(base)["toy.reason"] is State.UNVERIFIED


def test_an_answer_under_a_former_name_is_told_and_counts_meanwhile(base: Base) -> None:
    write(base, "toy", "why")
    verify(base.project)
    base.write({"papers/toy.yml": CARD.format(card="", id="reason", question=", formerly: [why]")})
    assert base.report().splitlines() == [
        "reference_impl/toy.py:3:1: no card asks `toy.why`",
        "  hint: it is called `toy.reason` now",
    ]
    project = base.project
    found, _ = project.read()
    asked = found.questions["toy.reason"]
    assert asked.state(project.verdicts(found)) is State.DEMONSTRATED
    list(project.verify(found, [asked.answer] if asked.answer else []))
    assert "toy.reason" in base.project.evidence.verdicts


RENAMED = library(
    paper(
        "red",
        formerly=("rouge", "scarlet"),
        questions=(question("held", formerly=("kept", "had")), question("said", formerly=("spoken",))),
        notes="## Kept\n\n[[rouge]], [[scarlet.had]], [[rouge#notes]]",
    ),
    paper("blue", formerly=("azure",)),
)


@pytest.mark.parametrize(
    ("name", "today"),
    [
        *(("red", "red"), ("rouge", "red"), ("scarlet", "red"), ("azure", "blue"), ("green", "green")),
        *(("red.held", "red.held"), ("red.kept", "red.held"), ("rouge.had", "red.held"), ("scarlet.held", "red.held")),
        *(("blue.kept", "blue.kept"), ("azure.kept", "blue.kept"), ("rouge.lost", "red.lost")),
    ],
)
def test_a_former_name_leads_to_the_name_of_today(name: str, today: str) -> None:
    assert RENAMED.today(name) == today


def test_a_name_that_something_has_today_leads_there() -> None:
    found = library(
        paper("red", formerly=("blue",), questions=(question("held", formerly=("said",)), question("said"))),
        paper("blue"),
    )
    assert [found.today(name) for name in ("blue", "red.said")] == ["blue", "red.said"]
    assert list(found.former_names("red.held")) == []


def test_a_question_is_found_at_its_former_ids_and_a_link_by_a_former_name_leads_to_it() -> None:
    made = body(RENAMED, "papers/red.md")
    (held, said) = made.split('<details class="q-question"')[1:]
    assert {"kept", "had", "held"} <= set(Reading(f"<details{held}").ids())
    assert "spoken" in Reading(f"<details{said}").ids()
    # A heading of the notes leaves it the id.
    assert Reading(made).ids().count("kept") == 1
    assert {"./", "#held", "#notes_"} <= set(Reading(made).links())


class Head(HTMLParser):
    """The addresses that a page which leads on names, by element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.led: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if address := given.get("href") or given.get("src") or given.get("content", "").partition("url=")[2]:
            self.led[tag] = address


@pytest.mark.parametrize(("has_folders", "path"), [(True, "papers/rouge/index.html"), (False, "papers/rouge.html")])
def test_the_former_address_of_a_card_leads_on_with_and_without_a_script(has_folders: bool, path: str) -> None:
    files = render.files(view(RENAMED, has_folders=has_folders))
    today = "../red/" if has_folders else "red.html"
    script = "../../assets/moved.js" if has_folders else "../assets/moved.js"
    assert Head(files[path].decode()).led == {"link": today, "meta": today, "a": today, "script": script}
    assert {one for one in files if one.startswith("papers/")} == {
        path.replace("rouge", old) for old in ("rouge", "scarlet", "azure")
    }


def test_a_page_written_by_hand_keeps_the_former_address_of_a_card() -> None:
    made = render.files(view(dataclasses.replace(RENAMED, docs={"papers/rouge.md": "# Rouge"})))
    assert "papers/rouge/index.html" not in made
    assert "papers/scarlet/index.html" in made


def test_the_title_on_a_page_that_leads_on_is_escaped() -> None:
    title = '</title><script>alert(1)</script> "onclick=x'
    page = render.files(view(library(paper("red", title=title, formerly=("rouge",)))))[
        "papers/rouge/index.html"
    ].decode()
    assert "<script>" not in page
    assert "&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;" in page


@pytest.mark.parametrize(
    "arguments", [("show", "doll"), ("show", "doll.reason"), ("questions", "--paper", "doll"), ("export", "doll")]
)
def test_a_command_knows_former_names_and_tells_todays(base: Base, arguments: tuple[str, ...]) -> None:
    write(base, "toy", "why", card="formerly: [doll]\n", question=", formerly: [reason]")
    ran = base.quaere(*arguments)
    assert ran.returncode == 0, ran.stderr
    name = arguments[-1]
    assert ran.stderr.startswith(f"`{name}` is called `{name.replace('doll', 'toy').replace('reason', 'why')}` now\n")
    assert "Toys" in ran.stdout or "Why?" in ran.stdout


def test_the_guide_tells_of_former_names() -> None:
    guide = (Path(__file__).parents[2] / "docs/guide/add-a-paper.md").read_text(encoding="utf-8")
    assert "`formerly`" in guide
