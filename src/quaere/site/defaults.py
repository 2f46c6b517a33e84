"""The configuration of MkDocs: the mkdocs.yml beside this file, overridden by that of the knowledge base."""

from __future__ import annotations

import html
import os
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.utils.yaml import get_yaml_loader

from quaere.content import addresses, files
from quaere.content.model import Library
from quaere.errors import AuthorError, ConfigError, Faults, Place

FILE = "mkdocs.yml"
_THEME = "material"
_SEARCHES = ("search", "material/search")
"""Plugins for which ours stands: what mkdocs.yml says of them is not read."""
_DEEPEST, _MOST, _LONGEST = 50, 100_000, 4_000
"""Levels of nesting, values with those that aliases stand for, and signs of a number. Settings need far less."""
# What these settings must be for what is done here with them; all others MkDocs checks.
_FORMS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "plugins": ((list, dict), "a list"),
    "theme": ((str, dict), "a name or a mapping"),
    "hooks": ((list,), "a list"),
    "INHERIT": ((str,), "the path of a file"),
}


def load(root: Path, library: Library, site: Path, docs: Path) -> MkDocsConfig:
    """Make the configuration of a site.

    Args:
        root: The folder of the knowledge base. Its mkdocs.yml, if there is one, overrides what it names.
        library: What the site shows; the navigation follows from it where mkdocs.yml names none.
        site: The folder to build in.
        docs: The folder of the pages written by hand.

    Raises:
        ConfigError: mkdocs.yml is no YAML, or leaves out what the pages need.
        Faults: MkDocs refuses settings.
    """
    # MkDocs' own loader, which builds whatever its tags name: this file is trusted, as its hooks are.
    merged, written = _settings(root, library, get_yaml_loader())
    config = MkDocsConfig(config_file_path=str(root / FILE))
    config.load_dict({**merged, "docs_dir": str(docs), "site_dir": str(site)})
    try:
        errors, _ = config.validate()
    except (Exception, SystemExit) as error:
        # Plugins and hooks run here, and MkDocs itself takes some values for what they are not.
        problem = f"MkDocs can't read the settings: {error!r}"
        raise ConfigError(Place(FILE, 0), problem, "look for a value of the wrong type") from error
    if errors:
        raise Faults(
            ConfigError(_place(written, name), f"{name}: {without_trace(str(error))}") for name, error in errors
        )
    return config


def problems(root: Path, library: Library) -> list[AuthorError]:
    """Return what is seen to be wrong in mkdocs.yml while nothing in it runs: no hook, no plugin, and no tag of Python.

    What only MkDocs can tell, the build tells.
    """
    inert = get_yaml_loader(yaml.SafeLoader)
    inert.add_multi_constructor("tag:yaml.org,2002:python/", lambda _loader, named, _node: named)
    try:
        _settings(root, library, inert)
    except Faults as several:
        return [*several.errors]
    except ConfigError as error:
        return [error]
    return []


def _settings(root: Path, library: Library, loader: Any) -> tuple[dict[str, Any], str]:
    """Return the settings of a site, checked as far as MkDocs does not, and the text of mkdocs.yml."""
    own, written = _read(root, FILE, loader)
    known = yaml.load((package_files("quaere.site") / FILE).read_text(encoding="utf-8"), get_yaml_loader())
    known |= {"site_name": root.name, "nav": _navigation(library)}
    if own.get("repo_url"):
        known["edit_uri"] = f"edit/main/{library.settings.docs}/"
    if "plugins" in own:
        own["plugins"] = {name: options for name, options in _named(own["plugins"]).items() if name not in _SEARCHES}
        known["plugins"] = {name: _named(known["plugins"]).get(name) for name in own["plugins"]}
    merged = _merged(known, own)
    merged["plugins"] = [{name: options or {}} for name, options in _named(merged["plugins"]).items()]
    _check(merged, written)
    if faults := list(_of_files(root, merged, written)):
        raise Faults(faults)
    return merged, written


@dataclass(frozen=True)
class Reach:
    """What a build by MkDocs can depend on besides the knowledge base and what is installed.

    Attributes:
        names: Paths from the root, of files and folders.
        environment: The environment variables that mkdocs.yml names, with their values.
        is_known: Whether that is all: hooks, plugins and extensions of others may read whatever they like.
    """

    names: tuple[str, ...]
    environment: Mapping[str, str | None]
    is_known: bool


_KNOWN_PLUGINS = {"quaere", "search", "material/search", "mkdocstrings", "autorefs"}
_KNOWN_EXTENSIONS = re.compile(
    r"(?:markdown\.extensions\.)?(?:abbr|admonition|attr_list|codehilite|def_list|extra|fenced_code|footnotes|md_in_html"
    r"|meta|nl2br|sane_lists|smarty|tables|toc)|pymdownx\.(?!snippets|b64|pathconverter)\w+"
)
_VARIABLES = re.compile(r"!ENV\s*(?:\[([^\]]*)\]|(\S+))")
_CODE = re.compile(r"!!python/\S*?[:/](?!pymdownx\.|material\.extensions\.)")


def reach(root: Path, config: MkDocsConfig) -> Reach:
    """Return what a build with a configuration can depend on."""
    texts = dict(_inherited(root, FILE))
    named = [
        name for text in texts.values() for found in _VARIABLES.findall(text) for name in "".join(found).split(",")
    ]
    variables = {name.strip(" \"'") for name in named}
    read = [*config.watch, *filter(None, [config.theme.custom_dir])]
    # A folder around the knowledge base holds what a build writes; what it reads of that is looked at anyway.
    beside = (root / path for path in read if not root.is_relative_to(os.path.realpath(root / path)))
    names = {*texts, *(posixpath.normpath(os.path.relpath(path, root)) for path in beside)}
    extensions = [one for one in config.markdown_extensions if isinstance(one, str)]
    documented = config.plugins.get("mkdocstrings")
    handler = documented.config["handlers"].get("python") if documented else None
    is_known = (
        not config.hooks
        and set(config.plugins) <= _KNOWN_PLUGINS
        and all(map(_KNOWN_EXTENSIONS.fullmatch, extensions))
        and not any(map(_CODE.search, texts.values()))
        and (handler is None or (isinstance(handler, dict) and not handler.get("inventories")))
        and not any(name.startswith("..") for name in names)
    )
    environment = {name: os.environ.get(name) for name in sorted(variables) if name}
    return Reach(tuple(sorted(names)), environment, is_known)


def _inherited(root: Path, file: str) -> Iterator[tuple[str, str]]:
    """Yield a file of settings, and those that it inherits, with their texts."""
    seen: set[str] = set()
    while file not in seen and (root / file).is_file():
        seen.add(file)
        text = (root / file).read_text(encoding="utf-8")
        yield file, text
        found = re.search(r"^INHERIT\s*:\s*[\"']?([^\"'#\n]+?)[\"']?\s*(?:#.*)?$", text, re.MULTILINE)
        file = posixpath.normpath(posixpath.join(posixpath.dirname(file), found[1])) if found else file


def _read(root: Path, file: str, loader: Any, below: tuple[str, ...] = ()) -> tuple[dict[str, Any], str]:
    """Return the settings of a file over those that it inherits, and its text; empty without one.

    Args:
        root: The folder of the knowledge base.
        file: The file, from there.
        loader: What builds values of its YAML.
        below: The files that inherit it.
    """
    data = files.read(root, file, ConfigError)
    if data is None:
        return {}, ""
    text, faults = files.text(data, file, ConfigError)
    if faults:
        raise faults[0]
    try:
        _measure(text, file)
        settings = yaml.load(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
        raise ConfigError(place, f"not YAML: {error.problem}", "look at the indentation of this line") from None
    except yaml.YAMLError as error:
        raise ConfigError(Place(file), f"not YAML: {error}") from None
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:
        # A tag can call whatever it names, and a mapping can be a key.
        hint = "use no tags except `!ENV`, and no mappings or lists as keys"
        raise ConfigError(Place(file), f"not YAML: {error!r}", hint) from error
    if settings is not None and not isinstance(settings, dict):
        raise ConfigError(Place(file), "expected a mapping", "write `name: value`")
    settings = settings or {}
    for name in settings:
        if not isinstance(name, str):
            raise ConfigError(_place(text, str(name), file), f"`{name}` is no name of a setting", "quote it")
    for name, (forms, wanted) in _FORMS.items():
        if settings.get(name) is not None and not isinstance(settings[name], forms):
            raise ConfigError(_place(text, name, file), f"`{name}`: expected {wanted}")
    if parent := settings.pop("INHERIT", None):
        place, path = _place(text, "INHERIT", file), posixpath.normpath(posixpath.join(posixpath.dirname(file), parent))
        if path in (file, *below):
            raise ConfigError(place, f"`{parent}` inherits from this file", "remove INHERIT from one of them")
        if not (root / path).exists():
            raise ConfigError(place, f"there is no file `{parent}`", "write its path from the folder of this file")
        settings = _merged(_read(root, path, loader, (file, *below))[0], settings)
    return settings, text


def _measure(text: str, file: str) -> None:
    """Reject nesting that is too deep for MkDocs, and aliases that expand to too many values."""
    sizes: dict[str, int] = {}
    open_: list[tuple[str, int]] = []  # each collection's anchor, and how many values it holds so far
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        mark: Any = event.start_mark
        place = Place(file, mark.line + 1, mark.column + 1)
        added = 0
        if isinstance(event, yaml.CollectionStartEvent):
            open_.append((event.anchor or "", 1))
            sizes.pop(event.anchor or "", None)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, added = open_.pop()
            sizes[anchor] = added
        elif isinstance(event, yaml.ScalarEvent):
            added = sizes[event.anchor or ""] = 1
            if len(event.value) > _LONGEST and event.implicit[0] and re.fullmatch(r"[-+\d_.:]+", event.value):
                raise ConfigError(
                    place, f"a number of {len(event.value):,} characters", "quote it if it is meant as text"
                )
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise ConfigError(
                    place, f"*{event.anchor} refers to a value that contains it, or to nothing", "write it out"
                )
            added = sizes[event.anchor]
        if open_:
            anchor, size = open_.pop()
            open_.append((anchor, size + added))
            if len(open_) > _DEEPEST:
                raise ConfigError(place, f"nested more than {_DEEPEST} levels deep", "flatten it")
            if size + added > _MOST:
                raise ConfigError(place, f"more than {_MOST:,} values, counting those of aliases", "write less")


def _of_files(root: Path, settings: Mapping[str, Any], written: str) -> Iterator[ConfigError]:
    """Yield an error for each path that MkDocs would open and that is not a regular file."""
    hooks = [name for name in settings.get("hooks") or () if isinstance(name, str)]
    for file, problem in files.problems(root, hooks):
        yield ConfigError(_place(written, "hooks"), f"`{file}`: {problem[0]}", problem[1])
    theme = settings["theme"]
    folder = theme.get("custom_dir") if isinstance(theme, dict) else None
    if isinstance(folder, str):
        yield from files.below(root, folder, ConfigError)[1]


def _check(settings: Mapping[str, Any], written: str) -> None:
    if "quaere" not in _named(settings["plugins"]):
        problem = "`plugins` leaves out `quaere`, and with it every page of the cards"
        raise ConfigError(_place(written, "plugins"), problem, "add `- quaere` to the list, or remove `plugins`")
    for name, instead in (("docs_dir", "`docs` in [tool.quaere]"), ("site_dir", "the option --site")):
        if name in settings:
            problem = f"`{name}` is not read here"
            raise ConfigError(_place(written, name), problem, f"use {instead}, and remove it")
    theme = settings["theme"]
    if isinstance(theme, dict) and not isinstance(theme.get("features") or [], list):
        raise ConfigError(_place(written, "theme"), "`features`: expected a list", "write each after `- `")
    if isinstance(theme, dict) and "navigation.instant" in (theme.get("features") or ()):
        problem = "`navigation.instant` keeps the first page's policy, and leaves diagrams undrawn"
        raise ConfigError(_place(written, "theme"), problem, "remove that feature")
    named = theme.get("name") if isinstance(theme, dict) else theme
    if named != _THEME:
        problem = f"the theme is `{named}`, and the pages are made for `{_THEME}`"
        raise ConfigError(_place(written, "theme"), problem, f"write `name: {_THEME}`, or remove `theme`")


def without_trace(message: str) -> str:
    """Return a message of MkDocs without the traceback that it may contain."""
    lines = message.strip().split("\n")
    return f"{lines[0]} {lines[-1]}" if any(line.startswith('  File "') for line in lines) else message


def _place(written: str, name: str, file: str = FILE) -> Place:
    """Return the place of a setting in mkdocs.yml, or in a file that it inherits."""
    found = re.search(rf"^{re.escape(name)}\s*:", written, re.MULTILINE)
    return Place(file, written.count("\n", 0, found.start()) + 1 if found else 1)


def _merged(known: Any, own: Any) -> Any:
    """Return what is known with what is named over it; lists and single values are replaced."""
    if not (isinstance(known, dict) and isinstance(own, dict)):
        return known if own is None else own
    return {name: _merged(known.get(name), own.get(name)) for name in {**known, **own}}


def _named(plugins: Any) -> dict[str, Any]:
    """Return plugins by name, with their options; MkDocs takes lists and mappings of them."""
    if isinstance(plugins, dict):
        return plugins
    named: dict[str, Any] = {}
    for plugin in plugins or ():
        named |= plugin if isinstance(plugin, dict) else {str(plugin): None}
    return {str(name): options for name, options in named.items()}


def _navigation(library: Library) -> list[Any]:
    """Return the lists in their order, then the pages written by hand, by folder."""
    lists: list[Any] = [
        {"Home": addresses.HOME},
        {"Papers": [addresses.PAPERS, addresses.LINEAGE, addresses.TAGS, addresses.AFFILIATIONS]},
        {"Questions": addresses.QUESTIONS},
        {"Board": addresses.BOARD},
    ]
    if library.experiments:
        lists.append({"Experiments": addresses.EXPERIMENTS})
    if library.modules:
        lists.append({"Reference": addresses.REFERENCE})
    folders: dict[str, list[str]] = {}
    for path in sorted(set(library.docs) - addresses.LISTS, key=lambda path: (path.count("/"), path)):
        folders.setdefault(path.partition("/")[0] if "/" in path else "", []).append(path)
    lists += folders.pop("", [])
    return lists + [{_title(folder): paths} for folder, paths in folders.items()]


def _title(folder: str) -> str:
    return html.escape(posixpath.basename(folder).replace("-", " ").replace("_", " ").capitalize())
