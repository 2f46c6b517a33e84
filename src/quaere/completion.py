"""What a shell proposes after the verbs: the names of papers and questions, read from file names and single cards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from quaere.project import Project


def papers(ctx: typer.Context, incomplete: str) -> list[str]:
    """Propose papers."""
    return [slug for slug in _cards(ctx) if slug.startswith(incomplete)]


def questions(ctx: typer.Context, incomplete: str) -> list[str]:
    """Propose the questions of a paper, or papers while several are meant."""
    slug, dot, _ = incomplete.partition(".")
    if dot:
        return _questions(ctx, slug)
    found = papers(ctx, incomplete)
    # A shell ends a word that is proposed alone.
    return _questions(ctx, found[0]) if len(found) == 1 else [f"{slug}." for slug in found]


def names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Propose papers, and after a dot questions."""
    return questions(ctx, incomplete) if "." in incomplete else papers(ctx, incomplete)


def _cards(ctx: typer.Context) -> dict[str, Path]:
    base = _project(ctx)
    return {file.stem: file for file in sorted((base.root / base.settings.papers).glob("*.yml"))} if base else {}


def _project(ctx: typer.Context) -> Project | None:
    """Return the knowledge base that is asked; None if there is none: a shell shows no fault while somebody types."""
    from quaere.errors import AuthorError, Faults
    from quaere.project import Project

    try:
        return Project.find(Path(ctx.params.get("project") or "."))
    except (AuthorError, Faults, OSError):
        return None


def _questions(ctx: typer.Context, slug: str) -> list[str]:
    """Return the questions of one card; to read all takes too long while somebody types."""
    import yaml

    try:
        card = yaml.load(_cards(ctx)[slug].read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return [f"{slug}.{question['id']}" for question in card["questions"]]
    except (KeyError, TypeError, ValueError, OSError, yaml.YAMLError):
        return []
