"""The context of the template of a module's page."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from typing import Any

from markupsafe import Markup

from quaere.content import addresses
from quaere.content.model import Library, Module
from quaere.pages import code
from quaere.pages.view import Here, View

_HEADING = re.compile(
    r'<h[2-6] id="(?P<id>[^"]*)" class="doc doc-heading">.*?(?=<a [^>]*class="headerlink"|</h)', re.DOTALL
)


def context(view: View, module: Module, documentation: str) -> dict[str, Any]:
    """Return what the template `module.html` needs."""
    named = _with_former_names(_with_links(documentation, view, module), _former_names(view.library, module))
    return {
        "module": module,
        "papers": view.implementing.get(module.name, ()),
        "answered": view.answered_by.get(module.name, ()),
        "documentation": Markup(named),
    }


def _with_links(documentation: str, view: View, module: Module) -> str:
    """Put a link at the heading of each member to where its code is read."""
    names = view.names.of(module.name)
    there = Here(view, addresses.module(module.name)).code_of(module)

    def linked(found: re.Match[str]) -> str:
        name = html.unescape(found["id"]).removeprefix(f"{module.name}.")
        if names is None or name not in names.defined:
            return found[0]
        target = html.escape(f"{there}#{code.id_of(name)}")
        return f'{found[0]}<a class="q-code" href="{target}" data-search-exclude="1">source</a>'

    return _HEADING.sub(linked, documentation)


def _former_names(library: Library, module: Module) -> Iterator[tuple[str, str]]:
    """Yield the former names of a module's members, each with its current name."""
    modules = {one.name for one in library.modules}
    for former, name in library.renamed.items():
        parts = former.split(".")
        around = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
        if next((one for one in around if one in modules), None) == module.name:
            yield former, name


def _with_former_names(documentation: str, names: Iterable[tuple[str, str]]) -> str:
    """Put an anchor of each former name at the documentation of today's, or of what holds it; else at the start."""
    for former, name in names:
        if f'id="{former}"' not in documentation:
            while name and f'id="{name}"' not in documentation:
                name = name.rpartition(".")[0]
            start = documentation.rfind("<", 0, documentation.find(f'id="{name}"')) if name else 0
            documentation = f'{documentation[:start]}<a id="{former}"></a>{documentation[start:]}'
    return documentation
