"""Begin a knowledge base in a folder: what it lacks is made, and what is there stays as it is."""

from __future__ import annotations

import datetime
import html
import json
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from importlib.resources import files as package_files
from pathlib import Path

from quaere.authoring import schema
from quaere.authoring.changes import Change, Changes
from quaere.content import files
from quaere.content.bibliography.bibtex import Bibliography
from quaere.content.load import load
from quaere.content.model import VERSION, Library
from quaere.content.private import without_private
from quaere.content.settings import Settings, read
from quaere.errors import MisuseError, Place

_EXAMPLE = "attention"
_WORKFLOW = ".github/workflows/site.yml"
_DEEP = 3
"""Levels of folders in which a bibliography or notes are looked for."""
_LEFT_OUT = {"node_modules", "site", "site-offline", "venv"}
_NO_NOTES = re.compile(r"(?i)(readme|changelog|contributing|code_of_conduct|security|license|authors)\.\w+")


@dataclass(frozen=True)
class Begun:
    """What is made in a folder, what is not, and what to do next.

    Attributes:
        changes: The files that are made.
        about: What each of them is.
        kept: What is not made, with the reason or what it lacks; mostly there is nothing to say.
        next: Commands, each with what it does.
    """

    changes: Changes
    about: Mapping[str, str]
    kept: Mapping[str, str]
    next: Mapping[str, str]


def begin(root: Path, today: datetime.date) -> Begun:
    """Find what a folder lacks of a knowledge base.

    Args:
        root: The folder; it need not be there.
        today: When the example's questions are asked.

    Raises:
        MisuseError: There is something else where a folder is needed.
        ConfigError, Faults: The folder has settings that can't be read.
    """
    own = read(root / "pyproject.toml")
    settings, has_settings = own or Settings(), _is_there(root, "pyproject.toml")
    bibliographies, notes = _look(root, settings)
    if not has_settings and len(bibliographies) == 1:
        settings = settings.model_copy(update={"bibliography": bibliographies.pop()})
    git, papers, package = _Git.of(root), settings.papers, settings.implementation
    making = _Making(root, _values(root, settings, git, today))

    # First what makes the folder a knowledge base, so that any command completes the rest after a kill.
    has_cards = any(True for _ in (root / papers).rglob("*.yml"))
    has_bibliography = _is_there(root, settings.bibliography)
    if not (has_cards or has_bibliography):
        making.make(f"{papers}/{_EXAMPLE}.yml", "card.yml", "an example card")
        making.make(f"{package}/{_EXAMPLE}.py", "module.python", "code that answers one of its questions")
        making.make(f"{package}/__init__.py", "", "makes that folder a package")
    elif not has_cards and (key := _first_key(root, settings.bibliography)):
        making.values |= {
            "key": key if re.fullmatch(r"[A-Za-z]{2,}\d{4}\w*", key) else _quoted(key),
            "slug": (slug := _slug(key)),
        }
        making.make(f"{papers}/{slug}.yml", "first.yml", "a card for the first entry of your bibliography")
    making.make(settings.bibliography, "" if has_cards else "references.bib", "the bibliography")
    library = _library(root, settings, making.texts, has_cards=has_cards)
    making.put(f"{papers}/{schema.NAME}", schema.schema(library), "what an editor proposes in cards: `quaere schema`")
    making.make("pyproject.toml", "settings.toml", "the settings")
    if not any(_is_there(root, f"{settings.docs}/{name}") for name in ("README.md", "readme.md")):
        making.make(f"{settings.docs}/index.md", "index.md", "the start page")
    making.make("mkdocs.yml", "mkdocs.yml", "the name of the site, and its address")
    making.make("requirements.txt", "requirements.txt", "what builds the site", r"quaere", "quaere[site]")
    making.make(".gitignore", "gitignore", "what git leaves out", r"^/?site/?$", "/site/ and .quaere/")
    schemas = f'"yaml.schemas": {{"{papers}/{schema.NAME}": "{papers}/*.yml"}}'
    making.make(".vscode/settings.json", "vscode.json", "completes and explains cards", r"yaml\.schemas", schemas)
    making.make(
        ".vscode/extensions.json", "extensions.json", "the extension that does so", "vscode-yaml", "redhat.vscode-yaml"
    )
    if git.root in (None, root):
        making.make(_WORKFLOW, "site.yml", "checks each change, and publishes the site", "quaere", "`quaere build`")
    else:
        making.kept[_WORKFLOW] = f"not made: GitHub reads it in the repository's folder, {git.root}"
    for file in sorted(bibliographies - {settings.bibliography}):
        making.kept[file] = f"to use it, set `bibliography = {_quoted(file)}` under [tool.quaere] in pyproject.toml"
    next = {"quaere serve": "shows the site, and follows what you write"}
    if making.kept.keys() & {settings.bibliography} and not has_cards:
        next[f"quaere add --card {shlex.quote(settings.bibliography)}"] = "makes cards of all its entries"
    if notes:
        next[f"quaere import {shlex.join(notes)}"] = "makes cards of these notes"
    count = len(making.texts)
    said = f"made {count} file{'s' * (count != 1)}" if count else "nothing is missing here"
    changes = Changes.of(said, [Change(file, None, text) for file, text in making.texts.items()])
    _refuse_files(root, changes.files)
    return Begun(changes, making.about, dict(sorted(making.kept.items())), next)


class _Making:
    """Collects the texts of what is made, and notes what is there."""

    def __init__(self, root: Path, values: Mapping[str, str]) -> None:
        self.root, self.values = root, dict(values)
        self.texts: dict[str, str] = {}
        self.about: dict[str, str] = {}
        self.kept: dict[str, str] = {}

    def make(self, file: str, template: str, about: str, pattern: str = "", wanted: str = "") -> None:
        """Make a file of a template, whose `@name@` stand for values; an empty one without a template.

        Of a file that is there, tell if it lacks what is wanted, by a pattern.
        """
        text = (package_files("quaere.authoring") / "begun" / template).read_text(encoding="utf-8") if template else ""
        if self.put(file, re.sub(r"@(\w+)@", lambda name: self.values[name[1]], text), about) or not pattern:
            return
        data = files.read(self.root, file, MisuseError) or b""
        if not re.search(pattern, data.decode(errors="replace"), re.MULTILINE):
            self.kept[file] = f"it lacks {wanted}"

    def put(self, file: str, text: str, about: str) -> bool:
        """Make a file, unless it is there."""
        if _is_there(self.root, file):
            self.kept[file] = ""
            return False
        self.texts[file], self.about[file] = text, about
        return True


@dataclass(frozen=True)
class _Git:
    """What git knows of a folder: who works there, the repository's folder, and its address on the web."""

    name: str
    root: Path | None
    address: str

    @classmethod
    def of(cls, folder: Path) -> _Git:
        there = next(one for one in (folder, *folder.parents) if one.is_dir())
        top = cls._say(there, "rev-parse", "--show-toplevel")
        # Never with the name and the password that an address may hold.
        remote = cls._say(there, "remote", "get-url", "origin") if top else ""
        host = re.fullmatch(r"(?:\w+://)?(?:[^@/]*@)?([\w.-]+\.\w+)(?::\d+/|[:/])([\w./~-]+?)(?:\.git)?/?", remote)
        address = f"https://{host[1]}/{host[2]}" if host and Path(top) == folder else ""
        return cls(cls._say(there, "config", "user.name"), Path(top) if top else None, address)

    @staticmethod
    def _say(folder: Path, *words: str) -> str:
        try:
            done = subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, timeout=10, check=True)
        except (OSError, subprocess.SubprocessError, ValueError):
            return ""
        return done.stdout.strip()


def _values(root: Path, settings: Settings, git: _Git, today: datetime.date) -> dict[str, str]:
    """Return what the templates leave open."""
    name, version = root.name or "library", metadata.version("quaere").split(".")
    # In a heading, a name is no Markdown.
    plain = (
        name if re.fullmatch(r"[\w .-]+", name) else re.sub(r"([\\`*_\[\]#])", r"\\\1", html.escape(name, quote=False))
    )
    # What comes after may read cards otherwise: of version 0.x the next x, later the next whole number.
    later = f"0.{int(version[1]) + 1}" if version[0] == "0" else str(int(version[0]) + 1)
    return {
        "title": plain,
        "site_name": _quoted(name),
        "author": _quoted(git.name or name),
        "repo_url": _quoted(git.address),
        "today": today.isoformat(),
        "schema": str(VERSION),
        "version": f">={'.'.join(version[:2])},<{later}",
        "papers": settings.papers,
        "bibliography": _quoted(settings.bibliography),
        "implementation": settings.implementation,
    }


def _quoted(text: str) -> str:
    """Return a text in quotes that YAML, TOML and JSON read."""
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _slug(key: str) -> str:
    return re.sub(r"^(?=[^a-z])", "p", re.sub(r"[^a-z0-9]+", "_", key.lower()).strip("_"))


def _is_there(root: Path, file: str) -> bool:
    return os.path.lexists(root / file)


def _look(root: Path, settings: Settings) -> tuple[set[str], list[str]]:
    """Return the bibliographies in a folder, and the folders and files that hold notes."""
    bibliographies: set[str] = set()
    notes: set[str] = set()
    taken = {settings.docs, settings.implementation, settings.templates, *_LEFT_OUT}
    for file in _below(root, _DEEP):
        if file.suffix == ".bib":
            bibliographies.add(file.as_posix())
        is_note = file.suffix.lower() in (".md", ".markdown") and not _NO_NOTES.fullmatch(file.name)
        if is_note and file.parts[0] not in taken:
            notes.add(file.parts[0])
    return bibliographies, sorted(notes)


def _below(root: Path, levels: int, within: Path = Path()) -> Iterator[Path]:
    if not (root / within).is_dir():
        return
    for entry in sorted(os.scandir(root / within), key=lambda entry: entry.name):
        if entry.name.startswith(".") or entry.name in _LEFT_OUT or not entry.name.isprintable():
            continue
        if entry.is_file(follow_symlinks=False):
            yield within / entry.name
        elif entry.is_dir(follow_symlinks=False) and levels > 1:
            yield from _below(root, levels - 1, within / entry.name)


def _first_key(root: Path, bibliography: str) -> str:
    """Return the key of the first entry of a bibliography without a fault; empty if there is none."""
    data = files.read(root, bibliography, MisuseError) or b""
    book = Bibliography(files.text(data, bibliography, MisuseError)[0], bibliography)
    for key in book.entries:
        found, faults = book.references([key])
        if key in found and not faults:
            return key
    return ""


def _library(root: Path, settings: Settings, texts: Mapping[str, str], *, has_cards: bool) -> Library:
    """Return the library that there will be."""
    if has_cards:
        return without_private(load(root, settings, {})[0])
    with tempfile.TemporaryDirectory() as folder:
        known = files.read(root, settings.bibliography, MisuseError)
        for file, data in {
            settings.bibliography: known,
            **{name: text.encode() for name, text in texts.items()},
        }.items():
            if data is not None:
                path = Path(folder, file)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        return load(Path(folder), settings, {})[0]


def _refuse_files(root: Path, names: Iterable[str]) -> None:
    """Refuse to begin where something else stands in the place of a folder, before anything is made."""
    for folder in dict.fromkeys(parent for name in names for parent in reversed((root / name).parents)):
        if os.path.lexists(folder) and not folder.is_dir():
            raise MisuseError(Place(str(folder), 0), "this is no folder", "move it, or choose another folder")
