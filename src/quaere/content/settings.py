"""The settings of a knowledge base: the table `[tool.quaere]` of its pyproject.toml."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from quaere.content import files
from quaere.errors import ConfigError, Faults, Place, nearest


def _below(path: str) -> str:
    """Return a normalized path, if it means the same on every system."""
    is_plain = path.isprintable() and "\\" not in path and len(path) <= 1000
    if not path or not is_plain or path.startswith(("/", "~")) or ".." in path.split("/") or re.match(r"\w:", path):
        raise PydanticCustomError("string_pattern_mismatch", "expected a path relative to this file's folder")
    return PurePosixPath(path).as_posix()


def _variable(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        raise PydanticCustomError("name", "expected the name of a variable: letters, digits and _")
    if name == "PYTHONPATH":
        raise PydanticCustomError("name", "`PYTHONPATH` is set already: answers import from this file's folder")
    return name


def _value(text: str) -> str:
    if "\0" in text:
        raise PydanticCustomError("value", "the value of a variable can't hold U+0000")
    return text


def _distribution(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?", name, re.IGNORECASE | re.ASCII) or len(name) > 200:
        raise PydanticCustomError("name", "expected the name of a distribution")
    if name in _COLUMNS:
        raise PydanticCustomError("name", f"`{name}` is the name of another field beside the versions")
    return name


def _module(name: str) -> str:
    if not all(part.isidentifier() for part in name.split(".")):
        raise PydanticCustomError("name", "expected the name of a module")
    return name


Below = Annotated[str, AfterValidator(_below)]
Text = Annotated[str, Field(min_length=1)]
# What a table of questions holds besides the versions, and Python, which is always part of them.
_COLUMNS = frozenset(
    {"paper", "id", "ask", "state", "asked", "answer", "module", "line", "verified_at", "seconds", "python"}
)


class Settings(BaseModel):
    """The `[tool.quaere]` table of pyproject.toml. Paths are relative to its folder."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    papers: Below = Field(default="papers", description="the folder of the cards")
    bibliography: Below = Field(default="papers/references.bib", description="the bibliography, BibTeX or BibLaTeX")
    implementation: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")] = Field(
        default="reference_impl", description="the package whose docstrings contain the answers"
    )
    tests: Below = Field(default="tests/papers", description="the folder of the papers' tests")
    docs: Below = Field(default="docs", description="the folder of the hand-written pages")
    templates: Below = Field(default="templates", description="the folder of templates that override the package's")
    extra: Below = Field(
        default="papers/extra.schema.json", description="the JSON Schema of the cards' own fields, their `extra`"
    )
    evidence: Below = Field(default=".quaere/evidence.json", description="the file of verdicts")
    benchmarks: Below = Field(default="benchmarks/results.json", description="the file of the benchmarks' results")
    every_entry_cited: bool = Field(
        default=False, description="whether an entry of the bibliography that no card cites is an error"
    )
    tags: list[str] | None = Field(default=None, description="the tags that cards may have; any, if absent")
    families: dict[Text, Annotated[list[Text], Field(min_length=1)]] = Field(
        default={}, description="affiliations that belong together, by the name of each family"
    )
    versions: list[Annotated[str, AfterValidator(_distribution)]] = Field(
        default=[], description="distributions, besides Python, whose versions answers depend on"
    )
    timeout: float = Field(default=60, gt=0, le=86400, description="the time limit of an answer in seconds")
    install: str = Field(
        default="pip install -e .",
        description="the command that installs what answers need, in a clone of the repository",
    )
    renamed: Below = Field(
        default="renamed.txt", description="the file of former names in the implementation, each with its current name"
    )
    preload: list[Annotated[str, AfterValidator(_module)]] = Field(
        default=[], description="modules that are imported once for all answers"
    )
    environment: dict[Annotated[str, AfterValidator(_variable)], Annotated[str, AfterValidator(_value)]] = Field(
        default={}, description="environment variables of the processes that run answers"
    )


def read(file: Path) -> Settings | None:
    """Read the `[tool.quaere]` table of a file; None if there is no such file, or no such table in it.

    Raises:
        ConfigError: The file can't be read.
        Faults: The table holds what it may not; all that is wrong with it.
    """
    # From the root of all folders, so that the place is the whole path, and a link may lead anywhere.
    if (data := files.read(Path(file.anchor), str(file), ConfigError)) is None:
        return None
    text, faults = files.text(data, str(file), ConfigError)
    if faults:
        raise faults[0]
    try:
        tool = tomllib.loads(text).get("tool")
    except (ValueError, RecursionError) as error:
        if "[tool.quaere" not in text:
            return None
        if isinstance(error, RecursionError):
            raise ConfigError(Place(str(file)), "not TOML: it nests too deep") from None
        if text.startswith("\ufeff"):
            problem, hint = "the file starts with a byte-order mark", "save it as UTF-8 without BOM"
            raise ConfigError(Place(str(file), 1, 1), problem, hint) from None
        problem, *place = re.split(r" \(at line (\d+), column (\d+)\)", str(error))
        line, column = map(int, place[:2] or (text.count("\n") + 1, 1))
        problem, hint = f"not TOML: {problem[:1].lower()}{problem[1:]}", "look at the quotes and brackets of this line"
        raise ConfigError(Place(str(file), line, column), problem, hint) from None
    if not isinstance(tool, dict) or "quaere" not in tool:
        return None
    try:
        settings = Settings.model_validate(tool["quaere"])
        if faults := [_fault(file, text, (name,), *told) for name, *told in _misplaced(file.parent, settings)]:
            raise Faults(faults)
        return settings
    except ValidationError as error:
        raise Faults(
            _setting_fault(file, text, one["loc"], one["type"], one["msg"]) for one in error.errors()
        ) from None


def fault(file: Path, path: tuple[str, ...], problem: str, hint: str) -> ConfigError:
    """Return a fault of a setting that only the rest of the knowledge base shows, with the setting's line."""
    data = files.read(Path(file.anchor), str(file), ConfigError) or b""
    return _fault(file, files.text(data, str(file), ConfigError)[0], path, problem, hint)


_FOLDERS = ("papers", "implementation", "docs", "templates")
_WRITTEN = ("evidence", "benchmarks")
_READ = ("bibliography", "tests", "renamed", "extra")
_TAKEN = ("pyproject.toml", "mkdocs.yml", ".git", ".quaere/runs", ".quaere/cache")


def places(root: Path, settings: Settings) -> dict[str, Path]:
    """Return the resolved path of each part, by the name of its setting."""
    names = (*_FOLDERS, *_WRITTEN, *_READ)
    return {name: Path(os.path.realpath(root / getattr(settings, name))) for name in names}


def _misplaced(root: Path, settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Yield the name, the problem and a hint for each setting whose path is not allowed.

    All that a folder holds becomes cards, modules, pages or templates, and a file is written over. So none of them may
    be another one, or lie in it, once links are followed. What is only read may lie in a folder, and hold others.
    """
    root, found = Path(os.path.realpath(root)), places(root, settings)
    told: dict[str, tuple[str, str]] = {}
    for name, place in found.items():
        value = getattr(settings, name)
        # Of a place that nobody named, whoever reads it tells what lies there.
        is_named, is_folder = name in settings.model_fields_set, name in (*_FOLDERS, "tests")
        is_used = is_named or name == "evidence" or (is_folder and place.is_dir())
        if is_used and (root == place or root not in place.parents):
            told[name] = f"`{value}` is this file's folder, or outside of it", "name a place in the folder"
        elif is_named and place.exists() and place.is_dir() != is_folder:
            told[name] = f"`{value}` is {'a folder' if place.is_dir() else 'no folder'}", "name another"
        elif name == "evidence" and value != Settings().evidence and not _may_be_evidence(place):
            told[name] = f"`{value}` contains something other than verdicts", "name a new file"
    taken = {name: Path(os.path.realpath(root / name)) for name in _TAKEN}
    for (one, here), (other, there) in combinations({**taken, **found}.items(), 2):
        is_read = {one, other} & set(_READ)
        if here == there or ((here in there.parents or there in here.parents) and not is_read):
            name, beside = (one, other) if one in settings.model_fields_set else (other, one)
            if name in settings.model_fields_set and not is_read >= {name, beside}:
                problem = f"`{getattr(settings, name)}` and the path of `{beside}` overlap"
                told.setdefault(name, (problem, "name another"))
    yield from ((name, *fault) for name, fault in told.items())


def _may_be_evidence(file: Path) -> bool:
    """Tell whether a file is absent or begins like evidence; a corrupt one is set aside later."""
    if not file.is_file():
        return True
    try:
        with file.open("rb") as opened:
            return bool(re.match(rb'\s*(\{\s*"schema"\s*:|$)', opened.read(1000)))
    except OSError:
        return True  # it can't be written to, either


_WANTED = {
    "string_type": "expected text",
    "string_too_short": "this is empty",
    "too_short": "this is empty",
    "bool_type": "expected true or false",
    "list_type": "expected a list",
    "dict_type": "expected a table",
    "model_type": "expected a table",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "greater_than": "expected a number of seconds above 0",
    "less_than_equal": "expected a number of seconds, at most a day",
}


def _setting_fault(file: Path, text: str, path: tuple[str | int, ...], kind: str, message: str) -> ConfigError:
    if path and path[0] in ("environment", "families") and path[-1] == "[key]":
        path = path[:-1]
    if path and path[0] not in Settings.model_fields:
        known = Settings.model_fields
        return _fault(file, text, path, f"unknown setting `{_shown(path[0])}`", nearest(str(path[0]), known))
    if kind == "string_pattern_mismatch":
        wanted = "the name of a package" if path[0] == "implementation" else "a path relative to this file's folder"
        return _fault(file, text, path, f"expected {wanted}")
    return _fault(file, text, path, _WANTED.get(kind, message[:1].lower() + message[1:]))


def _fault(file: Path, text: str, path: tuple[str | int, ...], problem: str, hint: str = "") -> ConfigError:
    name, lines = str(path[0]) if path else "quaere", text.split("\n")
    header = next((n for n, line in enumerate(lines, 1) if re.match(r"\s*\[+\s*tool\s*\.\s*quaere\b", line)), 1)
    here = re.compile(rf"\s*(\[tool\.quaere\.)?\"?{re.escape(name)}\b")
    line = next((n for n in range(header, len(lines) + 1) if here.match(lines[n - 1])), header)
    at = "tool.quaere" + "".join(f".{_shown(part)}" for part in path)
    return ConfigError(Place(str(file), line, at=at), problem, hint)


def _shown(part: str | int) -> str:
    """Return a name so that a terminal shows it and does nothing else."""
    text = str(part)
    return (text if text.isprintable() else ascii(text)[1:-1])[:100]
