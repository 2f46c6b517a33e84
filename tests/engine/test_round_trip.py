"""Whatever a card holds, and whatever verbs change it: what they change is what was meant, and all else stays.

Cards are drawn in the many ways in which people write them, with comments everywhere; each comment is one of its kind.
"""

import datetime
import itertools
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from quaere.authoring import cards, changes, migrating, questions, renaming
from quaere.authoring.changes import Changes
from quaere.content.model import VERSION, Library
from tests.engine.conftest import SOUND, Base
from tests.engine.test_authoring import texts
from tests.engine.test_edit import quoted

DAY = datetime.date(2026, 2, 3)
WORDS = st.sampled_from(
    ["plain", "two words", "a: b", "# no", "it's", '"q"', "yes", "1.5", "2020-01-01", "é 神经", "- x", "[y", "{z",
     "a,b", "}", "x #y", "&a", "*a", "!t", "%d", "@e", "| g", "> h", "$\\alpha$", "? k", ":", "~"]
)  # fmt: skip
PROSE = WORDS | st.lists(WORDS, min_size=2, max_size=3).map("\n\n".join)


@st.composite
def card(draw: st.DrawFn, slug: str, numbers: "itertools.count[int]") -> str:
    """Write a card in some style."""

    def mark() -> str:
        return draw(st.sampled_from(["", f"  # {slug}{next(numbers)}"]))

    def line() -> list[str]:
        return draw(st.sampled_from([list[str](), [""], [f"# {slug}{next(numbers)}"]]))

    def word() -> str:
        return quoted(draw(WORDS))

    def sequence(name: str, items: list[str]) -> list[str]:
        if draw(st.booleans()):
            return [f"{name}: [{', '.join(items)}]{mark()}"]
        indent = draw(st.sampled_from(["", "  ", "    "]))
        return [f"{name}:{mark()}", *(part for item in items for part in (f"{indent}- {item}{mark()}", *line()))]

    def question(id: str) -> list[str]:
        answer = [f"answer: {word()}"] if draw(st.booleans()) else []
        parts = [f"id: {id}", f"ask: {word()}", "asked: 2026-01-01", *answer]
        if draw(st.booleans()):
            return [f"  - {{{', '.join(parts)}}}{mark()}"]
        if draw(st.booleans()) and answer:
            parts[-1:] = [f"answer: |{mark()}", f"  {draw(WORDS)} x", "", "  # no comment"]
        dashed = [f"  - {parts[0]}{mark()}"]
        return dashed + [
            f"    {part}{'' if part.startswith((' ', 'answer: |')) else mark()}" if part else "" for part in parts[1:]
        ]

    ids = draw(st.lists(st.sampled_from(["q1", "q2", "q3"]), min_size=1, max_size=3, unique=True))
    optional = {
        "tags": sequence("tags", draw(st.lists(WORDS.map(quoted), min_size=1, max_size=3, unique=True))),
        "affiliations": sequence("affiliations", [word()]),
        "reading": [f"reading: {{state: read}}{mark()}"] if draw(st.booleans()) else ["reading:", "  state: reading"],
        "extra": [f"extra: {{mine: [1, {word()}]}}{mark()}"],
        "links": [f"links: [{{kind: paper, title: {word()}, url: 'https://example.org/'}}]{mark()}"],
        "notes": [f"notes: |{mark()}", "  ## Part", "", "  # no comment", f"  see [[{slug}]]"],
        "questions": [f"questions:{mark()}", *(part for id in ids for part in (*question(id), *line()))],
    }  # fmt: skip
    names = draw(st.lists(st.sampled_from(sorted(optional)), max_size=6, unique=True))
    parts = [[f"cite: toy2020{mark()}"], [f"idea: {word()}{mark()}"], ["implementation: null"]]
    parts += [optional[name] for name in {*names, "questions"}]
    body = [text for part in draw(st.permutations(parts)) for text in (*part, *line())]
    return "\n".join([*line(), *body, *line()]) + draw(st.sampled_from(["\n", "", "\n\n"]))


Plain = dict[str, Any]


@dataclass
class Step:
    """A verb that was drawn: what makes its changes, and what it does to the cards as plain values."""

    make: Callable[[Library], Changes]
    expect: Callable[[Plain], object]
    loses: int = 0
    """How many comments may go with what is removed."""


def merged(one: Plain, other: Plain, slug: str) -> None:
    """Look that all words of a card that goes are in the one that stays; take what it says of itself as it is."""
    said = json.dumps(one, ensure_ascii=False)
    words = (json.dumps(text.rstrip("\n"), ensure_ascii=False)[1:-1] for text in leaves({**other, "reading": None}))
    # A field that both have goes into the notes as it is written there, with escapes of its own.
    assert [text for text in words if text not in said and json.dumps(text)[1:-1] not in said] == [], slug


def leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from leaves(part)
    elif isinstance(value, str):
        yield value


def step(draw: Any, library: Library, base: Base, number: int) -> Step:
    papers = [slug for slug, paper in sorted(library.papers.items()) if not paper.is_topic]
    slug = draw(st.sampled_from(papers))
    one, others = library.papers[slug].card, [other for other in papers if other != slug]
    index = draw(st.integers(0, len(one.questions) - 1))
    asked, word, new = one.questions[index], draw(WORDS), f"new{number}"
    verbs = ["ask", "answer", "quote", "topic", "tag", "read", "rename", "rename question", "migrate"]
    verb = draw(st.sampled_from(verbs + ["untag"] * bool(one.tags) + ["merge", "remove"] * bool(others)))
    if verb == "ask":
        id = questions.id_of(word, {question.id for question in one.questions})
        question = {"id": id, "ask": word, "asked": DAY.isoformat()}
        return Step(
            lambda all: questions.ask(all, slug, word, id=None, asked=DAY),
            lambda all: all[slug]["questions"].append(question),
        )
    if verb == "answer":
        prose = draw(PROSE)
        return Step(
            lambda all: questions.answer(all, f"{slug}.{asked.id}", prose, replaces=True),
            lambda all: all[slug]["questions"][index].update(answer=prose + "\n" * ("\n" in prose)),
        )
    if verb == "quote":
        text, page = draw(PROSE), draw(st.sampled_from([None, "4", "4–5", "# 1"]))
        said = {"text": text + "\n" * ("\n" in text), **({"page": page} if page else {})}
        return Step(
            lambda all: cards.quote(all, slug, text, page=page, note=word),
            lambda all: all[slug].setdefault("quotes", []).append({**said, "note": word}),
        )
    if verb == "topic":
        begun = f"topic{number}"
        return Step(
            lambda all: cards.begin_topic(all, f"{word} {number}", slug=begun, tags=[word]),
            lambda all: all.update({begun: {"title": f"{word} {number}", "tags": [word]}}),
        )
    if verb == "tag":
        tags = list(dict.fromkeys([*one.tags, word]))
        return Step(lambda all: cards.tag(all, slug, [word], []), lambda all: all[slug].update(tags=tags))
    if verb == "untag":
        tags = list(one.tags[1:])
        return Step(
            lambda all: cards.tag(all, slug, [], [one.tags[0]]),
            lambda all: all[slug].update(tags=tags) if tags else all[slug].pop("tags"),
            loses=2,
        )
    if verb == "read":
        reading = {"state": "to-read", "through": word}
        return Step(lambda all: cards.read(all, slug, "to-read", word), lambda all: all[slug].update(reading=reading))
    if verb == "rename":

        def renamed(all: Plain) -> None:
            all[new] = json.loads(json.dumps(all.pop(slug)).replace(f"[[{slug}]]", f"[[{new}]]"))
            all[new].setdefault("formerly", []).append(slug)

        return Step(lambda all: renaming.rename_card(all, slug, new, texts(base)), renamed)
    if verb == "rename question":

        def asked_anew(all: Plain) -> None:
            all[slug]["questions"][index].update(id=new)
            all[slug]["questions"][index].setdefault("formerly", []).append(asked.id)

        return Step(lambda all: renaming.rename_question(all, f"{slug}.{asked.id}", new, texts(base)), asked_anew)
    if verb == "migrate":
        return Step(migrating.migrate, lambda all: [card.update(schema=VERSION) for card in all.values()])
    if verb == "merge":
        gone = draw(st.sampled_from(others))
        return Step(
            lambda all: renaming.merge(all, slug, gone, texts(base)), lambda all: all.update(kept=slug, gone=gone)
        )
    return Step(lambda all: renaming.remove(all, slug, texts(base)), lambda all: all.pop(slug), loses=99)


def plain(library: Library) -> Plain:
    return {
        slug: paper.card.model_dump(by_alias=True, exclude_defaults=True, mode="json")
        for slug, paper in library.papers.items()
    }


def comments(library: Library) -> list[str]:
    return [
        mark for paper in library.papers.values() for mark in re.findall(r"# ([ab]x?\d+)$", paper.source, re.MULTILINE)
    ]


ROUNDS = int(os.environ.get("ROUNDS", "12"))
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # to make such cards shorter takes minutes


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=ROUNDS, phases=PHASES)
@given(st.data())
def test_verbs_change_what_they_mean_to_and_nothing_else(data: st.DataObject) -> None:
    numbers = itertools.count(1)
    with tempfile.TemporaryDirectory() as folder:
        base = Base(Path(folder))
        base.write(SOUND | {f"papers/{slug}.yml": data.draw(card(slug, numbers)) for slug in ("a", "b")})
        (base.root / "papers/toy.yml").unlink()
        library = base.library()
        for number in range(data.draw(st.integers(1, 4))):
            one = step(data.draw, library, base, number)
            expected, before = plain(library), comments(library)
            changes.apply(base.root, one.make(library))
            library = base.library()
            one.expect(expected)
            made = plain(library)
            if "gone" in expected:
                kept, gone = expected["kept"], expected["gone"]
                assert gone not in made
                merged(made[kept], json.loads(json.dumps(expected[gone]).replace(f"[[{gone}]]", f"[[{kept}]]")), kept)
            else:
                assert made == expected
            lost = [mark for mark in before if mark not in comments(library)]
            assert len(lost) <= one.loses, lost


@pytest.mark.parametrize("verb", ["ask", "tag", "check"])
def test_a_card_with_an_unknown_key_is_left_as_it_is(base: Base, verb: str) -> None:
    base.write({"papers/mine.yml": "cite: toy2020\nimplementation: null\nmine: 1  # of my own\n"})
    before = base.files()
    run = base.quaere(verb, *{"ask": ["toy", "Why not?"], "tag": ["mine", "x"], "check": ["--fix"]}[verb])
    assert run.returncode == 1
    assert "papers/mine.yml:3:1: unknown key `mine`" in run.stderr
    after = base.files()
    assert {name: after[name] for name in before} == before
