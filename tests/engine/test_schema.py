"""The schema that `quaere schema` writes proposes what the library has, and refuses nothing that is right."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from quaere.authoring import schema
from quaere.project import Project
from tests.engine.conftest import Base

ROOT = Path(__file__).parents[2]


def proposed(told: dict[str, Any], name: str) -> dict[str, str]:
    """Return what an editor proposes under a name, each value with what it is told to stand for."""
    part = told["$defs"][name]
    return dict(zip(part["enum"], part.get("enumDescriptions", part["enum"]), strict=True))


def test_an_editor_proposes_what_the_library_has(base: Base) -> None:
    text = (base.root / "papers/toy.yml").read_text()
    base.write({
        "papers/toy.yml": f"tags: [wood]\naffiliations: [A shop]\n{text.replace('answer: By hand.', 'by: Ann')}",
        "reference_impl/toy.py": '"""Toys move.\n\nAnswers: toy.why\n    Because.\n\n    >>> 1\n    1\n"""\n',
    })  # fmt: skip
    told = json.loads(schema.schema(base.library()))
    assert proposed(told, "Paper") == {"toy": "Toys"}
    assert proposed(told, "Key") == {"toy2020": "Toys"}
    assert proposed(told, "Tag") == {"wood": "wood"}
    assert proposed(told, "Affiliation") == {"A shop": "A shop"}
    assert proposed(told, "Module") == {"toy": "Toys move."}
    assert proposed(told, "Answer") == {"toy.why": "Because."}
    assert proposed(told, "Person") == {"Ann": "Ann"}
    assert proposed(told, "QuestionLink") == {"[[toy.why]]": "Why?", "[[toy.how]]": "How?"}
    places = {
        f"{name}.{key}": first.rpartition("/")[2]
        for name, part in {"Card": told, **told["$defs"]}.items()
        for key, value in part.get("properties", {}).items()
        if (first := value.get("items", value).get("anyOf", [{}])[0].get("$ref", ""))
        and "enum" in told["$defs"][first[8:]]
    }
    assert places == {
        "Card.cite": "Key",
        "Card.tags": "Tag",
        "Card.affiliations": "Affiliation",
        "Card.implementation": "Module",
        "Card.builds_on": "Paper",
        "Card.notes": "QuestionLink",
        "Departure.from": "Paper",
        "Status.by": "Paper",
        "Quote.note": "QuestionLink",
        "Question.by": "Person",
        "Question.answer": "QuestionLink",
        "Reply.by": "Person",
        "Reply.code": "Answer",
        "Reply.text": "QuestionLink",
    }


@pytest.mark.parametrize("field", ["builds_on: [later]", "tags: [new]", "implementation: soon", "notes: Some."])
def test_a_schema_that_is_older_than_the_cards_refuses_nothing(base: Base, field: str) -> None:
    told = json.loads(schema.schema(base.library()))
    name, _, value = field.partition(": ")
    card: dict[str, Any] = {"cite": "later2021", name: [value.strip("[]")] if "[" in value else value}
    jsonschema.Draft202012Validator(told).validate(card)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(told).validate({**card, name: 3})


def test_the_tags_of_the_settings_are_all_that_there_are(base: Base) -> None:
    base.write({"pyproject.toml": "[tool.quaere]\ntags = ['wood']\n"})
    told = json.loads(schema.schema(base.library()))
    jsonschema.Draft202012Validator(told).validate({"cite": "a", "tags": ["wood"]})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(told).validate({"cite": "a", "tags": ["wod"]})


def test_the_schema_of_a_library_without_anything_is_that_of_any_card(tmp_path: Path) -> None:
    (tmp_path / "papers").mkdir()
    told = json.loads(schema.schema(Project.find(tmp_path).read()[0]))
    assert told == json.loads((ROOT / "docs/schema/card.json").read_text(encoding="utf-8"))


def test_the_verb_writes_beside_the_cards_what_has_changed(base: Base) -> None:
    assert base.quaere("schema").stdout == "wrote papers/card.schema.json\n"
    written = (base.root / "papers/card.schema.json").read_text()
    assert written == schema.schema(base.library())
    again = schema.write(base.library(), written)
    assert (again.said, again.files) == ("papers/card.schema.json is up to date", {})
