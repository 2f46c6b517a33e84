"""The JSON Schema of a library's own cards: with its slugs, tags, keys and questions, for an editor to complete.

What is not in the lists yet is accepted, so that an editor underlines nothing that is right when the cards are newer
than the schema: `quaere check` is the judge. Only the tags that the settings name are all that there are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from quaere.authoring.changes import Change, Changes
from quaere.content import model
from quaere.content.model import Library

NAME = "card.schema.json"


def schema(library: Library) -> str:
    """Return the schema of the cards of a library."""
    told = json.loads(model.schema())
    card, parts = told["properties"], told["$defs"]
    question, reply, departure, status, quote = (
        parts[name]["properties"] for name in ("Question", "Reply", "Departure", "Status", "Quote")
    )
    parts |= {name: _listed(values) for name, values in _proposed(library).items() if values}
    for within, key, name in (
        (card, "cite", "Key"),
        (card["builds_on"], "items", "Paper"),
        (departure, "from", "Paper"),
        (status, "by", "Paper"),
        (card["tags"], "items", "Tag"),
        (card["affiliations"], "items", "Affiliation"),
        (card, "implementation", "Module"),
        (reply, "code", "Answer"),
        (question, "by", "Person"),
        (reply, "by", "Person"),
        (card, "notes", "QuestionLink"),
        (quote, "note", "QuestionLink"),
        (question, "answer", "QuestionLink"),
        (reply, "text", "QuestionLink"),
    ):
        if name in parts:
            _propose(within[key], name)
    if library.settings.tags is not None:
        card["tags"]["items"] = {"enum": library.settings.tags}
    # What refers to a part of itself would look for that here.
    if library.extra and "$ref" not in json.dumps(library.extra):
        card["extra"] |= library.extra
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def _proposed(library: Library) -> dict[str, dict[str, str]]:
    """Return what is proposed, by kind: each value with what it stands for."""
    cards = [paper.card for paper in library.papers.values()]
    questions = [question for card in cards for question in card.questions]
    titles = {paper.card.cite: paper.reference.title for paper in library.papers.values()}
    people = {by for one in questions for by in (one.by, *(reply.by for reply in one.answers)) if by}
    return {
        "Key": {key: titles.get(key, "") for key in sorted(library.bibliography)},
        "Paper": {slug: paper.reference.title for slug, paper in library.papers.items()},
        "Tag": dict.fromkeys(sorted({tag for card in cards for tag in card.tags}), ""),
        "Affiliation": dict.fromkeys(sorted({name for card in cards for name in card.affiliations}), ""),
        "Module": {one.name.partition(".")[2]: one.summary for one in library.modules if "." in one.name},
        "Answer": {answer.id: answer.prose for answer in library.answers},
        "Person": dict.fromkeys(sorted(people), ""),
        "QuestionLink": {f"[[{id}]]": asked.question.ask for id, asked in library.questions.items()},
    }


def write(library: Library, former: str | None) -> Changes:
    """Write the schema beside the cards.

    Args:
        library: The knowledge base.
        former: What the file holds now.
    """
    file = f"{library.settings.papers}/{NAME}"
    made = Changes.of(f"wrote {file}", [Change(file, former, schema(library))])
    return made if made.files else Changes(f"{file} is up to date")


def _listed(values: Mapping[str, str]) -> dict[str, Any]:
    """Return the part of a schema that lists values, each with what it stands for."""
    told = {"enumDescriptions": list(values.values())} if any(values.values()) else {}
    return {"enum": list(values), **told}


def _propose(part: dict[str, Any], name: str) -> None:
    """Let an editor propose the values of a list, besides what a part of the schema accepts."""
    words = ("type", "pattern", "minLength", "maxLength", "anyOf")
    rest = {word: part.pop(word) for word in words if word in part}
    part["anyOf"] = [{"$ref": f"#/$defs/{name}"}, *rest.pop("anyOf", []), *([rest] if rest else [])]
