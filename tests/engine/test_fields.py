"""What notes hold besides: quotes, several answers and who gave them, what became of a paper."""

import json
from pathlib import Path

import jsonschema
import pytest

from quaere.content.model import Verdict
from quaere.content.states import State
from quaere.pages import dump, render, search, seen
from quaere.pages.view import View
from tests.engine.conftest import Base
from tests.engine.test_private import said
from tests.own import LIBRARY

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
    found = said(full, "verify")
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
    assert 'Answered by <span class="q-name">Ben Reader</span>, <time datetime="2026-02-01">2026-02-01</time>' in page
    assert page.count('<p class="q-where">Answered by') == 2
    assert "2 answers in code, of which the worst counts" in page


def test_a_page_is_made_again_when_an_answer_changes_that_its_card_names(full: Base) -> None:
    shown = view(full)
    (output,) = [one for one in render.page_outputs(shown) if one.path == "papers/toy.md"]
    with seen.noting(shown) as asked:
        output.page(shown)
    assert seen.answers(view(full), asked) == asked
    full.write({"reference_impl/answers.py": CODE.replace("By counting.", "By recounting.")})
    assert seen.answers(view(full), asked) != asked


def test_what_became_of_a_paper_is_said_wherever_it_stands(full: Base) -> None:
    shown = view(full)
    pages, files = render.pages(shown), render.files(shown)
    assert "This paper was superseded</strong> by <a" in pages["papers/toy.md"].body
    assert '</a>, <time datetime="2024-05-06">2024-05-06</time>. See the erratum.' in pages["papers/toy.md"].body
    for path in ("papers/index.md", "index.md"):
        assert '<span class="q-fate">superseded by Other</span>' in pages[path].body, path
    found = search.read_page(shown, pages["papers/toy.md"], 0)
    assert found
    assert "2020 · superseded" in found.entry.name
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


def test_an_answer_in_code_begins_with_who_gives_it_on_any_card(topical: Base) -> None:
    topical.write({"papers/other.yml": OTHER.replace("implementation: null\n", "schema: 2\n")})
    for name, module in (("other.own", "other"), ("sizes.size", "sizes")):
        assert said(topical, "answer", name, "--code", "--by", "Ann").exit_code == 0
        library = topical.library()
        asked = library.questions[name]
        assert asked.answer
        assert (asked.answer.module, asked.state({})) == (f"reference_impl.{module}", State.UNVERIFIED)
        ((reply, code),) = asked.replies
        assert (reply.by, code) == ("Ann", asked.answer)


TOPIC = """\
title: How *long* & wide?
tags: [size]
notes: As in [[toy]].
questions:
  - {id: size, ask: Which size?, asked: 2026-03-01}
  - {id: sum, ask: Which sum?, asked: 2026-03-02}
"""
SUM = '''"""Sums.

Asked: sizes.sum
"""


def total() -> None:
    """
    Answers: sizes.sum
        Four.

        >>> 2 + 2
        4
    """
'''


@pytest.fixture
def topical(full: Base) -> Base:
    full.write({"papers/sizes.yml": TOPIC, "reference_impl/sums.py": SUM})
    return full


def test_a_topic_has_all_that_a_paper_has_but_the_paper(topical: Base) -> None:
    assert said(topical, "verify", "sizes.sum").exit_code == 0
    assert said(topical, "ask", "sizes", "How high?", "--by", "Ann").exit_code == 0
    assert "2 papers, 1 topic, 5 questions" in said(topical, "check").output
    shown = topical.project.view(topical.library(), name="Toys", site_url="https://example.org/")
    pages, files = render.pages(shown), render.files(shown)
    page = pages["papers/sizes.md"]
    assert page.title == "How *long* & wide?"
    assert [state for state in State if f'data-state="{state}"' in page.body] == [State.OPEN, State.DEMONSTRATED]
    for path in ("papers/index.md", "questions.md", "board.md", "tags.md"):
        assert "papers/sizes" in pages[path].body or "sizes/" in pages[path].body, path
    assert "sizes" not in pages["lineage.md"].body
    assert "2 papers, 1 topic" in pages["papers/index.md"].body
    assert "Topic: How *long* &amp; wide?" in files["feeds/papers.xml"].decode()
    whole = json.loads(files["library.json"])
    jsonschema.validate(whole, json.loads(dump.schema()), format_checker=jsonschema.FormatChecker())
    dump.WholeLibrary.model_validate(whole, strict=False)
    assert [one["slug"] for one in whole["papers"]] == ["other", "toy"]
    assert [one["id"] for one in whole["topics"][0]["questions"]] == ["size", "sum", "how-high"]
    assert [one["title"] for one in json.loads(files["references.csl.json"])] == ["Other: Toys", "Toys"]
    assert "assets/cards/sizes.bib" not in files
    assert "citation_title" not in page.head
    facets = json.loads(files["assets/data/papers.json"])["facets"]
    values = {one["name"]: one["values"] for one in facets}
    assert (values["kind"], values["year"], values["reading"]) == (["paper", "topic"], ["2021", "2020"], [""])
    assert "?kind=topic" in pages["papers/index.md"].body
    assert "sizes" not in said(topical, "export").output


EXTRA = {
    "properties": {
        "rank": {"title": "Venue rank", "enum": ["A", "B"]},
        "tried": {"type": "boolean"},
        "seen": {"type": "array", "items": {"type": "string", "format": "date"}},
    },
    "additionalProperties": False,
}


def test_fields_of_a_librarys_own_are_typed_shown_and_filtered_by(full: Base) -> None:
    full.write({"papers/extra.schema.json": json.dumps(EXTRA)})
    full.write({"papers/other.yml": f"{OTHER}extra: {{rank: A, tried: true, seen: [2026-01-31]}}\n"})
    shown = view(full)
    page, files = render.pages(shown)["papers/other.md"].body, render.files(shown)
    for label, value in (("Venue rank", "A"), ("tried", "yes"), ("seen", "2026-01-31")):
        assert f"<dt>{label}</dt>\n<dd>{value}</dd>" in page
    facets = {one["name"]: one["values"] for one in json.loads(files["assets/data/papers.json"])["facets"]}
    assert (facets["extra.rank"], facets["extra.tried"]) == (["A"], ["yes"])
    assert 'data-facet="extra.rank">\n<legend>Venue rank' in render.pages(shown)["papers/index.md"].body
    (other, _) = json.loads(files["library.json"])["papers"]
    assert other["extra"] == {"rank": "A", "tried": True, "seen": ["2026-01-31"]}
    full.write({"papers/other.yml": f"{OTHER}extra: {{seen: [soon]}}\n"})
    assert "papers/other.yml:4:16: 'soon' is not a 'date' (at $.extra.seen[0])" in full.report()


def test_a_schema_that_is_none_is_a_fault_with_its_place(full: Base) -> None:
    full.write({"papers/extra.schema.json": '{"properties": []}'})
    assert "papers/extra.schema.json:1:1: not a JSON Schema: [] is not of type 'object'" in full.report()
    full.write({"papers/extra.schema.json": "{,}"})
    assert "papers/extra.schema.json:1:2: not JSON: " in full.report()
    full.write({"papers/extra.schema.json": '{"$ref": "https://example.org/other.json"}'})
    full.write({"papers/other.yml": f"{OTHER}extra: {{rank: A}}\n"})
    assert "the schema refers to https://example.org/other.json, which is not in it" in full.report()


OLD = """\
# yaml-language-server: $schema=../docs/schema/card.json
cite: toy2020   # the key
implementation: null
# What it says
idea: "Sound."
questions: [{id: why, ask: Why?, asked: 2026-01-31}]
"""
NEW = """\
# yaml-language-server: $schema=../docs/schema/card.json
schema: 2
cite: toy2020   # the key
# What it says
idea: "Sound."
questions: [{id: why, ask: Why?, asked: 2026-01-31}]
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (OLD, NEW),
        (OLD.replace("null\n", "null # not yet\n"), NEW.replace("key\n", "key\nimplementation: null # not yet\n")),
        (OLD.replace("null", "layers"), NEW.replace("key\n", "key\nimplementation: layers\n")),
        ("{cite: toy2020, implementation: null}\n", "{schema: 2, cite: toy2020}\n"),
        (f"schema: 1\n{OLD}", "schema: 2\n" + OLD.replace("implementation: null\n", "")),
        (NEW, NEW),
    ],
)
def test_a_card_is_lifted_to_todays_version_with_all_that_it_says(base: Base, before: str, after: str) -> None:
    base.write({"papers/toy.yml": before, "reference_impl/layers.py": ""})
    card = base.library().papers["toy"].card
    diff = said(base, "migrate", "--dry-run").output
    assert (base.root / "papers/toy.yml").read_text() == before
    assert ("+schema: 2" in diff or "+{schema: 2" in diff) == (before != after)
    assert said(base, "migrate").exit_code == 0
    assert (base.root / "papers/toy.yml").read_text() == after
    assert base.library().papers["toy"].card == card.model_copy(update={"version": 2})
    assert "already" in said(base, "migrate").output


def test_a_card_of_a_module_keeps_it_and_one_that_says_it_has_none_keeps_that(base: Base) -> None:
    base.write({"reference_impl/toy.py": "", "papers/toy.yml": OLD.replace("implementation: null\n", "")})
    assert base.library().papers["toy"].card.implementation == "toy"
    said(base, "migrate")
    for _ in range(2):  # the second time from what is kept
        assert base.project.check(keep=True)[0].papers["toy"].card.implementation == "toy"
    base.write({"papers/toy.yml": OLD})
    said(base, "migrate")
    assert "implementation: null" in (base.root / "papers/toy.yml").read_text()
    for _ in range(2):
        library, faults = base.project.check(keep=True)
        assert (library.papers["toy"].card.implementation, faults) == (None, [])


def test_this_librarys_cards_can_all_be_lifted(tmp_path: Path) -> None:
    from quaere.authoring.migrating import migrate

    made = migrate(LIBRARY)
    assert len(made.files) > 40
    assert all("\nschema: 2\n" in f"\n{change.after}" for change in made.files.values())
