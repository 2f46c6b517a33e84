"""What the page of a module shows around its documentation, for its template."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from quaere.content.model import Module
from quaere.pages.view import View


def context(view: View, module: Module, documentation: str) -> dict[str, Any]:
    """Return what the template `module.html` needs."""
    return {
        "module": module,
        "papers": [paper for paper in view.papers if view.library.module_of(paper) == module],
        "answered": view.answered_by.get(module.name, ()),
        "documentation": Markup(documentation),
    }
