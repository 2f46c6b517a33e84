"""Change what a card says of its paper: tags, quotes, and how far it has been read; begin a topic."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import get_args

from quaere.authoring import edit
from quaere.authoring.changes import Change, Changes
from quaere.authoring.notes.paper import Draft
from quaere.authoring.notes.plan import slug_of
from quaere.authoring.questions import find_paper
from quaere.content.model import SLUG, Library, ReadingState
from quaere.errors import MisuseError, Place, nearest


def tag(library: Library, slug: str, add: Sequence[str], remove: Sequence[str]) -> Changes:
    """Add tags to a card, and remove others.

    Raises:
        MisuseError: There is no such card, it has no such tag, or the settings don't know a tag.
    """
    paper = find_paper(library, slug)
    slug = paper.slug
    tags, text = list(paper.card.tags), paper.source
    for name in remove:
        if name not in tags:
            raise MisuseError(Place(""), f"the card `{slug}` has no tag `{name}`", nearest(name, tags))
        text = edit.remove(text, ("tags", tags.index(name)), paper.file)
        tags.remove(name)
    for name in dict.fromkeys(add):
        _known(library, name)
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


def quote(
    library: Library, slug: str, text: str, *, page: str | None = None, note: str | None = None, private: bool = False
) -> Changes:
    """Add a passage of the paper to its card, word for word.

    Args:
        library: The knowledge base.
        slug: The card.
        text: The passage; blanks around it go, and control characters.
        page: Where it stands.
        note: What its reader says of it, in Markdown.
        private: Whether nobody else is shown it.

    Raises:
        MisuseError: There is no such card, it is a topic, the passage is empty, or it is there already.
    """
    paper = find_paper(library, slug)
    # A PDF's text may hold signs that are no words.
    text = re.sub(r"\r\n?|[\v\f\x85\u2028\u2029]", "\n", text)
    text = re.sub(r"[ \t]+(?=\n)", "", text)
    text = re.sub(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ufeff\ufffe\uffff]", "", text).strip()
    slug = paper.slug
    if paper.is_topic:
        raise MisuseError(Place(""), f"`{slug}` is a topic, no paper", "quote a paper on its own card")
    if not text:
        raise MisuseError(
            Place(""), "the quote is empty", "write it in quotes: quaere quote toy 'Their words.' --page 3"
        )
    if any(one.text.split() == text.split() for one in paper.card.quotes):
        raise MisuseError(Place(""), f"the card `{slug}` has this quote already", "change it in the card")
    said: dict[str, edit.Value] = {"text": f"{text}\n" if "\n" in text else text}
    if page and page.strip():
        said["page"] = int(page) if re.fullmatch("[1-9][0-9]{0,5}", page.strip()) else page.strip()
    if note and note.strip():
        said["note"] = note.strip()
    if private:
        said["private"] = True
    made = edit.append(paper.source, ("quotes",), said, paper.file)
    where = f", page {page.strip()}" if page and page.strip() else ""
    return Changes.of(f"quoted {slug}{where}", [Change(paper.file, paper.source, made)])


def begin_topic(
    library: Library, title: str, *, slug: str | None = None, tags: Sequence[str] = (), private: bool = False
) -> Changes:
    """Begin a topic: a card for questions that belong to no single paper.

    Args:
        library: The knowledge base.
        title: The topic's title.
        slug: The card's name; made of the title's words if None.
        tags: Its tags.
        private: Whether nobody else is shown it.

    Raises:
        MisuseError: The title is empty or another topic's, the name is taken or none, or the settings don't know a tag.
    """
    title = " ".join(title.split())
    if not title:
        raise MisuseError(Place(""), "the title is empty", "write it in quotes: quaere topic 'How do models learn?'")
    for other, paper in library.papers.items():
        if paper.is_topic and str(paper.card.title).casefold() == title.casefold():
            raise MisuseError(Place(""), f"the topic `{other}` has this title already", f"quaere ask {other} '…'")
    taken = {*library.papers, *library.unsound, *library.former_slugs, "index"}
    # Where there is a module of this name, it would be the topic's own.
    taken |= {module.name.partition(".")[2] for module in library.modules}
    if slug is None:
        slug = slug_of(Draft("topic", title=title), taken)
    elif not re.fullmatch(SLUG, slug) or slug == "index":
        raise MisuseError(Place(""), f"`{slug}` is no slug", "use lower-case letters, digits and _, a letter first")
    elif slug in taken:
        raise MisuseError(Place(""), f"the name `{slug}` is taken", "choose another --slug, or leave it out")
    for name in tags:
        _known(library, name)
    said: dict[str, edit.Value] = {"title": title}
    if tags:
        said["tags"] = list(dict.fromkeys(tags))
    if private:
        said["private"] = True
    file = f"{library.settings.papers}/{slug}.yml"
    return Changes.of(f"began the topic {slug}", [Change(file, None, edit.written(said))])


def _known(library: Library, tag: str) -> None:
    """Let through a tag that the settings allow.

    Raises:
        MisuseError: They don't.
    """
    if (allowed := library.settings.tags) is not None and tag not in allowed:
        hint = nearest(tag, allowed) or "add it to `tags` in [tool.quaere]"
        raise MisuseError(Place(""), f"the tag `{tag}` is not in the settings", hint)
