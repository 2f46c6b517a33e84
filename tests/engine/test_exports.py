"""What the site offers to other programs: nothing of the library is lost on the way."""

import dataclasses
import datetime
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jsonschema
import pybtex.database
import pytest
import rispy
import yaml
from citeproc.source.json import CiteProcJSON
from pydantic import BaseModel

from benchmarks import generated as generate
from quaere.content import model, wikilinks
from quaere.content.bibliography.bibtex import Bibliography
from quaere.content.bibliography.reference import OTHERS, Name
from quaere.content.model import Card, Claim, Library, Paper, Question
from quaere.content.results import Result
from quaere.pages import dump, exports, render
from quaere.pages.view import View
from quaere.project import Project
from tests.engine import test_pages as small
from tests.engine.conftest import SOUND, Base, reference
from tests.engine.test_pages import VERDICTS, tried

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
    # The title of a paper is the bibliography's; on a card it makes a topic.
    claims = {field.alias or name for name, field in Card.model_fields.items()} - {"title", "questions", "claims"}
    for slug, paper in view.library.papers.items():
        card = {name: value for name, value in found[slug].items() if name in claims}
        parts = {
            "questions": tuple(Question.model_fields),
            "claims": tuple(Claim.model_fields),
        }
        card |= {
            name: [{key: one[key] for key in keys if one[key] is not None} for one in found[slug][name]]
            for name, keys in parts.items()
        }
        again = Card.model_validate_json(json.dumps(card))
        assert again.model_copy(update={"claims": ()}) == paper.card.model_copy(update={"claims": ()})
        assert {claim.id: claim for claim in again.claims} == {claim.id: claim for claim in paper.card.claims}


EVERYTHING = {
    "papers/toy.yml": """\
schema: 2
cite: toy2020
short: Toy
idea: An idea with $x_1$, [[base]] and "quotes".
formerly: [doll]
tags: [play]
affiliations: [Toy Works]
implementation: toy
reading: {state: reading, through: page 7}
links: [{kind: video, title: A talk, url: "https://example.org/?a=1&b=<2>"}]
builds_on: [base]
notes: |
  # 注意机制 \\ <b>no HTML</b>

      code &amp; more
departures: [{of: paper, from: base, where: Eq. 1, what: Another sign., test: test_the_sign}]
questions:
  - id: why
    ask: Why `so`?
    asked: 2026-01-31
    by: Zora
    answer: Because.
    answers: [{text: By eye., by: Quim, answered: 2026-02-01}, {code: toy.counted, by: Ylva}]
    formerly: [wherefore]
claims: [{id: faster, says: It is faster., where: Table 2, reported: "914 ± 15"}]
quotes: [{text: "*Word* for word,\n  line by line.", page: 4, note: Mine.}]
status: {state: superseded, by: base, since: 2026-03-01, note: See the journal.}
extra: {rating: 5, shelf: {room: kitchen, seen: [2026-04-05, true, 1.5]}}
""",
    "papers/base.yml": "cite: base2019\nimplementation: null\n",
    "papers/topic.yml": "schema: 2\ntitle: A topic & more\nnotes: Its notes.\n",
    "papers/references.bib": SOUND["papers/references.bib"] + "@article{base2019, title = {Base}, year = {2019}}\n",
    "reference_impl/toy.py": '"""Toy.\n\nAnswers: toy.counted\n    Counted by hand.\n\n    >>> 1 + 1\n    2\n"""\n',
    "tests/papers/test_toy.py": "def test_the_sign():\n    pass\n",
}


def scalars(value: Any) -> Iterator[str]:
    """Yield what is written in YAML or JSON."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from scalars(part)
    elif value is not None:
        yield str(value)


def used(part: Any) -> Iterator[tuple[type, str]]:
    """Yield the fields of a card, and of its parts, that say something."""
    if isinstance(part, tuple):
        for one in part:
            yield from used(one)
    elif isinstance(part, BaseModel):
        for name, field in type(part).model_fields.items():
            if (value := getattr(part, name)) != field.default:
                yield type(part), name
                yield from used(value)


def test_every_text_of_every_field_of_a_card_is_in_the_dump(base: Base) -> None:
    base.write(EVERYTHING)
    library = base.library()
    models = [one for one in vars(model).values() if isinstance(one, type) and issubclass(one, model._Part)]
    fields = {(one, name) for one in models for name in one.model_fields}
    told = {field for paper in library.papers.values() for field in used(paper.card)}
    # What is private is not in the dump.
    assert {(one.__name__, name) for one, name in fields - told if name != "private"} == set()
    whole = json.loads("".join(dump.whole(base.project.view(library))))
    found = {paper["slug"]: set(scalars(paper)) for paper in (*whole["papers"], *whole["topics"])}
    for slug in library.papers:
        written = yaml.safe_load((base.root / f"papers/{slug}.yml").read_text(encoding="utf-8"))
        assert set(scalars(written)) - found[slug] == set()
    assert {"Counted by hand.", ">>> 1 + 1\n2"} <= {text.strip() for text in found["toy"]}


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


DEPARTURES = ({"of": "paper", "from": "red", "where": "Eq. 1", "what": "Scores are scaled."},)
SCHEMA = json.loads(dump.schema())


def generated(folder: Path) -> Library:
    generate.write_library(folder, 40)
    library, faults = Project.find(folder).check()
    assert not faults
    return library


def test_the_dump_is_what_its_schema_and_its_model_say(made: dict[str, str], tmp_path: Path) -> None:
    other = render.view(generated(tmp_path), {}, name="Generated", site_url="https://example.org/")
    tiny = render.view(dataclasses.replace(tried(), docs={"a.md": "# A"}), VERDICTS)
    for text in (made[exports.LIBRARY], *("".join(dump.whole(one)) for one in (other, tiny))):
        jsonschema.validate(json.loads(text), SCHEMA, format_checker=jsonschema.FormatChecker())
        # The model knows no further fields.
        dump.WholeLibrary.model_validate_json(text)
    spoiled = json.loads(made[exports.LIBRARY])
    del spoiled["papers"][0]["questions"][0]["line"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(spoiled, SCHEMA)
    jsonschema.validate({**json.loads(made[exports.LIBRARY]), "later": 1}, SCHEMA)


def test_who_takes_the_dump_loses_nothing(view: View, made: dict[str, str]) -> None:
    whole, library = json.loads(made[exports.LIBRARY]), view.library
    found = papers_of(made)
    for slug, results in library.results.items():
        kept = [
            {key: value for key, value in one.items() if key not in ("file", "is_stale")}
            for one in found[slug]["results"]
        ]
        assert [Result.model_validate(one) for one in kept] == list(results)
        assert [json.loads((ROOT / one["file"]).read_text()) for one in found[slug]["results"]] == kept
    assert {page["file"]: page["text"] for page in whole["pages"]} == {
        f"docs/{path}": text for path, text in library.docs.items()
    }
    assert {one["name"] for one in whole["modules"]} == {one.name for one in library.modules}
    assert whole["settings"].keys() | {"environment"} == type(library.settings).model_fields.keys()
    assert whole["attachments"].keys() == library.attachments.keys()
    assert whole["renamed"] == library.renamed
    assert library.benchmarks
    assert whole["benchmarks"]["at"] == library.benchmarks.at
    for asked in library.questions.values():
        (told,) = [one for one in found[asked.paper.slug]["questions"] if one["id"] == asked.question.id]
        lines = (ROOT / asked.paper.file).read_text(encoding="utf-8").splitlines()
        assert asked.question.id in " ".join(lines[told["line"] - 1 : told["line"] + 1])
        if asked.answer:
            assert told["code"]["key"] == asked.answer.key
        if verdict := view.verdicts.get(asked.id):
            assert told["verdict"] == vars(verdict)


def test_others_read_the_references_of_each_card(view: View, made: dict[str, str]) -> None:
    for slug, paper in view.library.papers.items():
        (entry,) = pybtex.database.parse_string(made[exports.path(paper, "bib")], "bibtex").entries.values()
        (ris,) = rispy.loads(made[exports.path(paper, "ris")])
        (csl,) = json.loads(made[exports.path(paper, "csl.json")])
        assert (entry.key, csl["id"]) == (paper.reference.key, paper.reference.key), slug
        assert ris.get("title") == paper.reference.title
    keys = {one.reference.key for one in view.library.papers.values()}
    assert set(CiteProcJSON(json.loads(made["references.csl.json"]))) == {key.lower() for key in keys}
    assert len(rispy.loads(made["references.ris"])) == len(keys)


@pytest.mark.parametrize("slug", ["lstm", "transformer"])
def test_references_are_those_of_the_bibliography(view: View, made: dict[str, str], slug: str) -> None:
    paper = view.library.papers[slug]
    again, faults = Bibliography(made[exports.path(paper, "bib")], "card.bib").references([paper.reference.key])
    assert faults == []
    assert again[paper.reference.key].title == paper.reference.title
    assert again[paper.reference.key].authors == paper.reference.authors
    assert len(json.loads(made["references.csl.json"])) == len(
        {one.reference.key for one in view.library.papers.values()}
    )


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


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        ("inproceedings", {"booktitle": "Proc."}, "conferencePaper"),
        ("phdthesis", {"school": "TU"}, "thesis"),
        ("techreport", {"institution": "MIT"}, "report"),
        ("misc", {"eprint": "1706.03762", "archiveprefix": "arXiv"}, "preprint"),
        ("misc", {}, "document"),
        ("incollection", {"booktitle": "Book"}, "bookSection"),
    ],
)
def test_zotero_is_told_what_a_paper_is(kind: str, fields: dict[str, str], expected: str) -> None:
    told = parse_qs(exports.coins(reference("a", kind, (), title="T", year="2020", **fields)))
    assert told["rft.type"] == [expected]


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        ("misc", {"eprint": "1706.03762", "archiveprefix": "arXiv"}, {"rft_id": "https://arxiv.org/abs/1706.03762"}),
        (
            "misc",
            {"eprint": "1706.03762", "archiveprefix": "arXiv", "doi": "10.1000/a"},
            {"rft_id": "info:doi/10.1000/a"},
        ),
        ("book", {"publisher": "Press"}, {"rft.pub": "Press", "rft.btitle": "T"}),
        ("article", {"journal": "Annals", "volume": "3", "pages": "1--2"}, {"rft.volume": "3", "rft.pages": "1--2"}),
    ],
)
def test_zotero_is_told_where_a_paper_is_and_by_whom(
    kind: str, fields: dict[str, str], expected: dict[str, str]
) -> None:
    told = parse_qs(
        exports.coins(reference("a", kind, (Name("Doe", "Jane"), OTHERS), title="T", year="2020", **fields))
    )
    assert {name: told[name] for name in expected} == {name: [value] for name, value in expected.items()}
    assert told.get("rft.au", told.get("rft.creator")) == ["Jane Doe"]


def test_a_card_as_markdown_says_who_asked_who_answered_and_where_a_quote_stands() -> None:
    asked = small.question(
        "why", by="Ann", answers=({"text": "So.", "by": "Ben", "answered": datetime.date(2026, 2, 1)},)
    )
    card = small.paper("red", questions=(asked,), quotes=({"text": "No.", "page": "4"},))
    text = exports.markdown(small.view(small.library(card)), card)
    assert "(answered, asked 2026-01-31 by Ann)\n\nAnswered: Ben, 2026-02-01\n\nSo." in text
    assert "No.\n```\n\n(4)" in text


def test_a_card_as_markdown_says_what_else_the_card_does() -> None:
    shown = small.view(tried())
    text = exports.markdown(shown, shown.library.papers["blue"])
    assert "Tags: light" in text
    assert "Builds on: Red" in text
    text = exports.markdown(shown, shown.library.papers["red"])
    assert "Affiliations: École" in text
    card = small.paper(
        "red", links=({"kind": "video", "title": "A talk", "url": "https://example.org/a"},), departures=DEPARTURES
    )
    text = exports.markdown(small.view(small.library(card)), card)
    assert "## Links\n\n- [A talk](https://example.org/a)" in text
    assert "## Departures\n\n- Scores are scaled. (paper, Eq. 1, from red)" in text


def test_links_in_a_card_as_markdown_are_the_names_of_today() -> None:
    card = small.paper("red", notes="[[azure]], [[azure#notes]], [[azure.spoken]], [[blue.said]], [[nothing]]")
    said = small.question("said", ask="Is [[red]] it?", formerly=("spoken",))
    view = small.view(small.library(card, small.paper("blue", formerly=("azure",), questions=(said,))))
    name = view.library.papers["blue"].reference.title
    text = exports.markdown(view, card)
    assert f"{name}, {name}, “Is red it?”, “Is red it?”, nothing" in text


def test_the_texts_of_a_card_as_markdown_are_below_its_sections_and_have_their_own_footnotes() -> None:
    noted = "# Part\n\nYes[^1], not `[^1]`.\n\n```python\n# not [^1]\n```\n\n## Within\n\n[^1]: Of {}.\n"
    asked = tuple(small.question(id, ask="Why?", answer=noted.format(id)) for id in ("a", "b"))
    headless = "Yes[^1], without a heading.\n\n[^1]: Of {}.\n"
    asked += tuple(small.question(id, ask="Why?", answer=headless.format(id)) for id in ("c", "d"))
    card = small.paper("red", title="Red [sic]", questions=asked, notes="## First\n\nNo[^1] note.\n")
    view = small.view(small.library(card))
    text = exports.markdown(view, card)
    assert re.findall("^#+ .*", text, re.MULTILINE) == [
        *("# Red [sic]", "## Why?", "### Part", "# not [^1]", "#### Within"),
        *("## Why?", "### Part", "# not [^1]", "#### Within", "## Why?", "## Why?", "## Notes", "### First"),
    ]
    named = re.findall(r"Yes(\S+),", text)
    assert len(set(named)) == len(named) == 4
    assert all(f"{name}: Of {id}." in text for name, id in zip(named, "abcd", strict=True))
    assert text.count("not `[^1]`") == 2
    assert "No[^1] note." in text
    index = next(output for output in exports.outputs(view) if output.path == exports.INDEX)
    assert r"- [Red \[sic\]](assets/cards/red.md)" in index.data(view).decode()


def test_a_list_for_language_models_tells_topics_from_papers(base: Base) -> None:
    base.write({"papers/sorts.yml": "title: Sorts\nidea: Of toys.\n"})
    text = exports.index(base.project.view(base.library()))
    assert text == (
        "# Papers\n\n## Papers\n\n- [Toys](assets/cards/toy.md): A sound idea.\n\n"
        "## Topics\n\n- [Sorts](assets/cards/sorts.md): Of toys.\n"
    )


def test_a_library_without_papers_has_exports_too() -> None:
    empty = render.view(Library({}, {}, (), (), {}), {})
    made = {output.path: output.data(empty).decode() for output in exports.outputs(empty)}
    assert json.loads(made[exports.LIBRARY])["papers"] == []
    assert json.loads(made["references.csl.json"]) == []
