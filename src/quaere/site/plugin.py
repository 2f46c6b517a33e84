"""The MkDocs plugin: hands the pages of a knowledge base to MkDocs as generated files. It only wires."""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Any

from mkdocs.config.base import Config
from mkdocs.config.config_options import ExtraScriptValue
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.livereload import LiveReloadServer
from mkdocs.plugins import BasePlugin, event_priority, get_plugin_logger
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from quaere.content.model import Library
from quaere.errors import ConfigError, Faults
from quaere.pages import render
from quaere.project import Project

_log = get_plugin_logger("quaere")


class Settings(Config):  # type: ignore[no-untyped-call]  # MkDocs leaves its hooks untyped
    """The plugin has none: those of a knowledge base stand in its pyproject.toml."""


class QuaerePlugin(BasePlugin[Settings]):  # type: ignore[no-untyped-call]
    """Adds the pages of the knowledge base around mkdocs.yml, and writes out what hand-written pages link to."""

    project: Project
    library: Library

    # mkdocstrings makes its handlers in its own `on_config`, and has to find the answers' states there.
    @event_priority(100)
    def on_config(self, config: MkDocsConfig) -> MkDocsConfig:
        """Read the knowledge base; hand the assets to the theme, and the answers' states to mkdocstrings."""
        try:
            self.project = Project.find(Path(config.config_file_path).parent)
        except (ConfigError, Faults) as error:
            raise PluginError(str(error)) from None
        self.library, faults = self.project.check()
        if faults and config.strict:
            raise PluginError(f"the knowledge base is at fault\n{Faults(faults)}")
        for fault in faults:
            _log.warning(fault)
        self.verdicts = self.project.verdicts()
        config.theme.dirs.insert(1 if config.theme.custom_dir else 0, str(render.THEME))
        config.extra_css.insert(0, "assets/quaere.css")
        script = ExtraScriptValue("assets/quaere.js")
        script.type = "module"
        config.extra_javascript.append(script)
        _hand_links(config, dict(render.answer_links(self.library, self.verdicts)))
        return config

    def on_files(self, files: Files, config: MkDocsConfig) -> Files:
        """Add the generated pages, each with a link that edits what it is made of."""
        sources = render.sources(self.library)
        docs = self.project.settings.docs
        for path, content in self.project.pages(self.library, self.verdicts, config.repo_url or "").items():
            file = File.generated(config, path, content=content)
            if path in sources:
                file.edit_uri = posixpath.relpath(sources[path], docs)
            files.append(file)
        return files

    def on_page_markdown(self, markdown: str, page: Page, **_: Any) -> str:
        """Write out the wikilinks and directives of a page; in those that were generated, there are none left."""
        return render.expand(markdown, page.file.src_uri, self.library, self.verdicts)

    def on_serve(self, server: LiveReloadServer, **_: Any) -> LiveReloadServer:
        """Build anew when a card, the implementation or the evidence changes."""
        root, settings = self.project.root, self.project.settings
        for folder in (root / settings.papers, root / settings.implementation, (root / settings.evidence).parent):
            if folder.is_dir():
                server.watch(str(folder))
        return server


def _hand_links(config: MkDocsConfig, links: dict[str, str]) -> None:
    """Add the extension that shows answers to the options of mkdocstrings' Python handler, if it is in use."""
    if plugin := config.plugins.get("mkdocstrings"):
        handler = plugin.config["handlers"].setdefault("python", {})
        extensions = handler.setdefault("options", {}).setdefault("extensions", [])
        # Under live reload the same configuration comes again.
        extensions[:] = [one for one in extensions if not (isinstance(one, dict) and render.EXTENSION in one)]
        extensions.append({render.EXTENSION: {"links": links}})
