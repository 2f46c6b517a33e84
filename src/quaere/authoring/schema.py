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
    papers = {slug: paper.reference.title for slug, paper in library.papers.items()}
    titles = {paper.card.cite: paper.reference.title for paper in library.papers.values()}
    modules = {module.name.partition(".")[2]: module.summary for module in library.modules if "." in module.name}
    links = {f"[[{id}]]": asked.question.ask for id, asked in library.questions.items()}
    tags = {tag for paper in library.papers.values() for tag in paper.card.tags}
    affiliations = {name for paper in library.papers.values() for name in paper.card.affiliations}
    proposed = {
        "Key": {key: titles.get(key, "") for key in sorted(library.bibliography)},
        "Paper": papers,
        "Affiliation": dict.fromkeys(sorted(affiliations), ""),
        "Tag": dict.fromkeys(sorted(tags), ""),
        "Module": modules,
        "QuestionLink": links,
    }
    parts |= {name: _listed(values) for name, values in proposed.items() if values}
    _propose(card, "cite", "Key", parts)
    _propose(card["builds_on"], "items", "Paper", parts)
    _propose(card["affiliations"], "items", "Affiliation", parts)
    _propose(card["tags"], "items", "Tag", parts)
    if library.settings.tags is not None:
        card["tags"]["items"] = {"enum": library.settings.tags}
    _propose(card, "implementation", "Module", parts)
    _propose(card, "notes", "QuestionLink", parts)
    _propose(parts["Question"]["properties"], "answer", "QuestionLink", parts)
    _propose(parts["Departure"]["properties"], "from", "Paper", parts)
    # What refers to a part of itself would look for that here.
    if library.extra and "$ref" not in json.dumps(library.extra):
        card["extra"] |= library.extra
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


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


def _propose(within: dict[str, Any], key: str, name: str, parts: Mapping[str, Any]) -> None:
    """Let an editor propose the values of a list, besides what a part of the schema accepts."""
    if name in parts:
        part = within[key]
        rest = {word: part.pop(word) for word in ("type", "pattern", "minLength", "anyOf") if word in part}
        accepted = rest.pop("anyOf", []) + ([rest] if rest else [])
        part["anyOf"] = [{"$ref": f"#/$defs/{name}"}, *accepted]
