"""The MkDocs plugin: MkDocs builds the hand-written pages, the modules' pages and the shells of all others.

MkDocs knows the paths and anchors of generated pages, so that it checks links to them. Their content is put into a
shell at the end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import html
import os
import posixpath
import re
from collections.abc import Iterable, Mapping
from functools import partial
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from markupsafe import Markup
from mkdocs.commands.build import get_context
from mkdocs.config.base import Config
from mkdocs.config.config_options import ExtraScriptValue
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.livereload import LiveReloadServer
from mkdocs.plugins import BasePlugin, event_priority, get_plugin_logger
from mkdocs.structure.files import File, Files, InclusionLevel, file_sort_key, set_exclusions
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page as MkDocsPage
from mkdocs.structure.toc import AnchorLink, TableOfContents
from mkdocs.utils import write_file

from quaere.content import addresses
from quaere.content import files as content_files
from quaere.content.model import Library
from quaere.errors import AuthorError, ConfigError, Faults, PageError, Place, PrivacyError
from quaere.pages import render, search, seen, sitemap
from quaere.pages.compiled import Compiled
from quaere.pages.page import Heading
from quaere.pages.view import Here, View
from quaere.project import Project
from quaere.site import equations, handwritten, offline, policy
from quaere.site.equations import Equations
from quaere.site.front import Front
from quaere.site.handwritten import Written
from quaere.site.shell import (
    BODY,
    CANONICAL,
    CONTENTS,
    DESCRIPTION,
    EDITED,
    FIRST,
    HEAD,
    TITLE,
    Contents,
    Kind,
    Shell,
    meta,
)

THEME = package_files("quaere.site") / "theme"
"""What stands in for the theme's templates, and what the pages need besides themselves."""

_STYLES = ("assets/quaere.css", "assets/search.css")
_SCRIPTS = ("assets/render.js", "assets/quaere.js", "assets/search.js", "assets/facets.js", "assets/lineage.js")
_ANSWERS = "quaere.content.answers.AnswersExtension"

_log = get_plugin_logger("quaere")


class Settings(Config):  # type: ignore[no-untyped-call]  # MkDocs leaves its hooks untyped
    """The plugin has no options: the settings of a knowledge base are in its pyproject.toml."""


class _Made(File):
    """A page that MkDocs knows by name only: links, navigation and anchors are checked against it."""

    def is_documentation_page(self) -> bool:
        return False

    def is_media_file(self) -> bool:
        return False

    def copy_file(self, dirty: bool = False) -> None:
        pass


class _AnyAnchor(set[str]):
    """The anchors of a page that is not there yet: links to them are followed once it is."""

    def __contains__(self, id: object) -> bool:
        return True


class QuaerePlugin(BasePlugin[Settings]):  # type: ignore[no-untyped-call]
    """Builds the pages of the knowledge base that contains mkdocs.yml."""

    project: Project
    library: Library
    view: View
    front: Front
    asked: Mapping[str, str]
    """What MkDocs' run itself asked of the library, with digests of the answers."""
    is_served = False
    _is_given = False

    def use(self, project: Project, library: Library, *, is_served: bool) -> None:
        """Use a library that was read and checked, and leave the generated pages to the caller.

        Otherwise the plugin reads the library that contains mkdocs.yml, and writes all pages.
        """
        self.project, self.library, self.is_served, self._is_given = project, library, is_served, True

    def on_startup(self, *, command: str, dirty: bool) -> None:
        """Remember whether MkDocs itself serves."""
        self.is_served = command == "serve"

    # mkdocstrings makes its handlers in its own `on_config`, and has to find the extension there.
    @event_priority(100)
    def on_config(self, config: MkDocsConfig) -> MkDocsConfig:
        """Read the knowledge base, if needed, and complete the configuration of MkDocs, the theme and mkdocstrings."""
        if not self._is_given:
            self._read(config)
        self._path, self._noting = addresses.HOME, contextlib.ExitStack()
        config.theme.dirs.insert(1 if config.theme.custom_dir else 0, str(THEME))
        # MkDocs' own names the day of the build for each page.
        config.theme.static_templates.discard("sitemap.xml")
        config.extra_css[:0] = [path for path in _STYLES if path not in config.extra_css]
        for path in _SCRIPTS:
            script = ExtraScriptValue(path)
            script.type = "module"
            config.extra_javascript.append(script)
        config.markdown_extensions.append(handwritten.Wikilinks(lambda: Here(self.view, self._path)))  # type: ignore[arg-type]
        _show_answers(config)
        return config

    def _read(self, config: MkDocsConfig) -> None:
        try:
            self.project = Project.find(Path(config.config_file_path).parent)
            self.library, faults = self.project.check()
        except (AuthorError, Faults) as error:
            raise PluginError(str(error)) from None
        if faults and (config.strict or any(isinstance(fault, PrivacyError) for fault in faults)):
            raise PluginError(f"the knowledge base has errors\n{Faults(faults)}")
        for fault in faults:
            _log.warning(fault)

    @event_priority(-100)
    def on_pre_build(self, *, config: MkDocsConfig) -> None:
        """Have MkDocs find no pages: it would follow every link, even in circles, and wait for what is no file."""
        self._docs, config.docs_dir = config.docs_dir, os.devnull
        # By now mkdocstrings has made what renders the documentation of modules.
        plugin = config.plugins.get("mkdocstrings")
        if plugin and plugin.plugin_enabled:
            env = plugin.get_handler("python").env
            env.bytecode_cache = Compiled(f"mkdocstrings {sorted(env.extensions)}")

    @event_priority(100)
    def on_files(self, files: Files, config: MkDocsConfig) -> Files:
        """Name all pages, those written by hand too, and add the modules' pages, other files, and attachments."""
        has_folders = config.use_directory_urls
        config.docs_dir = self._docs
        for file in _written_by_hand(config):
            files.append(file)
        # What no page loads, and the theme's template of a sitemap, which is no file now that MkDocs makes none of it.
        for path in (equations.SCRIPT, offline.MERMAID, sitemap.SITEMAP):
            if path not in self.library.files and (unused := files.get_file_from_path(path)):
                files.remove(unused)
        self.library = _without_excluded(self.library, files)
        found = re.search(r"\b(?:edit|blob|src)/([^/]+)/", config.edit_uri or "")
        shown = {
            "repo": config.repo_url or "",
            "branch": found[1] if found else "main",
            "name": config.site_name,
            "has_folders": has_folders,
            "has_documentation": "mkdocstrings" in config.plugins,
            "site_url": config.site_url or "",
            "description": config.site_description or "",
        }
        self.view = self.project.view(self.library, **shown)
        has_tabs = "navigation.tabs" in (config.theme.get("features") or ())
        docs = frozenset(self.library.docs)
        self.front = Front(shown, has_tabs, docs, make=partial(self._shell, config))
        self._pages = {output.path: output for output in render.page_outputs(self.view)}
        for path in (*self._pages, *(output.path for output in render.file_outputs(self.view))):
            is_page = path in self._pages
            written = addresses.file(path, has_folders) if is_page else path
            made = _Made(path, None, config.site_dir, has_folders, dest_uri=written)
            made.inclusion = InclusionLevel.NOT_IN_NAV if is_page else InclusionLevel.INCLUDED
            files.append(made)
        self._modules = {addresses.module(module.name): module for module in self.library.modules}
        for module in self.library.modules:
            text = f"::: {module.name}\n" if "mkdocstrings" in config.plugins else ""
            file = File.generated(config, addresses.module(module.name), content=text)
            file.inclusion = InclusionLevel.NOT_IN_NAV
            file.edit_uri = posixpath.relpath(module.file, self.library.settings.docs)
            files.append(file)
        for path, source in self.library.attachments.items():
            files.append(File.generated(config, path, abs_src_path=str(self.project.root / source)))
        self._equations = Equations(self.view.kept)
        self._numbers = search.numbers(self.library.pages)
        self._entries: list[search.Entry] = []
        self._words = search.Words()
        return files

    def on_nav(self, nav: Navigation, config: MkDocsConfig, files: Files) -> Navigation:
        """Give each generated page its title and its place."""
        self._nav = nav
        # What is asked from here on, all of MkDocs' run depends on.
        self.asked = self._noting.enter_context(seen.noting(self.view))
        for path, output in self._pages.items():
            file = files.src_uris[path]
            named = file.page or MkDocsPage(None, file, config)
            if named.title is None:
                named.title = html.escape(output.title)
            named.present_anchor_ids = _AnyAnchor()
        # A card stands where the list of cards stands, a further page of a list where its first does, and a module's
        # pages where their list does.
        self._places: dict[str, Any] = {
            posixpath.dirname(addresses.part(path, 2)): page.parent or page
            for path in addresses.LISTS
            if (page := _page(files, path))
        }
        self._places[posixpath.dirname(addresses.code(""))] = self._places.get(posixpath.dirname(addresses.module("")))
        return nav

    def on_page_markdown(self, markdown: str, page: MkDocsPage, **_: Any) -> str:
        """Remember whose wikilinks come next."""
        self._path = page.file.src_uri
        return markdown

    def on_page_content(self, content: str, page: MkDocsPage, **_: Any) -> str:
        """Mark the content of a page, which is completed once it is all there."""
        path = page.file.src_uri
        module = self._modules.get(path) if path not in self.library.docs else None
        if module is None:
            if "title" not in page.meta and page._title_from_render is None:
                page.title = html.escape(str(page.title))  # it is that of the file
            content = handwritten.sized(self.view, page.url, content)
            if handwritten.has_parts(content):
                page.present_anchor_ids = _AnyAnchor()
        else:
            described = DESCRIPTION if module.summary else ""
            page.meta.update(meta(self.front.placed(render.module_page(module, "", described))))
            page.present_anchor_ids = _AnyAnchor()
            page.parent = page.parent or self._places.get(posixpath.dirname(path))
            first = AnchorLink(module.name, module.name, 1)
            first.children = page.toc.items
            page.toc = TableOfContents([first])
        return handwritten.marked(content, is_module=module is not None)

    @event_priority(-100)
    def on_env(self, env: Any, config: MkDocsConfig, files: Files) -> Any:
        """Keep the environment that renders the shells, and its compiled templates."""
        env.bytecode_cache = env.bytecode_cache or Compiled(f"theme {sorted(env.extensions)}")
        self._environment, self._files = env, files
        return env

    @event_priority(-100)
    def on_post_page(self, output: str, page: MkDocsPage, config: MkDocsConfig) -> str:
        """Keep a page, whose file is written once it is complete; put the policy, and room for a head, into a shell."""
        path = page.file.src_uri
        if isinstance(page.file, _Made):
            headed = equations.put(output, equations.LINKS + HEAD)
            return policy.put(headed, output.replace(page.content or "", ""), policy.STYLES, is_served=self.is_served)
        module = self._modules.get(path) if path not in self.library.docs else None
        written = Written.of(
            output,
            path=path,
            title=Markup(page.title or "").striptags(),
            description="" if module else html.unescape(str(page.meta.get("description") or "")),
            module=module.name if module else "",
            is_found=not _is_excluded(page),
        )
        if written is None:
            raise _rewritten()
        self.front.add(written)
        return ""

    @event_priority(-100)
    def on_post_template(self, output_content: str, template_name: str, config: MkDocsConfig) -> str:
        """Put the policy into the 404 page."""
        if not template_name.endswith(".html"):
            return output_content
        return policy.put(output_content, output_content, "", is_served=self.is_served)

    def on_post_build(self, config: MkDocsConfig) -> None:
        """Write the generated pages and the files, if nobody else does."""
        self._noting.close()
        if self._is_given:
            return
        for path in self.front.written:
            one = self.front.page(path, self.project.cache)
            body, description = one.shown(self.view)
            self._write(path, one.fill(self.view, body, description, self._equations, is_served=self.is_served))
            if one.is_found:
                self._index(search.read(self.view, path, self._numbers[path], one.title, body), config)
        for path, output in self._pages.items():
            page = self.front.placed(output.page(self.view))
            _, shell = self.front.shell(page)
            drawn = self._equations.drawn(render.with_flowcharts(self.view, page.body))
            self._write(path, self.front.fill(page, shell, self.view, drawn))
            if found := search.read_page(self.view, page, self._numbers.get(path, 0)):
                self._index(found, config)
        for output in render.file_outputs(self.view):
            write_file(output.data(self.view), self._files.src_uris[output.path].abs_dest_path)
        for path, text in (*search.files(self.view, self._entries), *self._words.files()):
            write_file(text.encode(), posixpath.join(config.site_dir, path))

    def _write(self, path: str, page: str) -> None:
        write_file(page.encode("utf-8", errors="xmlcharrefreplace"), self._files.src_uris[path].abs_dest_path)

    def _index(self, read: search.Read, config: MkDocsConfig) -> None:
        self._entries.append(read.entry)
        self._words.add(read)
        write_file(read.parts.encode(), posixpath.join(config.site_dir, read.entry.parts))

    def _shell(self, config: MkDocsConfig, kind: Kind, path: str) -> Shell:
        """Have the theme make a shell."""
        if path == kind.at:
            page = _page(self._files, path)
        else:
            # A page that nobody knows: the shell holds nothing of a certain one.
            name = posixpath.join(kind.at, "qz0shellz.md")
            written = addresses.file(name, config.use_directory_urls)
            page = MkDocsPage(
                TITLE, _Made(name, None, config.site_dir, config.use_directory_urls, dest_uri=written), config
            )
            page.parent = self._places.get(kind.at)
        page.file.edit_uri = posixpath.relpath(EDITED, self.library.settings.docs) if kind.is_edited else None
        page._set_edit_url(config.repo_url, config.edit_uri, config.edit_uri_template)
        page.markdown, page.content = "", BODY
        page.meta = {"search": {"exclude": True}, **({"hide": list(kind.hide)} if kind.hide else {})}
        if path != addresses.HOME:
            page.meta["title"] = TITLE
        if kind.is_described:
            page.meta["description"] = DESCRIPTION
        if page.canonical_url:
            page.canonical_url = CANONICAL
        entry = Heading(2, "qz0entryz", CONTENTS)
        first = AnchorLink(TITLE, FIRST.removeprefix("#"), 1)
        first.children = [_anchor(entry)] if kind.has_contents else []
        page.toc = TableOfContents([first])
        page.active = True
        try:
            context: Any = get_context(self._nav, self._files.documentation_pages(), config, page)
            context = config.plugins.on_page_context(context, page=page, config=config, nav=self._nav)
            written = self._environment.get_template("main.html").render(context)
            written = config.plugins.on_post_page(written, page=page, config=config)
        finally:
            page.active = False
        template = self._environment.get_template("partials/toc-item.html")
        contents = Contents.of(lambda heading: str(template.render({"config": config, "toc_item": _anchor(heading)})))
        written = written.replace(contents.entry(entry).strip(), CONTENTS)
        if written.count(BODY) != 1 or "qz0entryz" in written:
            raise _rewritten()
        return Shell.of(written, contents)

    def on_serve(self, server: LiveReloadServer, **_: Any) -> LiveReloadServer:
        """Have MkDocs rebuild when a card, the implementation or the evidence changes."""
        for path in self.project.watched:
            server.watch(str(path))
        return server


def _rewritten() -> ConfigError:
    problem = "a plugin changes the theme's pages, so that they can't be filled in"
    return ConfigError(Place("mkdocs.yml", 0), problem, "leave out plugins that rewrite HTML, such as minify")


def _written_by_hand(config: MkDocsConfig) -> Iterable[File]:
    """Return the files in the folder of the pages, in MkDocs' order, without what `check` refuses."""
    # That names with a dot are left out is MkDocs' to decide, by `exclude_docs`.
    found, _ = content_files.below(Path(config.docs_dir), "", PageError, hidden=True)
    files = [File(path, config.docs_dir, config.site_dir, config.use_directory_urls) for path in found]
    set_exclusions(files, config)
    return sorted(files, key=file_sort_key)


def _without_excluded(library: Library, files: Files) -> Library:
    """Return a library without the pages written by hand that MkDocs leaves out."""
    kept = {
        path: text
        for path, text in library.docs.items()
        if (file := files.get_file_from_path(path)) and not file.inclusion.is_excluded()  # type: ignore[no-untyped-call]
    }
    return dataclasses.replace(library, docs=kept)


def _anchor(heading: Heading) -> AnchorLink:
    """Return a heading, whose words are HTML, in MkDocs' own form."""
    link = AnchorLink(heading.words, heading.id, heading.level)
    link.children = list(map(_anchor, heading.below))
    return link


def _page(files: Files, path: str) -> Any:
    return files.src_uris[path].page if path in files.src_uris else None


def _is_excluded(page: MkDocsPage) -> bool:
    """Return whether the front matter of a page keeps it out of the search, in Material's words."""
    said = page.meta.get("search")
    return isinstance(said, dict) and bool(said.get("exclude"))


def _show_answers(config: MkDocsConfig) -> None:
    """Add the extension that links answers to their questions to mkdocstrings, if it is in use."""
    if plugin := config.plugins.get("mkdocstrings"):
        handler = plugin.config["handlers"].setdefault("python", {})
        extensions = handler.setdefault("options", {}).setdefault("extensions", [])
        # Under live reload the same configuration comes again.
        if _ANSWERS not in extensions:
            extensions.append(_ANSWERS)
