"""Change what a card says of its paper: tags, and how far it has been read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from quaere.authoring import edit
from quaere.authoring.changes import Change, Changes
from quaere.authoring.questions import find_paper
from quaere.content.model import Library, ReadingState
from quaere.errors import MisuseError, Place, nearest


def tag(library: Library, slug: str, add: Sequence[str], remove: Sequence[str]) -> Changes:
    """Add tags to a card, and remove others.

    Raises:
        MisuseError: There is no such card, it has no such tag, or the settings don't know a tag.
    """
    paper = find_paper(library, slug)
    slug = paper.slug
    allowed, tags, text = library.settings.tags, list(paper.card.tags), paper.source
    for name in remove:
        if name not in tags:
            raise MisuseError(Place(""), f"the card `{slug}` has no tag `{name}`", nearest(name, tags))
        text = edit.remove(text, ("tags", tags.index(name)), paper.file)
        tags.remove(name)
    for name in dict.fromkeys(add):
        if allowed is not None and name not in allowed:
            hint = nearest(name, allowed) or "add it to `tags` in [tool.quaere]"
            raise MisuseError(Place(""), f"the tag `{name}` is not in the settings", hint)
        if name not in tags:
            text = edit.append(text, ("tags",), name, paper.file)
            tags.append(name)
    return Changes.of(f"{slug}: {', '.join(tags) or 'no tags'}", [Change(paper.file, paper.source, text)])


def read(library: Library, slug: str, state: str, through: str | None) -> Changes:
    """Say how far a paper has been read.

    Args:
        library: The knowledge base.
        slug: The card.
        state: `to-read`, `reading` or `read`.
        through: The last part read; None keeps what the card says, empty removes it.

    Raises:
        MisuseError: There is no such card or state.
    """
    paper = find_paper(library, slug)
    slug = paper.slug
    if state not in (states := get_args(ReadingState)):
        raise MisuseError(Place(""), f"`{state}` is no state of reading", nearest(state, states))
    text = paper.source
    if paper.card.reading is None:
        reading = {"state": state, **({"through": through} if through else {})}
        text = edit.put(text, ("reading",), reading, paper.file)
    else:
        text = edit.put(text, ("reading", "state"), state, paper.file)
        if through:
            text = edit.put(text, ("reading", "through"), through, paper.file)
        elif through == "" and paper.card.reading.through is not None:
            text = edit.remove(text, ("reading", "through"), paper.file)
    said = f"{slug}: {state}" + (f", through {through}" if through else "")
    return Changes.of(said, [Change(paper.file, paper.source, text)])
