"""What is read and shown takes time that grows with its length, whatever its author writes.

Each text is measured at two lengths, in seconds of the processor: four times as long may take four times as long, and
some more for what the machine does besides. What grows with the square of the length takes sixteen times as long.
"""

import contextlib
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

import pytest
from markupsafe import Markup

from quaere.content import answers, attachments, located_yaml, markdown, wikilinks
from quaere.errors import CardError, nearest
from quaere.pages import markup
from quaere.pages.diagrams import drawable
from quaere.pages.markup import Ids, Image, Target
from quaere.pages.page import Page
from quaere.site import links as site_links
from tests.engine.conftest import Base, seconds

SHORT, TIMES, MOST = 400, 4, 8.0
NOTHING = 0.05
"""Seconds that are too few to compare."""


class Here:
    """A page on which every link leads somewhere."""

    def wikilink(self, target: str) -> Target:
        return Target("x", "words")

    def address(self, written: str) -> str:
        return written

    def image(self, written: str) -> Image:
        return Image(written)

    def code(self, text: str, language: str) -> Markup:
        return Markup.escape(text)


def assert_linear(run: Callable[[str], object], make: Callable[[int], str], length: int = SHORT) -> None:
    run(make(10))
    # What interrupts one measurement spoils not all of them.
    for _ in range(3):
        long = seconds(run, make(length * TIMES))
        if long < NOTHING or long / (short := seconds(run, make(length))) < MOST:
            return
    raise AssertionError(f"{short:.3f} s, and {long:.3f} s for {TIMES} times as much")


def repeated(part: str, before: str = "", after: str = "") -> Callable[[int], str]:
    return lambda count: before + part * count + after


def numbered(part: str, before: str = "", after: str = "") -> Callable[[int], str]:
    return lambda count: before + "".join(part.format(n) for n in range(count)) + after


TEXTS: dict[str, Callable[[int], str]] = {
    **{
        part: repeated(part)
        for part in (
            *("<!--", "x <!--", "<!-- a\n", "<!--\n\n", "> <!-- a\n", "- <!--\n", "<!-- a -->\n", "![", "["),
            *("[[", "[[a", "[[a|", "[[a]]", "[[a|b]] ", "![[a.png]] ", "[a](", "[a](<b", "[a][b", "^[", "[^1]"),
            *("*", "*a ", "a*", "**a ", "_", "_a ", "`", "~~a ", "==", "==a ", "a== ", "==a==b", "$", "$a "),
            *("$a$ ", "$$a ", "$$\na\n", "$`a", "$\\", "&", "&#", "&a", "\\", "\\(", "\\[", "<", "<a"),
            *("<http://", "<a@", "http:", "a@b.", "www.a.b ", "http://a.b ", "http://a.b\n", "a@b.c ", "[a](b) "),
            *("[a](b)\n", "[a](%20b) ", "![a](b) ", "[[a]]\n", "a^[b] ", "^[[a](b)] ", "> [!note] a\n\n"),
            *("> a\n", "- a\n", "- [ ] a\n", "1. a\n", "---\n", "a\n-\n", "|a\n|-\n", "a | b\n- | -\n\n"),
            *("# a\n", "#\n", "a\n=\n", "```\n", "- ```\n", "    a\n", "a\n: b\n", ": ", "\t", " ", "\n", "a"),
            *("a ", "a\n", "a  \n", "[a]: b\n", "[a]: 'b\n", "[a]: <b\n", "$$ a\n\n", "<div>\n"),
        )
    },
    "a comment that ends late": repeated("- <!--\n", after="\n\n-->\n"),
    "nested brackets": lambda count: "[" * count + "]" * count,
    "nested links": lambda count: "[" * count + "a" + "](b)" * count,
    "nested pictures": lambda count: "![" * count + "a" + "](b)" * count,
    "nested marks": lambda count: "==a" * count + "a==" * count,
    "a row of cells": lambda count: f"|{'a|' * count}\n|{'-|' * count}\n|{'b|' * count}",
    "a row of links": repeated("[a](b) \\| ", "|a|\n|-|\n|", "|"),
    "rows": repeated("|[a](b)|\n", "|a|\n|-|\n"),
    "definitions": numbered("[a{0}]: b{0}\n"),
    "a long address, often": lambda count: f"[a]: {'b' * count}\n\n{'[a]' * count}",
    "a long title, often": lambda count: f"[a]: b '{'c' * count}'\n\n{'[a]' * count}",
    "defined links": lambda count: numbered("[a{}] ")(count) + "\n\n" + numbered("[a{0}]: b{0}\n")(count),
    "footnotes": lambda count: numbered("[^{}] ")(count) + "\n\n" + numbered("[^{}]: a\n\n")(count),
    "alike headings": numbered("# a_{}\n# a\n"),
    "runs of ticks": lambda count: " ".join("`" * n for n in range(int((2 * count) ** 0.5))),
    "lazy lines": repeated("a\n", ">" * 30 + "a\n"),
    **{
        f"a diagram of {part}": repeated(part, "```mermaid\nflowchart LR\n", "\n```")
        for part in (
            "a --> b\n",
            "@{ ",
            "style ",
            "details ",
            "details a",
            "#",
            "#g",
            "&",
            "click\n",
            "%%{ }%% ",
            "Update",
        )
    },
    **{
        f"a drawing of {part}": repeated(part, "```mermaid\n", "\n```")
        for part in ("%%{ ", "%%{ }%% ", "---\n", "---\nconfig\n", " ", " \n")
    },
    "a diagram's letter": repeated("g", "```mermaid\nflowchart LR\n#", "\n```"),
}


@pytest.mark.parametrize("make", TEXTS.values(), ids=[ascii(name) for name in TEXTS])
def test_a_text_is_read_and_shown_in_linear_time(make: Callable[[int], str]) -> None:
    def run(text: str) -> None:
        list(markdown.links(text))
        list(markdown.links(text, inline=True))
        markup.block(text, Here(), Ids(), 2)

    assert_linear(run, make)


@pytest.mark.parametrize(
    "part",
    [
        "<!--",
        "<!-- -->",
        "`",
        "`a``b",
        "`a\n",
        "$",
        "$a ",
        "$ a",
        "$$a ",
        "$\\",
        "```\n",
        "~~~\n",
        "[[",
        "[[a|",
        "[[a]]",
        "> ",
    ],
)
def test_wikilinks_of_a_page_are_found_in_linear_time(part: str) -> None:
    assert_linear(lambda text: list(wikilinks.wikilinks(text)), repeated(part), 4_000)


@pytest.mark.parametrize(
    "make",
    [
        repeated(":59", "a: 1"),
        repeated(":59", "a: 1", ".5"),
        repeated("1", "a: "),
        repeated("1", "a: 0x"),
        repeated("_", "a: 1"),
        repeated("1", "a: 1e"),
        repeated("1", "a: 2001-01-01T00:00:00."),
        numbered("k{}: 1\n"),
        numbered("k{0}: &a{0} 1\n"),
        lambda count: f"{'k' * count}:\n" + "  - 1\n" * count,
        repeated("1, ", "a: [", "]"),
        numbered("k{}: 1, ", "a: {{", "}}"),
        repeated("a: 1\n"),
        repeated("<<: 1\n"),
        repeated("? "),
        repeated("[", "a: "),
        repeated("b\n", "a: '"),
        repeated('"\\e", ', "a: [", "]"),
    ],
)
def test_yaml_is_read_in_linear_time(make: Callable[[int], str]) -> None:
    def run(text: str) -> None:
        with contextlib.suppress(CardError):
            located_yaml.read(text.encode(), "card.yml")

    assert_linear(run, make, 1_600)


@pytest.mark.parametrize(
    "make",
    [
        repeated("Answers: a.b\n    >>> 1\n    1\n\n", '"""A.\n\n', '"""\n'),
        numbered("Answers: a.b{}\n    >>> 1 +\n    1\n\n", '"""A.\n\n', '"""\n'),
        repeated("Answers: a.b\n", '"""A.\n\n', '"""\n'),
        repeated("    >>> 1\n    1\n", '"""A.\n\nAnswers: a.b\n', '"""\n'),
        repeated(">>> 1\n\n", '"""A.\n\n', '"""\n'),
        repeated("elif a:\n    1\n", "if a:\n    1\n"),
        numbered("import a{}\n"),
    ],
)
def test_answers_are_read_in_linear_time(tmp_path: Path, make: Callable[[int], str]) -> None:
    (tmp_path / "code").mkdir()

    def run(text: str) -> None:
        (tmp_path / "code/__init__.py").write_text(text)
        answers.read(tmp_path, "code", {})

    assert_linear(run, make)


CARD = "cite: toy2020\nidea: A\nimplementation: null\n"


@pytest.mark.parametrize(
    "make",
    [
        numbered("[a](x{}.md) ", CARD + "notes: |\n  "),
        numbered("  [a](x{}.md)\n\n", CARD + "notes: |\n"),
        repeated("[a](x.md) ", CARD + "notes: |\n  "),
        repeated("[a] ", CARD + "notes: |\n  ", "\n\n  [a]: x.md"),
        numbered("[a](\\u0078{}.md) ", CARD + 'notes: "', '"'),
        numbered("[[x{}]] ", CARD + "notes: |\n  "),
        repeated("t, ", CARD + "tags: [", "]"),
        numbered("x{}, ", CARD + "builds_on: [", "]"),
        numbered("k{}: 1\n", CARD),
    ],
)
def test_faults_of_a_card_are_told_in_linear_time(base: Base, make: Callable[[int], str]) -> None:
    def run(text: str) -> None:
        base.write({"papers/toy.yml": text})
        base.report()

    assert_linear(run, make, 600)


def test_dead_links_of_a_page_are_told_in_linear_time(base: Base) -> None:
    def run(text: str) -> None:
        base.write({"docs/x.md": text})
        base.report()

    assert_linear(run, numbered("[[x{}]]\n"))


def test_the_nearest_word_is_found_in_linear_time() -> None:
    assert_linear(lambda word: nearest(word, [f"{word}b", f"{word}c"]), repeated("a"))
    known = tuple(f"name-{n}-of_{n * 7}" for n in range(10_000))

    def ask(count: int) -> None:
        assert all(
            nearest(f"name-{n}-of_{n * 7}x", known).startswith(f"did you mean `name-{n}-of_") for n in range(count)
        )

    # 99 words take three to six times what one takes that is compared with all.
    compared = seconds(lambda word: get_close_matches(word, known), "name-1-of_7x")
    assert seconds(lambda _: ask(99), "") < 25 * compared, "all words are compared with all"


@pytest.mark.parametrize("part", ['<h2 id="a">a</h2>', "<a", "<a b", "<a ", "<h2", " id="])
def test_pages_are_looked_through_in_linear_time(part: str) -> None:
    def run(text: str) -> None:
        page = Page("x.md", "X", text)
        assert page.headings is not None
        assert page.ids is not None
        site_links._LINK.findall(text)

    assert_linear(run, repeated(part))


def test_pictures_and_diagrams_are_looked_through_in_linear_time() -> None:
    svg = '<svg xmlns="http://www.w3.org/2000/svg">'
    for part in ("<g>", "<style>url( ", "<style>src ", "<a href=''>"):
        assert_linear(lambda text: attachments._alive(text.encode()), repeated(part, svg))
    assert_linear(drawable, repeated("%%{ }%% "))


def test_headings_of_a_page_are_a_tree() -> None:
    flat = [("2", "a"), ("3", "b"), ("4", "c"), ("3", "d"), ("2", "e"), ("1", "f"), ("3", "g"), ("2", "h")]
    page = Page("x.md", "X", "".join(f'<h{level} id="{id}">{id}</h{level}>' for level, id in flat))

    def shape(headings: object) -> object:
        return [(one.id, shape(one.below)) for one in headings]  # type: ignore[attr-defined]

    below: object = [("b", [("c", [])]), ("d", [])]
    assert shape(page.headings) == [("a", below), ("e", []), ("f", [("g", []), ("h", [])])]
