"""States are derived, cards can't change, and an editor's schema agrees with the reader."""

import datetime
import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from quaere.content import model
from quaere.content.bibliography.reference import Name
from quaere.content.model import Answer, Asked, Card, Library, Module, Paper, Question, Verdict
from quaere.content.states import State
from quaere.errors import Place
from tests.engine.conftest import CARDS, SOUND, reference

ROOT = Path(__file__).parents[2]
PLACE = Place("papers/toy.yml", 1, 1)


def question(answer: str | None = None, id: str = "why") -> Question:
    return Question(id=id, ask="Why?", asked=datetime.date(2026, 1, 31), answer=answer)


def paper(*questions: Question, **card: object) -> Paper:
    whole = Card.model_validate({"cite": "toy2020", "idea": "Sound.", "questions": questions, **card})
    return Paper("toy", "papers/toy.yml", whole, reference(), {(): PLACE})


def answer(key: str = "k1", line: int = 3) -> Answer:
    parts = (("text", "Because."), ("code", ">>> 1\n1"), ("text", "So."), ("code", ">>> 2\n2"))
    return Answer("toy.why", "pkg.toy", "pkg.toy", Place("pkg/toy.py", line, 1), parts, (), key)


def verdict(key: str, *, passed: bool) -> Verdict:
    return Verdict(key, passed, "" if passed else "wrong", "abc", {"python": "3.11"}, "2026-01-31T00:00:00+00:00", 0.1)


@pytest.mark.parametrize(
    ("prose", "code", "ran", "state"),
    [
        (None, None, None, State.OPEN),
        ("By hand.", None, None, State.ANSWERED),
        (None, answer("k1"), None, State.UNVERIFIED),
        ("By hand.", answer("k1"), None, State.UNVERIFIED),
        (None, answer("k1"), verdict("k1", passed=True), State.DEMONSTRATED),
        (None, answer("k1"), verdict("k1", passed=False), State.BROKEN),
        (None, answer("k2"), verdict("k1", passed=True), State.UNVERIFIED),
        (None, answer("k2"), verdict("k1", passed=False), State.UNVERIFIED),
        (None, None, verdict("k1", passed=True), State.OPEN),
        ("By hand.", None, verdict("k1", passed=True), State.ANSWERED),
    ],
)
def test_the_state_follows_from_answers_and_verdict(
    prose: str | None, code: Answer | None, ran: Verdict | None, state: State
) -> None:
    asked = Asked(paper(), question(prose), 0, code)
    assert asked.state({} if ran is None else {"toy.why": ran}) is state


def test_prose_and_code_of_an_answer_are_its_parts_in_order() -> None:
    assert answer().prose == "Because.\n\nSo."
    assert answer().code == ">>> 1\n1\n\n>>> 2\n2"


def test_of_two_answers_to_a_question_the_first_counts() -> None:
    library = Library({"toy": paper(question())}, {}, (answer(line=3), answer(line=9)), (), {})
    asked = library.questions["toy.why"].answer
    assert asked is not None
    assert asked.place.line == 3


def test_a_library_has_what_is_there_and_what_may_be() -> None:
    library = Library({"toy": paper(question())}, {}, (), (), {}, unsound=frozenset({"vit"}))
    names = ["toy", "toy.why", "vit", "vit.why", "toy.how", "bert", "bert.why", "why"]
    assert [name for name in names if library.has(name)] == ["toy", "toy.why", "vit", "vit.why"]


def test_the_module_of_a_paper_is_the_one_its_card_names() -> None:
    modules = (Module("pkg", "pkg/__init__.py", "", "1"), Module("pkg.toy", "pkg/toy.py", "", "2"))
    library = Library({}, {}, (), modules, {})
    assert library.module_of(paper(implementation="toy")) == modules[1]
    assert library.module_of(paper(implementation="vit")) is None
    assert library.module_of(paper(implementation=None)) is None


def test_a_reference_tells_year_venue_and_arxiv_number() -> None:
    known = reference(
        title="Toys", year="2020", publisher="ACM", booktitle="Proc.", archiveprefix="arXiv", eprint="1.2"
    )
    assert (known.title, known.year, known.venue, known.arxiv) == ("Toys", 2020, "Proc.", "1.2")
    unknown = reference(year="in press", eprint="1.2", archiveprefix="HAL")
    assert (unknown.title, unknown.year, unknown.venue, unknown.arxiv) == ("toy2020", None, "", None)
    assert reference(eprinttype="arxiv", eprint="1.2").arxiv == "1.2"


def test_names_are_written_given_name_first() -> None:
    assert [str(Name("Maker", "Ann")), str(Name("Google Brain"))] == ["Ann Maker", "Google Brain"]


def test_a_card_can_not_be_changed() -> None:
    card = paper().card
    with pytest.raises(ValidationError, match="frozen"):
        card.idea = "Another."


def schema_faults(text: str) -> set[str]:
    """Return the places of what an editor with the schema would underline."""

    # To an editor a date is text in a certain form, so dates stay text here.
    class Loader(yaml.CSafeLoader):
        yaml_implicit_resolvers = {  # noqa: RUF012  (PyYAML's own way)
            first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith("timestamp")]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    validator = jsonschema.Draft202012Validator(json.loads(model.schema()), format_checker=jsonschema.FormatChecker())
    return {error.json_path for error in validator.iter_errors(yaml.load(text, Loader))}


@pytest.mark.parametrize("card", [*sorted((ROOT / "papers").glob("*.yml")), None], ids=lambda card: card and card.stem)
def test_the_schema_accepts_sound_cards(card: Path | None) -> None:
    assert schema_faults(card.read_text(encoding="utf-8") if card else SOUND["papers/toy.yml"]) == set()


@pytest.mark.parametrize(
    ("case", "faults"),
    [
        ("wrong_type", {"$.idea"}),
        ("missing_key", {"$.questions[0]"}),
        ("unknown_key", {"$", "$.questions[0]", "$.departures[0]"}),
        ("empty_text", {"$.idea", "$.tags[0]"}),
        ("missing_value", {"$.idea", "$.links"}),
        ("bad_id", {"$.builds_on[0]", "$.departures[0].test", "$.questions[0].id"}),
        ("bad_cite", {"$.cite"}),
        ("links", {f"$.links[{index}].url" for index in range(5)}),
        ("unknown_word", {"$.reading", "$.links[0].kind", "$.links[1].kind"}),
        ("impossible_date", {f"$.questions[{index}].asked" for index in range(3)}),
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(case: str, faults: set[str]) -> None:
    assert schema_faults((CARDS / f"{case}.yml").read_text(encoding="utf-8")) == faults


def test_an_editor_can_explain_every_key() -> None:
    schema = json.loads(model.schema())
    parts = {"Card": schema, **schema["$defs"]}
    keys = {f"{name}.{key}": told for name, part in parts.items() for key, told in part.get("properties", {}).items()}
    assert "Question.asked" in keys
    assert [key for key, told in keys.items() if not told.get("description")] == []
