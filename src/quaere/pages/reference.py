"""The context of the template of a module's page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from markupsafe import Markup

from quaere.content.model import Library, Module
from quaere.pages.view import View


def context(view: View, module: Module, documentation: str) -> dict[str, Any]:
    """Return what the template `module.html` needs."""
    return {
        "module": module,
        "papers": view.implementing.get(module.name, ()),
        "answered": view.answered_by.get(module.name, ()),
        "documentation": Markup(_with_former_names(documentation, _former_names(view.library, module))),
    }


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
