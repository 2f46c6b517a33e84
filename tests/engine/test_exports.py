"""What the site offers to other programs: nothing of the library is lost on the way."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from quaere.content import wikilinks
from quaere.content.bibliography.bibtex import Bibliography
from quaere.content.model import Card, Library, Paper
from quaere.pages import exports, render
from quaere.pages.view import View
from quaere.project import Project

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def view() -> View:
    project = Project.find(ROOT)
    return project.view(project.check()[0], name="House", repo="https://example.org/house")


@pytest.fixture(scope="module")
def made(view: View) -> dict[str, str]:
    return {output.path: output.data(view).decode() for output in exports.outputs(view)}


def papers_of(made: dict[str, str]) -> dict[str, dict[str, Any]]:
    return {paper["slug"]: paper for paper in json.loads(made[exports.LIBRARY])["papers"]}


def test_each_card_can_be_made_again_from_the_dump(view: View, made: dict[str, str]) -> None:
    found = papers_of(made)
    assert list(found) == list(view.library.papers)
    claims = set(Card.model_fields) - {"questions", "claims"}
    for slug, paper in view.library.papers.items():
        card = {name: value for name, value in found[slug].items() if name in claims}
        parts = {
            "questions": ("id", "ask", "asked", "answer", "formerly"),
            "claims": ("id", "says", "where", "reported"),
        }
        card |= {
            name: [{key: one[key] for key in keys if one[key] is not None} for one in found[slug][name]]
            for name, keys in parts.items()
        }
        again = Card.model_validate_json(json.dumps(card))
        assert again.model_copy(update={"claims": ()}) == paper.card.model_copy(update={"claims": ()})
        assert {claim.id: claim for claim in again.claims} == {claim.id: claim for claim in paper.card.claims}


def test_the_dump_says_what_follows_from_the_cards(view: View, made: dict[str, str]) -> None:
    found = papers_of(made)["transformer"]
    states = {question["id"]: question["state"] for question in found["questions"]}
    assert states == {one.question.id: view.states[one.id] for one in view.asked["transformer"]}
    for question, asked in zip(found["questions"], view.asked["transformer"], strict=True):
        assert asked.answer
        assert [(part["kind"], part["text"]) for part in question["code"]["parts"]] == list(asked.answer.parts)
    findings = view.library.findings("transformer")
    assert {claim["id"]: claim["outcome"] for claim in found["claims"]} == {
        id: finding.outcome for id, (finding, _) in findings.items()
    }


@pytest.mark.parametrize("slug", ["lstm", "transformer"])
def test_references_are_those_of_the_bibliography(view: View, made: dict[str, str], slug: str) -> None:
    paper = view.library.papers[slug]
    again, faults = Bibliography(made[exports.path(paper, "bib")], "card.bib").references([paper.card.cite])
    assert faults == []
    assert again[paper.card.cite].title == paper.reference.title
    assert again[paper.card.cite].authors == paper.reference.authors
    assert len(json.loads(made["references.csl.json"])) == len({one.card.cite for one in view.library.papers.values()})


def test_a_card_as_markdown_has_its_questions_answers_and_notes(view: View, made: dict[str, str]) -> None:
    text = made["assets/cards/transformer.md"]
    for asked in view.asked["transformer"]:
        assert asked.answer
        for kind, part in asked.answer.parts:
            assert kind == "text" or part.strip() in text
    assert "\n## Notes\n" in text
    assert list(wikilinks.wikilinks(text)) == []
    assert f"]({exports.path(view.library.papers['transformer'], 'md')})" in made[exports.INDEX]


@pytest.mark.parametrize(
    ("slug", "expected"),
    [
        ("lstm", {"rft.jtitle": "Neural Computation", "rft.atitle": "Long Short-Term Memory"}),
        ("transformer", {"rft.title": "Attention Is All You Need", "rft.type": "conferencePaper"}),
    ],
)
def test_zotero_is_told_a_paper_in_its_own_words(view: View, slug: str, expected: dict[str, str]) -> None:
    paper: Paper = view.library.papers[slug]
    told = parse_qs(exports.coins(paper.reference))
    assert {name: told[name] for name in expected} == {name: [value] for name, value in expected.items()}
    assert told["ctx_ver"] == ["Z39.88-2004"]
    people = told.get("rft.au", told.get("rft.creator"))
    assert people == [str(name) for name in paper.reference.authors]


def test_a_library_without_papers_has_exports_too() -> None:
    empty = render.view(Library({}, {}, (), (), {}), {})
    made = {output.path: output.data(empty).decode() for output in exports.outputs(empty)}
    assert json.loads(made[exports.LIBRARY])["papers"] == []
    assert json.loads(made["references.csl.json"]) == []
