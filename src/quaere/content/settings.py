"""The settings of a knowledge base: the table `[tool.quaere]` of its pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from quaere.errors import ConfigError, Faults, Place, nearest


def _below(path: str) -> str:
    if not path or path.startswith("/") or ".." in path.split("/"):
        raise PydanticCustomError("string_pattern_mismatch", "expected a path from this file's folder")
    return path


Below = Annotated[str, AfterValidator(_below)]


class Settings(BaseModel):
    """The `[tool.quaere]` table of pyproject.toml. Paths are relative to its folder."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    papers: Below = Field(default="papers", description="the folder of the cards")
    bibliography: Below = Field(default="papers/references.bib", description="the bibliography, BibTeX or BibLaTeX")
    implementation: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")] = Field(
        default="reference_impl", description="the package whose docstrings answer"
    )
    tests: Below = Field(default="tests/papers", description="the folder of the papers' tests")
    docs: Below = Field(default="docs", description="the folder of the pages written by hand")
    templates: Below = Field(default="templates", description="the folder of templates that stand in for ours")
    evidence: Below = Field(default=".quaere/evidence.json", description="the file of verdicts")
    benchmarks: Below = Field(default="benchmarks/results.json", description="the file of the benchmarks' result")
    every_entry_cited: bool = Field(
        default=False, description="whether an entry of the bibliography that no card cites is a fault"
    )
    tags: list[str] | None = Field(default=None, description="the tags that cards may carry; any, if absent")
    versions: list[str] = Field(
        default=[], description="distributions whose versions answers depend on, besides Python"
    )
    timeout: float = Field(default=60, gt=0, le=86400, strict=False, description="seconds that an answer may take")
    preload: list[str] = Field(default=[], description="modules that are imported once for all answers that run")
    environment: dict[str, str] = Field(default={}, description="variables of the process that runs answers")


def read(file: Path) -> Settings | None:
    """Read the `[tool.quaere]` table of a file; None if there is no such file, or no such table in it.

    Raises:
        ConfigError: The file can't be read.
        Faults: The table holds what it may not; all that is wrong with it.
    """
    try:
        text = file.read_text(encoding="utf-8")
        tool = tomllib.loads(text).get("tool")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError:
        raise ConfigError(Place(str(file)), "the file is not UTF-8", "save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        if "[tool.quaere" not in text:
            return None
        problem, *place = re.split(r" \(at line (\d+), column (\d+)\)", str(error))
        line, column = map(int, place[:2] or (text.count("\n") + 1, 1))
        problem, hint = f"not TOML: {problem[:1].lower()}{problem[1:]}", "look at the quotes and brackets of this line"
        raise ConfigError(Place(str(file), line, column), problem, hint) from None
    if not isinstance(tool, dict) or "quaere" not in tool:
        return None
    try:
        settings = Settings.model_validate(tool["quaere"])
        if faults := list(_overlaps(file, text, settings)):
            raise Faults(faults)
        return settings
    except ValidationError as error:
        raise Faults(
            _setting_fault(file, text, one["loc"], one["type"], one["msg"]) for one in error.errors()
        ) from None


def _overlaps(file: Path, text: str, settings: Settings) -> Iterator[ConfigError]:
    """Yield a fault for a folder in which what lies beside the cards would become a page or a template."""
    cards = PurePosixPath(settings.papers)
    for name in ("docs", "templates"):
        other = PurePosixPath(getattr(settings, name))
        if cards.is_relative_to(other) or other.is_relative_to(cards):
            fault = _setting_fault(file, text, (name,), "", f"`{other}` and the folder of the cards lie in each other")
            yield ConfigError(fault.place, fault.problem, "name a folder beside it")


_WANTED = {
    "string_type": "expected text",
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
    name, lines = str(path[0]) if path else "quaere", text.split("\n")
    header = next((n for n, line in enumerate(lines, 1) if re.match(r"\s*\[+\s*tool\s*\.\s*quaere\b", line)), 1)
    here = re.compile(rf"\s*(\[tool\.quaere\.)?\"?{re.escape(name)}\b")
    line = next((n for n in range(header, len(lines) + 1) if here.match(lines[n - 1])), header)
    place = Place(str(file), line, at="tool.quaere" + "".join(f".{part}" for part in path))
    if path and name not in Settings.model_fields:
        return ConfigError(place, f"unknown setting `{name}`", nearest(name, Settings.model_fields))
    if kind == "string_pattern_mismatch":
        wanted = "the name of a package" if name == "implementation" else "a path from this file's folder"
        return ConfigError(place, f"expected {wanted}")
    return ConfigError(place, _WANTED.get(kind, message[:1].lower() + message[1:]))
