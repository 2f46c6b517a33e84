"""A folder of plain Markdown, from which site generators that run no plugin of ours build the same pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

Files = Mapping[str, str | bytes]


class _Loader(yaml.SafeLoader):
    """Reads plain values; one with a tag, which only the site generator understands, stays a piece of YAML."""


class _Dumper(yaml.SafeDumper):
    """Writes such pieces as they were read."""


class _Piece:
    def __init__(self, node: yaml.Node) -> None:
        self.node = node


for _prefix in ("!", "tag:yaml.org,2002:python/"):
    _Loader.add_multi_constructor(_prefix, lambda loader, suffix, node: _Piece(node))
_Dumper.add_representer(_Piece, lambda dumper, piece: piece.node)


def assemble(
    pages: Files, docs: Files, theme: Files, implementation: Files, config: str, extension: Mapping[str, Any]
) -> dict[str, str | bytes]:
    """Lay out the folder.

    Args:
        pages: The generated pages and assets.
        docs: The pages written by hand, written out, and all other files of their folder.
        theme: Templates that stand in for the theme's.
        implementation: The source files that the pages of modules document.
        config: The text of mkdocs.yml.
        extension: The griffe extension that shows the answers, by its name, with its options.
    """
    laid = {f"docs/{path}": content for path, content in {**docs, **pages}.items()}
    laid |= {f"overrides/{path}": content for path, content in theme.items()}
    return {**laid, **implementation, "mkdocs.yml": _without_plugin(config, pages, extension)}


def _without_plugin(text: str, pages: Files, extension: Mapping[str, Any]) -> str:
    """Write into mkdocs.yml what the plugin does when it runs, and leave the plugin out."""
    config = yaml.load(text, Loader=_Loader)  # a SafeLoader, see above
    config["docs_dir"] = "docs"
    theme = config["theme"] if isinstance(config.get("theme"), dict) else {"name": config.get("theme", "material")}
    # Only the plugin knows which file a generated page is made of; a card's page has a link of its own to it.
    features = [feature for feature in theme.get("features", []) if feature != "content.action.edit"]
    config["theme"] = {**theme, "features": features, "custom_dir": "overrides"}
    plugins = config.get("plugins", ["search"])
    if isinstance(plugins, dict):
        plugins = [{name: options} for name, options in plugins.items()]
    config["plugins"] = [_documented(one, extension) for one in plugins if one != "quaere" and "quaere" not in one]
    styles = [path for path in pages if path.endswith(".css")]
    scripts = [{"path": path, "type": "module"} for path in pages if path.endswith(".js")]
    config["extra_css"] = [*styles, *(config.get("extra_css") or [])]
    config["extra_javascript"] = [*(config.get("extra_javascript") or []), *scripts]
    return yaml.dump(config, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _documented(plugin: object, extension: Mapping[str, Any]) -> object:
    """Add the extension to mkdocstrings, if this is it."""
    if plugin == "mkdocstrings":
        plugin = {"mkdocstrings": None}
    if not isinstance(plugin, dict) or "mkdocstrings" not in plugin:
        return plugin
    handlers = (plugin["mkdocstrings"] or {}).get("handlers") or {}
    python = handlers.get("python") or {}
    options = python.get("options") or {}
    options = {**options, "extensions": [*(options.get("extensions") or []), dict(extension)]}
    return {
        "mkdocstrings": {
            **(plugin["mkdocstrings"] or {}),
            "handlers": {**handlers, "python": {**python, "paths": ["."], "options": options}},
        }
    }
