"""What MkDocs is told: the settings of mkdocs.yml beside this file, and over them those of the knowledge base."""

from __future__ import annotations

import html
import posixpath
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import ConfigurationError
from mkdocs.utils.yaml import get_yaml_loader, yaml_load

from quaere.content import addresses
from quaere.content.model import Library
from quaere.errors import ConfigError, Faults, Place

FILE = "mkdocs.yml"
_THEME = "material"


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
    own, written = _read(root / FILE)
    known = yaml_load((files("quaere.site") / FILE).read_text(encoding="utf-8"), get_yaml_loader())
    known |= {"site_name": root.name, "nav": _navigation(library)}
    if own.get("repo_url"):
        known["edit_uri"] = f"edit/main/{library.settings.docs}/"
    if "plugins" in own:
        own["plugins"] = _named(own["plugins"])
        known["plugins"] = {name: _named(known["plugins"]).get(name) for name in own["plugins"]}
    merged = _merged(known, own)
    merged["plugins"] = [{name: options or {}} for name, options in _named(merged["plugins"]).items()]
    _check(merged, written)
    config = MkDocsConfig(config_file_path=str(root / FILE))
    config.load_dict({**merged, "docs_dir": str(docs), "site_dir": str(site)})
    errors, _ = config.validate()
    if errors:
        raise Faults(ConfigError(_place(written, name), f"{name}: {error}") for name, error in errors)
    return config


def _read(file: Path) -> tuple[dict[str, Any], str]:
    """Return the settings of a file, and its text; empty without one."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}, ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(Place(FILE), f"the file can't be read: {error}", "save it as UTF-8") from None
    try:
        # MkDocs' own reader tells no place.
        list(yaml.parse(text, Loader=yaml.SafeLoader))
        with file.open("rb") as source:
            settings = yaml_load(source, get_yaml_loader()) if text.strip() else {}
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(FILE, mark.line + 1, mark.column + 1) if mark else Place(FILE)
        raise ConfigError(place, f"not YAML: {error.problem}", "look at the indentation of this line") from None
    except (yaml.YAMLError, ConfigurationError) as error:
        raise ConfigError(Place(FILE), f"not YAML: {error}") from None
    if settings is not None and not isinstance(settings, dict):
        raise ConfigError(Place(FILE), "expected a mapping", "write `name: value`")
    return dict(settings or {}), text


def _check(settings: Mapping[str, Any], written: str) -> None:
    if "quaere" not in _named(settings["plugins"]):
        problem = "`plugins` leaves out `quaere`, and with it every page of the cards"
        raise ConfigError(_place(written, "plugins"), problem, "add `- quaere` to the list, or remove `plugins`")
    for name, instead in (("docs_dir", "`docs` in [tool.quaere]"), ("site_dir", "the option --site")):
        if name in settings:
            problem = f"`{name}` is not read here"
            raise ConfigError(_place(written, name), problem, f"use {instead}, and remove it")
    theme = settings["theme"]
    if isinstance(theme, dict) and "navigation.instant" in (theme.get("features") or ()):
        problem = "`navigation.instant` keeps the first page's policy, and leaves mathematics and diagrams undrawn"
        raise ConfigError(_place(written, "theme"), problem, "remove that feature")
    named = theme.get("name") if isinstance(theme, dict) else theme
    if named != _THEME:
        problem = f"the theme is `{named}`, and the pages are made for `{_THEME}`"
        raise ConfigError(_place(written, "theme"), problem, f"write `name: {_THEME}`, or remove `theme`")


def _place(written: str, name: str) -> Place:
    """Return where a setting stands in mkdocs.yml."""
    found = re.search(rf"^{re.escape(name)}\s*:", written, re.MULTILINE)
    return Place(FILE, written.count("\n", 0, found.start()) + 1 if found else 1)


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
    return named


def _navigation(library: Library) -> list[Any]:
    """Return the lists in their order, then the pages written by hand, by folder."""
    lists: list[Any] = [
        {"Home": addresses.HOME},
        {"Papers": [addresses.PAPERS, addresses.TAGS, addresses.AFFILIATIONS]},
        {"Questions": addresses.QUESTIONS},
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
