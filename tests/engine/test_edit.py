"""An edit changes one part of a card, and nothing else of its file."""

import datetime
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quaere.authoring import edit
from quaere.content import located_yaml
from quaere.errors import CardError

CARD = """\
# A card as people write them.
cite: toy2020   # the key
idea: "A sound idea."  # in a sentence
tags: [a, 'b', c]  # some
affiliations:
  - One   # first
  - Two
reading: {state: reading}
mine: {what: "nobody knows", where: 12}  # a key of my own
notes: |  # Markdown
  Hello # no comment

  there

questions:
  - {id: why, ask: Why?, asked: 2026-01-31}
  # The harder one.
  - id: how
    ask: "How: and why?"
    asked: 2026-01-31   # a Saturday
    answer: By hand.
# the end
"""


def value(text: str) -> Any:
    return located_yaml.read(text.encode(), "toy.yml").value


def changed(text: str) -> tuple[list[str], list[str]]:
    """Return the lines of CARD that went, and those that came."""
    before, after = CARD.split("\n"), text.split("\n")
    return [line for line in before if line not in after], [line for line in after if line not in before]


@pytest.mark.parametrize(
    ("path", "new", "went", "came"),
    [
        (
            ("idea",),
            "Better: this",
            ['idea: "A sound idea."  # in a sentence'],
            ["idea: 'Better: this'  # in a sentence"],
        ),
        (("idea",), "yes", ['idea: "A sound idea."  # in a sentence'], ['idea: "yes"  # in a sentence']),
        (("short",), "Toy", [], ["short: Toy"]),
        (("tags",), ["x"], ["tags: [a, 'b', c]  # some"], ["tags: [x]  # some"]),
        (("tags", 1), "no", ["tags: [a, 'b', c]  # some"], ['tags: [a, "no", c]  # some']),
        (
            ("reading", "through"),
            "Section: 3",
            ["reading: {state: reading}"],
            ["reading: {state: reading, through: 'Section: 3'}"],
        ),
        (
            ("questions", 1, "answer"),
            "By\nhand.\n",
            ["    answer: By hand."],
            ["    answer: |", "      By", "      hand."],
        ),
        (
            ("questions", 0, "answer"),
            "By\nhand.\n",
            ["  - {id: why, ask: Why?, asked: 2026-01-31}"],
            ["  - id: why", "    ask: Why?", "    asked: 2026-01-31", "    answer: |", "      By", "      hand."],
        ),
        (
            ("notes",),
            "short",
            ["notes: |  # Markdown", "  Hello # no comment", "  there"],
            ["notes: short  # Markdown"],
        ),
    ],
)
def test_a_value_takes_the_place_of_another(
    path: tuple[str | int, ...], new: Any, went: list[str], came: list[str]
) -> None:
    assert changed(edit.put(CARD, path, new)) == (went, came)


def test_a_value_is_added_to_a_list_in_the_style_of_the_list() -> None:
    assert changed(edit.append(CARD, ("tags",), "d"))[1] == ["tags: [a, 'b', c, d]  # some"]
    assert changed(edit.append(CARD, ("affiliations",), "Three")) == ([], ["  - Three"])
    assert changed(edit.append(CARD, ("formerly",), "old")) == ([], ["formerly: [old]"])
    asked = {"id": "when", "ask": "When?", "asked": datetime.date(2026, 1, 1)}
    assert changed(edit.append(CARD, ("questions",), asked))[1] == [
        "  - id: when",
        "    ask: When?",
        "    asked: 2026-01-01",
    ]


def test_the_last_line_of_a_file_needs_no_end() -> None:
    assert edit.put("idea: x", ("idea",), "y") == "idea: y"
    assert edit.put("idea: x", ("idea",), "y\n") == "idea: |\n  y\n"
    assert edit.append("tags:\n- x", ("tags",), "y") == "tags:\n- x\n- y"
    # What stands at the end stays without one, also where it is not the end any more.
    text = "notes: |  # Markdown\n  a\n\n  b"
    assert edit.append(text, ("tags",), "x") == "notes: |-  # Markdown\n  a\n\n  b\ntags: [x]\n"
    assert edit.append("a:\n- b: >2\n    c", ("a",), "x") == "a:\n- b: >2-\n    c\n- x\n"


def test_a_part_is_removed_with_its_own_comment_only() -> None:
    assert changed(edit.remove(CARD, ("questions", 0))) == (["  - {id: why, ask: Why?, asked: 2026-01-31}"], [])
    assert changed(edit.remove(CARD, ("affiliations", 0))) == (["  - One   # first"], [])
    assert "questions" not in value(edit.remove(edit.remove(CARD, ("questions", 1)), ("questions", 0)))


def test_what_can_t_be_changed_alone_is_refused_with_its_place() -> None:
    with pytest.raises(CardError) as refused:
        edit.put(CARD, ("affiliations",), ["One"], "papers/toy.yml")  # its comment would go
    assert str(refused.value) == (
        "papers/toy.yml:5:1: this can't be changed without changing more (at $.affiliations)\n"
        "  hint: change it in an editor"
    )
    with pytest.raises(CardError):
        edit.put(CARD, ("nothing", "here"), "x")


WORDS = st.sampled_from(
    [
        "plain",
        "two words",
        "a: b",
        "# no",
        "it's",
        '"q"',
        "yes",
        "null",
        "1.5",
        "2020-01-01",
        "é 神经",
        "- x",
        "[y",
        "{z",
        "x #y",
        "&a",
        "*a",
        "!t",
        "%d",
        "@e",
        "`f",
        "| g",
        "> h",
        "",
        " lead",
        "trail ",
        "a,b",
        "a, b",
        "}",
        "]",
        "?",
        "? k",
        ":",
        "tab\there",
    ]
)
TEXTS = (
    WORDS
    | st.lists(WORDS, min_size=2, max_size=4).map("\n".join)
    | st.text(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\x85\u2028\u2029\ufeff\ufffe\uffff"),
        max_size=12,
    )
)
NAMES = st.sampled_from(["idea", "tags", "notes", "links", "mine", "questions"])


def quoted(word: str) -> str:
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'


COMMENTS = st.sampled_from(["", "", "  # c", " # [x: y", " # 'it"])


@st.composite
def cards(draw: st.DrawFn) -> str:
    """Write a mapping in one of many styles, with comments."""
    lines = ["# top"]
    for name in draw(st.lists(NAMES, min_size=1, max_size=5, unique=True)):
        comment = draw(COMMENTS)
        style = draw(st.sampled_from(["scalar", "flow", "block", "literal", "items", "mapping", "empty"]))
        words = draw(st.lists(WORDS.map(quoted), min_size=1, max_size=3))
        if style == "scalar":
            lines.append(f"{name}: {words[0]}{comment}")
        elif style == "flow":
            lines.append(f"{name}: [{', '.join(words)}]{comment}")
        elif style == "block":
            indent = draw(st.sampled_from(["", "  ", "    "]))
            lines += [f"{name}:{comment}", *(f"{indent}- {word}{draw(COMMENTS)}" for word in words)]
        elif style == "literal":
            lines += [f"{name}: |{comment}", "  some", "", "  # text", ""]
        elif style == "items":
            lines += [
                f"{name}:{comment}",
                f"  - {{id: {words[0]}}}{draw(COMMENTS)}",
                "  # between",
                f"  - id: {words[-1]}",
                "    ask: x",
            ]
        elif style == "mapping":
            lines += [f"{name}:{comment}", f"  one: {words[0]}{draw(COMMENTS)}", f"  two: [{words[-1]}]"]
        else:
            lines.append(f"{name}:{comment}")
        lines += draw(st.sampled_from([[], [], [""], ["# between"]]))
    return "\n".join(lines) + draw(st.sampled_from(["\n", "", "\n\n"]))


def paths(data: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, tuple) else ()
    return [path, *(one for key, part in inner for one in paths(part, (*path, key)))]


def hashes(text: str) -> list[str]:
    return sorted(re.findall(r"# (?:c|\[x: y|'it|between|top)$", text, re.MULTILINE))


@given(cards(), st.data(), TEXTS)
def test_any_edit_gives_the_value_that_was_meant_and_keeps_all_comments(
    text: str, data: st.DataObject, new: str
) -> None:
    before = value(text)
    path = data.draw(st.sampled_from(paths(before)[1:]))
    held: Any = located_yaml.read(text.encode(), "").value_at(path)
    if not isinstance(held, dict | tuple):
        made = edit.put(text, path, new)
        assert located_yaml.read(made.encode(), "").value_at(path) == new
        assert hashes(made) == hashes(text)
        # Back again: nothing else has moved.
        if held is not None:
            assert value(edit.put(made, path, held)) == before
    if isinstance(held, tuple):
        made = edit.append(text, path, new)
        assert located_yaml.read(made.encode(), "").value_at(path) == (*held, new)
        assert hashes(made) == hashes(text)
        assert value(edit.remove(made, (*path, len(held)))) == before
    if isinstance(held, dict):
        made = edit.put(text, (*path, "new"), new)
        assert located_yaml.read(made.encode(), "").value_at(path) == {**held, "new": new}
        assert hashes(made) == hashes(text)
        assert edit.remove(made, (*path, "new")).split() == text.split() or "\n" in new
