"""Notebooks in Jupyter's format: the answers of a card, and what others are written with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin

from quaere.content import addresses, wikilinks
from quaere.content.markdown import has_addresses, is_relative, own_links
from quaere.content.model import Paper
from quaere.pages import scripts
from quaere.pages.output import Output

# Who writes the notebook of an experiment need not have what pages are made with.
if TYPE_CHECKING:
    from quaere.pages.view import Here, View

SETUP = """\
import sys
from pathlib import Path

from quaere.project import Project

ROOT = Project.find(Path()).root
sys.path.insert(0, str(ROOT))
"""
"""The first code of a notebook: it finds the knowledge base around the notebook, and imports from there."""


def book(cells: Iterable[tuple[str, str]]) -> str:
    """Return a notebook as JSON, in version 4.5 of Jupyter's format.

    Args:
        cells: Each cell's kind, `markdown` or `code`, and its text.
    """
    written: list[dict[str, Any]] = []
    for number, (kind, text) in enumerate(cells):
        cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": text.rstrip("\n")}
        written.append(cell if kind == "markdown" else {**cell, "execution_count": None, "outputs": []})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    whole = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": written}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def outputs(view: View) -> Iterator[Output]:
    """Yield the notebook of each card with answers in code, by the path where its page looks for it."""
    answered = {slug for slug, asked in view.asked.items() if any(one.running for one in asked)}
    for slug in sorted(answered):
        yield Output(_path(slug), partial(_notebook, slug))


def _notebook(slug: str, view: View) -> str:
    return book(_cells(view, view.library.papers[slug]))


def has_code(view: View, paper: Paper) -> bool:
    """Tell whether a question of a card is answered in code."""
    return any(asked.running for asked in view.asked[paper.slug])


def path(paper: Paper) -> str:
    """Return the path of the notebook of a card's answers."""
    return _path(paper.slug)


def _path(slug: str) -> str:
    return f"assets/notebooks/{slug}.ipynb"


def _cells(view: View, paper: Paper) -> Iterator[tuple[str, str]]:
    from quaere.pages.view import Here

    library, here = view.library, Here(view, path(paper)).of(paper)
    where = f"a clone of <{view.repo}>" if view.repo else "the folder of the knowledge base"
    yield "markdown", f"# {paper.reference.title}\n\nRun it in {where}, after `{library.settings.install}`."
    yield "code", SETUP
    for asked in view.asked[paper.slug]:
        if asked.running:
            yield "markdown", in_words(f"## {asked.question.ask}\n\n{asked.question.prose}".rstrip(), here)
            for kind, text in (part for answer in asked.running for part in answer.parts):
                yield ("markdown", in_words(text, here)) if kind == "text" else ("code", scripts.script(text))


def in_words(markdown: str, here: Here) -> str:
    """Return a text for a file beside the site; links to cards and questions are words, others lead as they did."""

    from quaere.pages.view import AskedAs, Called

    def name(target: str) -> str:
        match here.view.linked(target.partition("#")[0]):
            case Called(title=title):
                return title
            case AskedAs(slug, _, ask):
                # What a question asks may name another, or itself: once is enough.
                return f"“{wikilinks.in_words(_led(ask, here.of(addresses.card(slug))), str)}”"
        return target

    return wikilinks.in_words(_led(markdown, here), name)


def _led(markdown: str, here: Here) -> str:
    """Return a text whose relative addresses lead from a file to where they led, wherever it is if the site has one."""
    if not has_addresses(markdown):
        return markdown
    found: dict[int, tuple[int, str]] = {}
    for link in own_links(markdown):
        written = next(
            (one for one in (link.target, unquote(link.target)) if markdown.startswith(one, link.offset)), ""
        )
        if link.kind != "wikilink" and written and is_relative(link.target):
            address = here.address(link.target)
            if address is not None:
                whole = urljoin(here.view.whole(here.path), address)
                found[link.offset] = link.offset + len(written), whole
    for start in sorted(found, reverse=True):
        end, address = found[start]
        markdown = markdown[:start] + address + markdown[end:]
    return markdown
