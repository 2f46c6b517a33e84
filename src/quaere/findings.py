"""Writes what a check has found for programs: as JSON, as annotations of GitHub, as SARIF."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

from quaere.content import check
from quaere.errors import AuthorError, Place, Severity, visible

_GITHUB = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.REMARK: "notice"}
_SARIF = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.REMARK: "note"}
_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"


def as_json(found: Iterable[AuthorError], mendable: Collection[AuthorError], **more: object) -> str:
    """Write findings as JSON; `mendable` are those that `--fix` mends."""
    rows = [
        {
            "severity": one.severity,
            "rule": one.rule,
            "file": one.place.file,
            "line": one.place.line,
            "column": one.place.column,
            "path": one.place.at,
            "problem": one.problem,
            "hint": one.hint,
            "is_mendable": any(one is other for other in mendable),
        }
        for one in found
    ]
    # What a terminal would obey, JSON writes by numbers.
    return visible(json.dumps({"findings": rows, **more}, indent=2), json.dumps)


def as_github(found: Iterable[AuthorError], root: Path) -> str:
    """Write findings as commands of GitHub's workflows, which show each beside its line."""
    return "".join(map(_annotation, found, _files(found, root)))


def as_sarif(found: Sequence[AuthorError], root: Path) -> str:
    """Write findings as SARIF 2.1.0."""
    asked = check.rules()
    names = sorted({one.rule for one in found})
    rules = [{"id": name, **({"shortDescription": {"text": asked[name]}} if name in asked else {})} for name in names]
    results = [
        {
            "ruleId": one.rule,
            "ruleIndex": names.index(one.rule),
            "level": _SARIF[one.severity],
            "message": {"text": visible(_message(one))},
            **_location(one, file),
        }
        for one, file in zip(found, _files(found, root), strict=True)
    ]
    driver = {"name": "quaere", "version": metadata.version("quaere"), "rules": rules}
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _files(found: Iterable[AuthorError], root: Path) -> list[str]:
    """Return the file of each finding from the root of the repository; empty for what is in no file."""
    top = next((folder for folder in (root, *root.parents) if (folder / ".git").exists()), root)

    def file(place: Place) -> str:
        return Path(os.path.relpath(root / place.file, top)).as_posix() if place.file and place.line else ""

    return [file(one.place) for one in found]


def _message(one: AuthorError) -> str:
    path = f" (at {one.place.at})" if one.place.at else ""
    # What is in no file, such as a plugin, is named before it.
    where = f"{one.place}: " if one.place.file and not one.place.line else ""
    return f"{where}{one.problem}{path}" + (f"\nhint: {one.hint}" if one.hint else "")


def _location(one: AuthorError, file: str) -> Mapping[str, Any]:
    if not file:
        return {}
    region = {"startLine": one.place.line, "startColumn": one.place.column}
    return {"locations": [{"physicalLocation": {"artifactLocation": {"uri": quote(file)}, "region": region}}]}


def _annotation(one: AuthorError, file: str) -> str:
    place = {"file": file, "line": one.place.line, "col": one.place.column} if file else {}
    named = ",".join(f"{name}={_property(str(value))}" for name, value in {**place, "title": one.rule}.items())
    return f"::{_GITHUB[one.severity]} {named}::{_data(_message(one))}\n"


def _data(text: str) -> str:
    # A new line would begin a command of its own.
    return visible(text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A"))


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
