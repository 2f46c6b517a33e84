"""What notes hold besides: quotes, several answers and who gave them, what became of a paper."""

import json

import pytest

from quaere.content.model import Verdict
from quaere.content.states import State
from quaere.pages import render
from quaere.pages.view import View
from tests.engine.conftest import Base
from tests.engine.test_private import said

CARD = """\
cite: toy2020
implementation: null
status: {state: superseded, by: other, since: 2024-05-06, note: See the erratum.}
quotes:
  - {text: 'It *works*, and $x$ is <b>x</b>.', page: 4, note: It *does*.}
  - text: |
      One line.
      Another line.
    page: §3.2
questions:
  - id: why
    ask: Why?
    asked: 2026-01-31
    by: Ann Maker
    answers:
      - {text: Because., by: Ben Reader, answered: 2026-02-01}
      - {code: toy.counted, by: Ann Maker}
      - {code: toy.shown}
"""
OTHER = "cite: other2021\nimplementation: null\nquestions: [{id: own, ask: Own?, asked: 2026-01-31}]\n"
BIB = """\
@article{toy2020, author = {Maker, Ann}, title = {Toys}, year = {2020}}
@article{other2021, author = {Maker, Ann}, title = {Other: Toys}, year = {2021}}
"""
CODE = '''\
def counted() -> None:
    """
    Answers: toy.counted
        By counting.

        >>> 1 + 1
        2
    """


def shown() -> None:
    """
    Answers: toy.shown
        By showing.

        >>> 2 + 2
        4
    """
'''


@pytest.fixture
def full(base: Base) -> Base:
    base.write({"papers/toy.yml": CARD, "papers/other.yml": OTHER, "papers/references.bib": BIB})
    base.write({"reference_impl/answers.py": CODE})
    return base


def verdicts(base: Base, **passed: bool) -> dict[str, Verdict]:
    keys = {answer.id: answer.key for answer in base.library().answers}
    at = "2026-01-31T00:00:00+00:00"
    return {f"toy.{name}": Verdict(keys[f"toy.{name}"], ok, "", "", {}, at, 0.1) for name, ok in passed.items()}


@pytest.mark.parametrize(
    ("passed", "state"),
    [
        ({}, State.UNVERIFIED),
        ({"counted": True}, State.UNVERIFIED),
        ({"counted": True, "shown": True}, State.DEMONSTRATED),
        ({"counted": True, "shown": False}, State.BROKEN),
        ({"shown": False}, State.BROKEN),
    ],
)
def test_of_several_answers_in_code_the_worst_counts(full: Base, passed: dict[str, bool], state: State) -> None:
    assert full.library().questions["toy.why"].state(verdicts(full, **passed)) is state


def test_verify_runs_all_answers_of_a_question(full: Base) -> None:
    found = said(full, "verify", "toy.why")
    assert "2 answers: 2 run, 0 unchanged, 0 broken" in found.output
    (row, _) = json.loads(said(full, "questions", "--json").output)[::-1]
    assert (row["id"], row["state"], row["answer"]) == ("why", "demonstrated", "Because.")


def view(base: Base) -> View:
    return render.view(base.library(), verdicts(base, counted=True, shown=True), name="Toys")


def test_a_page_tells_the_papers_words_from_the_authors_and_who_answered(full: Base) -> None:
    page = render.pages(view(full))["papers/toy.md"].body
    assert "<p>It *works*, and $x$ is &lt;b&gt;x&lt;/b&gt;.</p>" in page
    assert "It <em>does</em>." in page
    assert "Maker, p. 4" in page
    assert "Maker, §3.2" in page
    assert "One line.\nAnother line." in page
    assert 'asked 2026-01-31 by <span class="q-name">Ann Maker</span>' in page
    assert 'Answered by <span class="q-name">Ben Reader</span>' in page
    assert page.count('<p class="q-where">Answered by') == 2
    assert "2 answers in code, of which the worst counts" in page


def test_what_became_of_a_paper_is_said_wherever_it_stands(full: Base) -> None:
    shown = view(full)
    pages, files = render.pages(shown), render.files(shown)
    assert "This paper was superseded</strong> by <a" in pages["papers/toy.md"].body
    assert "See the erratum." in pages["papers/toy.md"].body
    for path in ("papers/index.md", "index.md"):
        assert "superseded" in pages[path].body, path
    assert "superseded" in files["assets/data/papers-texts.json"].decode()
    assert "This paper was superseded by Other, 2024-05-06. See the erratum." in files["assets/cards/toy.md"].decode()
    (toy,) = [one for one in json.loads(files["library.json"])["papers"] if one["slug"] == "toy"]
    assert toy["status"]["state"] == "superseded"
    assert [quote["page"] for quote in toy["quotes"]] == ["4", "§3.2"]
    (question,) = toy["questions"]
    assert [one["name"] for one in question["others"]] == ["toy.counted", "toy.shown"]


def test_names_that_lead_nowhere_and_answers_that_are_none_are_faults(full: Base) -> None:
    full.write({"papers/toy.yml": CARD.replace("toy.shown", "toy.sown").replace("by: other", "by: otter")})
    assert full.report() == (
        "papers/toy.yml:3:33: there is no card `otter` (at $.status.by)\n"
        "  hint: did you mean `other`?\n"
        "papers/toy.yml:18:16: no docstring answers `toy.sown` (at $.questions[0].answers[2].code)\n"
        "  hint: did you mean `toy.shown` or `toy.counted`?\n"
        "reference_impl/answers.py:13:5: no card asks `toy.shown`\n"
        "  hint: did you mean `toy.why`?"
    )
    full.write(
        {"papers/toy.yml": CARD.replace("{code: toy.shown}", "{by: Ann Maker}"), "reference_impl/answers.py": ""}
    )
    assert "papers/toy.yml:18:9: this answer has neither prose nor code (at $.questions[0].answers[2])" in full.report()


def test_a_rename_takes_the_names_of_answers_along(full: Base) -> None:
    said(full, "rename", "toy", "game")
    assert full.report() == ""
    card = (full.root / "papers/game.yml").read_text()
    assert "{code: game.counted, by: Ann Maker}" in card
    said(full, "rename", "other", "another")
    assert "by: another, since" in (full.root / "papers/game.yml").read_text()
    assert full.report() == ""


def test_who_asks_and_who_answers_is_written_by_the_commands(full: Base) -> None:
    assert said(full, "ask", "other", "How?", "--by", "Ann", "--asked", "2026-03-01").exit_code == 0
    assert said(full, "answer", "other.how", "So.", "--by", "Ben").exit_code == 0
    assert "answered already" in str(said(full, "answer", "other.how", "Or so.").exception)
    assert said(full, "answer", "other.how", "Or so.", "--add").exit_code == 0
    asked = full.library().questions["other.how"].question
    assert (asked.by, [(one.text, one.by, one.answered is not None) for one in asked.answers]) == (
        "Ann",
        [("So.", "Ben", True), ("Or so.", None, False)],
    )
