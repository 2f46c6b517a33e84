"""Pages out of a library: pure, so that any site generator can take them.

`render` makes the pages and what they need, `expand` writes out a page written by hand, `standalone` makes a folder
that site generators without plugins build.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

from quaere.content.model import Library, Verdict
from quaere.pages import card, lists, reference, result
from quaere.pages.standalone import Files, assemble
from quaere.pages.view import (
    AFFILIATIONS,
    EXPERIMENTS,
    INDEX,
    QUESTIONS,
    REFERENCE,
    TAGS,
    Page,
    View,
    card_path,
    module_path,
)

__all__ = ["ASSETS", "EXTENSION", "THEME", "answer_links", "expand", "render", "sources", "standalone"]

THEME = files("quaere.pages") / "assets" / "theme"
"""Templates that stand in for some of the theme's."""

_TEMPLATES = {path: (THEME / path).read_bytes() for path in ("partials/source.html",)}

ASSETS: Mapping[str, bytes] = {
    f"assets/{name}": (files("quaere.pages") / "assets" / name).read_bytes() for name in ("quaere.css", "quaere.js")
}
"""What the pages need besides themselves, by path."""

EXTENSION = "quaere.content.answers.AnswersExtension"
"""What shows answers on the pages of modules, as griffe names it."""

_DIRECTIVES = {"states": lists.states, "newest": lists.newest, "benchmarks": result.benchmarks}


def render(
    library: Library,
    verdicts: Mapping[str, Verdict],
    citations: Mapping[str, Mapping[str, str]],
    repo: str,
    docs: Mapping[str, str],
) -> dict[str, str | bytes]:
    """Make the pages of a library.

    Args:
        library: What was read.
        verdicts: What came of running the answers, by question.
        citations: Each paper's citation in each format, by slug and by the format's name.
        repo: The address of the repository.
        docs: The pages written by hand, by path; a card lists those that mention it.

    Returns:
        Markdown pages and assets by their paths in the folder of the pages.
    """
    view = View(library, verdicts, repo.rstrip("/"), docs)
    pages: dict[str, str | bytes] = {
        INDEX: lists.papers(view),
        QUESTIONS: lists.questions(view),
        EXPERIMENTS: result.overview(view),
        TAGS: lists.tags(view),
        AFFILIATIONS: lists.affiliations(view),
        REFERENCE: reference.index(view),
    }
    for slug, paper in library.papers.items():
        pages[card_path(slug)] = card.write(view, paper, citations.get(slug, {}))
    for module in library.modules:
        pages[module_path(module.name)] = reference.module(view, module)
    return {**pages, **result.drawings(view), **ASSETS}


def expand(markdown: str, path: str, library: Library, verdicts: Mapping[str, Verdict]) -> str:
    """Write out the wikilinks and directives of the page at `path`, which somebody wrote by hand."""
    return Page(View(library, verdicts), path).expand(markdown, _DIRECTIVES)


def answer_links(library: Library, verdicts: Mapping[str, Verdict]) -> Mapping[str, str]:
    """Return what stands before each answer on the pages of modules, for `answers.AnswersExtension`."""
    return reference.links(View(library, verdicts))


def standalone(
    library: Library,
    verdicts: Mapping[str, Verdict],
    pages: Files,
    docs: Files,
    implementation: Files,
    config: str,
) -> dict[str, str | bytes]:
    """Make a folder that builds without the MkDocs plugin.

    Args:
        library: What was read.
        verdicts: What came of running the answers, by question.
        pages: What `render` made.
        docs: All files of the folder of hand-written pages, by path below it.
        implementation: The source files of the implementation, by path below the project's root.
        config: The text of mkdocs.yml.

    Returns:
        The files by path: a mkdocs.yml, docs/ with all pages, overrides/ for the theme, and the implementation.
    """
    written = {
        path: expand(content, path, library, verdicts) if isinstance(content, str) and path.endswith(".md") else content
        for path, content in docs.items()
    }
    extension = {EXTENSION: {"links": dict(answer_links(library, verdicts))}}
    return assemble(pages, written, _TEMPLATES, implementation, config, extension)


def sources(library: Library) -> Mapping[str, str]:
    """Return the file that each page is made of, for the links that edit it."""
    cards = {card_path(slug): paper.file for slug, paper in library.papers.items()}
    return cards | {module_path(module.name): module.file for module in library.modules}
