"""Join what has changed in notes since the last import with what has changed on the card since.

What only the notes changed, or left out, is changed on the card; what only the card changed stays. What both changed,
each in its own way, stays as the card has it, and is told. Lists are joined item by item, quotes and questions part by
part.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from quaere.authoring import amending, edit
from quaere.authoring.notes.paper import asked_alike
from quaere.authoring.questions import id_of
from quaere.authoring.sources.found import shown
from quaere.content.located_yaml import Path
from quaere.errors import CardError


@dataclass(frozen=True)
class Conflict:
    """What the notes and the card changed both, each in its own way: the card's stays.

    `is_gone` tells that the notes left it out.
    """

    slug: str
    field: str
    is_gone: bool = False


def join_entry(
    slug: str, source: str, values: Mapping[str, str], new: Mapping[str, str], former: Mapping[str, str]
) -> tuple[str, list[Conflict]]:
    """Return an entry of the bibliography with what the notes have changed, and what both sides have changed.

    It gets the fields that it lacks. Those that the notes leave out stay.

    Args:
        slug: The card that cites it.
        source: The entry as it is written.
        values: Its fields, as TeX.
        new: The fields that the notes tell, as TeX, and its type as `type`.
        former: Those that they told when they were imported last; nothing if that is not known.
    """
    conflicts: list[Conflict] = []
    more = amending.missing(values, {name: value for name, value in new.items() if name != "type"})
    for name, value in new.items():
        was, now = former.get(name), values.get(name)
        if name == "type":
            if was not in (None, value):
                source = re.sub(rf"(?i)\A@{was}\b", f"@{value}", source)
        elif name in more or was is None or _alike(value) in (_alike(was), _alike(now or "")):
            continue
        elif now is None or _alike(now) != _alike(was):
            conflicts.append(Conflict(slug, f"entry.{name}"))
        else:
            source = amending.with_value(source, name, value)
    return (amending.with_fields(source, more) if more else source), conflicts


def _alike(value: str) -> str:
    return " ".join(shown(value).casefold().split())


Key = tuple[str, int]
"""What tells the items of a list apart: their words, and the how many-th of the same words each is."""

_PARTS: Mapping[str, Sequence[str]] = {
    "tags": (),
    "affiliations": (),
    "links": ("kind", "title"),
    "quotes": ("text", "page", "note"),
    "questions": ("ask", "answer"),
}
"""The fields that are lists, and what an import writes of each item."""

_LIKENESS = {"quotes": 0.6, "questions": 0.9}
"""How alike two texts must be for one to be the other as the notes edited it, from 0 to 1.

A question that is less alike may be another one, which an answer on the card does not answer.
"""

_REWORDED = 0.6
"""How alike two texts must be for one to be the other as the card's author may have reworded it."""

_MADE = frozenset({"cite", "implementation"})
"""What an import makes, and no note says."""


def join(
    slug: str,
    text: str,
    file: str,
    new: Mapping[str, Any],
    former: Mapping[str, Any],
    *,
    others: Sequence[Mapping[str, Any]] = (),
    is_partial: bool = False,
    is_aside: bool = False,
    is_named: Callable[[str], bool] = lambda _: False,
) -> tuple[str, list[Conflict]]:
    """Return a card's text with what the notes changed, and what both sides changed.

    Args:
        slug: The card.
        text: Its text.
        file: Its file, for errors.
        new: What the notes say, by the fields of a card.
        former: What they said when they were imported last; nothing if they were not.
        others: What other notes say whose card was merged into this one.
        is_partial: Whether some of the notes are not among those of this import: then none has left anything out.
        is_aside: Whether the paper's own notes are not: what an index says is taken where they say nothing.
        is_named: Tells of a question's id whether something rests on the question, such as an answer in code.
    """
    made = _Joining(slug, text, file, others, is_partial, is_aside, is_named)
    for name in dict.fromkeys((*new, *former)):
        if name in _PARTS:
            made.join_items(name, new.get(name, []), former.get(name, []))
        elif name not in _MADE:
            made.settle((name,), new.get(name), former.get(name))
    return made.text, made.conflicts


def together(new: Mapping[str, Any], former: Mapping[str, Any], *, is_aside: bool) -> dict[str, Any]:
    """Return what some of the notes of a card say now, with what all of them said before."""
    made = {**new, **former, **({"notes": new["notes"]} if "notes" in new else {})} if is_aside else {**former, **new}
    for name in _PARTS:
        first, second = new.get(name, []), former.get(name, [])
        if is_aside:
            first, second = second, first
        there = keys(name, first)
        if both := [*first, *(item for key, item in zip(keys(name, second), second, strict=True) if key not in there)]:
            made[name] = both
    return made


def keys(name: str, items: Sequence[Any]) -> list[Key]:
    """Return what tells the items of one of a card's lists apart."""
    counts: Counter[str] = Counter()
    made = []
    for item in items:
        match name:
            case "questions":
                words = asked_alike(item["ask"])
            case "quotes":
                words = asked_alike(item["text"])
            case "links":
                words = item["url"]
            case _:
                words = item
        made.append((words, counts[words]))
        counts[words] += 1
    return made


class _Joining:
    def __init__(
        self,
        slug: str,
        text: str,
        file: str,
        others: Sequence[Mapping[str, Any]],
        is_partial: bool,
        is_aside: bool,
        is_named: Callable[[str], bool],
    ) -> None:
        self.slug, self.text, self.file, self.others = slug, text, file, others
        self.is_partial, self.is_aside, self.is_named = is_partial, is_aside, is_named
        self.conflicts: list[Conflict] = []

    def settle(self, path: Path, value: Any, was: Any) -> None:
        """Change one part of the card if the notes have, and the card has not."""
        now = self._now(path)
        if value in (was, now) or (value is None and self.is_partial):
            return
        if was is not None and self.is_aside and path != ("notes",):
            return
        if now != was:
            self._tell(path, is_gone=value is None)
        elif value is None:
            self._remove(path)
        else:
            self._put(lambda: edit.put(self.text, path, value, self.file), path)

    def join_items(self, name: str, new: Sequence[Any], former: Sequence[Any]) -> None:
        """Join a list, item by item."""
        items, were = (dict(zip(keys(name, one), one, strict=True)) for one in (new, former))
        led = _led(name, items, were)
        for key, item in items.items():
            there, old = self._there(name), led.get(key)
            was = were[old] if old else {}
            at = there.get(old or key, there.get(key))
            if at is None and not old:
                self._append(name, item)
            elif at is None:
                # The card's author has removed or reworded it.
                if old != key or any(item.get(part) != was.get(part) for part in _PARTS[name]):
                    self._tell((name,))
            else:
                # Of two that came about apart, the words differ in capitals and marks at most.
                for part in _PARTS[name][0 if old else 1 :]:
                    self.settle((name, at, part), item.get(part), was.get(part))
        left_out = set() if self.is_partial else were.keys() - set(led.values())
        # Of the same words, the last first: those before keep their numbers.
        for old in sorted(left_out, reverse=True):
            self._leave_out(name, old, were, items)

    def _leave_out(self, name: str, old: Key, were: Mapping[Key, Any], items: Mapping[Key, Any]) -> None:
        """Remove an item that the notes left out, unless the card has changed it or other notes have it."""
        there = self._there(name)
        if (at := there.get(old)) is None:
            own = {key[0] for key in there if key not in were and key not in items}
            if name in _LIKENESS and _near(old[0], own, _REWORDED):
                self._tell((name,), is_gone=True)  # the card's author has reworded it
            return
        if any(old in keys(name, other.get(name, [])) for other in self.others):
            return
        has = self._now((name, at))
        is_resting = name == "questions" and self.is_named(has["id"])
        if is_resting or _said(has) != _said(were[old]):
            self._tell((name, at), is_gone=True)
        else:
            self._remove((name, at))

    def _append(self, name: str, item: Any) -> None:
        if name == "questions":
            taken = {has["id"] for has in self._now((name,)) or ()}
            item = {**item, "id": id_of(item["ask"], taken)}
        self._put(lambda: edit.append(self.text, (name,), item, self.file), (name,))

    def _there(self, name: str) -> dict[Key, int]:
        return {key: at for at, key in enumerate(keys(name, self._now((name,)) or ()))}

    def _now(self, path: Path) -> Any:
        value: Any = _fields(self.text)
        for part in path:
            value = value.get(part) if isinstance(value, Mapping) else value[part]
        return value

    def _put(self, change: Callable[[], str], path: Path) -> None:
        try:
            self.text = change()
        except CardError:
            self._tell(path)

    def _remove(self, path: Path) -> None:
        try:
            text = edit.remove(self.text, path, self.file)
        except CardError:
            text = ""
        # A comment is the author's own.
        if not text or edit.comments(self.text) - edit.comments(text):
            self._tell(path, is_gone=True)
        else:
            self.text = text

    def _tell(self, path: Path, *, is_gone: bool = False) -> None:
        """Note a conflict; a question is named by its id, and a tag by itself."""
        name, *inside = path
        field = str(name)
        for n, part in enumerate(inside):
            item = self._now(path[: n + 2])
            if isinstance(part, int) and not isinstance(item, Mapping):
                field += f".{item}"
            elif isinstance(part, int):
                field += f".{item['id']}" if name == "questions" else f"[{part}]"
            else:
                field += f".{part}"
        self.conflicts.append(Conflict(self.slug, field, is_gone))


# The same text is asked for each of its parts.
_fields = lru_cache(maxsize=1)(edit.fields)


def _led(name: str, items: Collection[Key], were: Collection[Key]) -> dict[Key, Key]:
    """Return which former item each item is: the same one, or it before it was edited."""
    led = {key: key for key in items if key in were}
    if name not in _LIKENESS:
        return led
    gone = sorted(set(were) - led.keys())
    for key in items:
        if key not in led and (near := _near(key[0], {words for words, _ in gone}, _LIKENESS[name])):
            led[key] = next(one for one in gone if one[0] == near)
            gone.remove(led[key])
    return led


def _near(words: str, others: Collection[str], likeness: float) -> str:
    """Return the text most like another; empty if none is like it."""
    near = difflib.get_close_matches(words, sorted(others), n=1, cutoff=likeness)
    return near[0] if near else ""


def _said(item: Any) -> Any:
    """Return what an item says, without what an import makes of it by itself."""
    is_mapping = isinstance(item, Mapping)
    return {name: value for name, value in item.items() if name not in ("id", "asked")} if is_mapping else item
