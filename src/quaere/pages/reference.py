"""The pages of the implementation: one for each module, which mkdocstrings fills, and their list."""

from __future__ import annotations

from collections.abc import Mapping

from quaere.content.model import Module
from quaere.pages import text
from quaere.pages.view import REFERENCE, Page, View, badge, module_path


def index(view: View) -> str:
    """Write the list of all modules."""
    page = Page(view, REFERENCE)
    rows = []
    for module in view.library.modules:
        name = module.name.partition(".")[2] or module.name
        link = f"[`{name}`]({page.to(module_path(module.name))})"
        rows.append(f"| {link} | {page.inline(module.summary)} | {page.badges(_answers(view, module)) or '–'} |")
    table = "\n".join(["| Module | What it holds | Answers |", "| --- | --- | --- |", *rows])
    return f"# Reference\n\n{table if rows else 'There is no module yet.'}\n"


def module(view: View, module: Module) -> str:
    """Write a module's page: what it implements and answers, then its documentation."""
    page = Page(view, module_path(module.name))
    papers = [paper for paper in view.papers if view.library.module_of(paper) == module]
    lines = [
        f"Implements {', '.join(map(page.paper, papers))}." if papers else "",
        f"Answers: {badges}." if (badges := page.badges(_answers(view, module))) else "",
        f"Source: [{text.escape(module.file)}]({view.source(module.file)}).",
    ]
    return (
        f"---\ntitle: {text.title(module.name)}\ndescription: {text.title(module.summary)}\nhide: [navigation]\n---\n\n"
        f"[← Reference]({page.to(REFERENCE)}){{ .q-back data-search-exclude=1 }}\n\n"
        f"# `{module.name}` {{ #{module.name} }}\n\n{' '.join(line for line in lines if line)}\n{{ .q-published }}\n\n"
        f"::: {module.name}\n"
    )


def links(view: View) -> Mapping[str, str]:
    """Return what stands before each answer on the pages of modules: its state, and its question with a link to it."""
    questions = view.library.questions.values()
    return {
        asked.id: f"{badge(view.states[asked.id])} {Page(view, module_path(asked.answer.module)).question(asked)}"
        for asked in questions
        if asked.answer
    }


def _answers(view: View, module: Module) -> list[str]:
    """Return the questions that a module answers."""
    return [id for id, asked in view.library.questions.items() if asked.answer and asked.answer.module == module.name]
