"""The parser of cards' texts: which links it finds, where they stand, and which addresses may stand in one."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quaere.content import markdown
from tests.engine.conftest import seconds

Found = tuple[str, str, str]


def found(text: str, *, inline: bool = False) -> list[Found]:
    """Return each link's kind and target, and what the text says from its offset on, to the end of the line."""
    links = markdown.links(text, inline=inline)
    return [(link.kind, link.target, text[link.offset :].partition("\n")[0]) for link in links]


@pytest.mark.parametrize(
    ("text", "links"),
    [
        ("See [[red]].", [("wikilink", "red", "[[red]].")]),
        ("[[red.held|why]]", [("wikilink", "red.held", "[[red.held|why]]")]),
        ("[[red#notes]]", [("wikilink", "red#notes", "[[red#notes]]")]),
        ("x [[ red ]]", [("wikilink", "red", "[[ red ]]")]),
        ("\0[[red]]", [("wikilink", "red", "[[red]]")]),
        ("x [[  red | words ]]", [("wikilink", "red", "[[  red | words ]]")]),
        ("[a](two.md) b", [("address", "two.md", "two.md) b")]),
        ("[a](<two.md>)", [("address", "two.md", "two.md>)")]),
        ('[a](two.md#part "title")', [("address", "two.md#part", 'two.md#part "title")')]),
        ("![a](two.png)", [("image", "two.png", "two.png)")]),
        ("![[two.png]]", [("image", "two.png", "two.png]]")]),
        ("![[two.SVG|a picture]]", [("image", "two.SVG", "two.SVG|a picture]]")]),
        ("see <https://e.org/a>", [("address", "https://e.org/a", "https://e.org/a>")]),
        ("see https://e.org/a", [("address", "https://e.org/a", "https://e.org/a")]),
        ("[a][b] c\n\n[b]: two.md", [("address", "two.md", "two.md")]),
        ("[![a](two.png)](two.md)", [("address", "two.md", "two.md)"), ("image", "two.png", "two.png)](two.md)")]),
    ],
)
def test_a_link_is_found_by_its_kind_with_its_target_and_where_it_stands(text: str, links: list[Found]) -> None:
    assert found(text) == links
    if "\n" not in text:
        assert found(text, inline=True) == links, "a single line has the same links"


@pytest.mark.parametrize(
    "text",
    [
        "# A [[red]]",
        "A [[red]]\n=========",
        "> quoted\n> [[red]]",
        "> [!note] About [[red]]\n> b",
        "> [!note]- About\n> it, [[red]]",
        "- a\n  - b, [[red]]",
        "- [ ] read [[red]]",
        "Term [[red]]\n: defined",
        "Term\n: defined as [[red]]",
        "| a | b |\n| - | - |\n| 1 | [[red]] |",
        r"| a | b |" + "\n| - | - |\n" + r"| 1 | [[red\|a color]] |",
        "| a |\n| - |\n" + r"| c\|d [[red]] |",
        "a[^1]\n\n[^1]: as in [[red]]",
        "a^[as in [[red]]]",
        "*a **b [[red]]***",
        "~~[[red]]~~",
    ],
)
def test_a_link_is_found_wherever_text_may_stand(text: str) -> None:
    ((kind, target, rest),) = found(text)
    assert (kind, target) == ("wikilink", "red")
    assert rest.startswith("[[red")


@pytest.mark.parametrize(
    "text",
    [
        "`[[red]]`",
        "``a ` [[red]]``",
        "    [[red]]",
        "```\n[[red]] [a](two.md)\n```",
        "~~~text\n[[red]]\n~~~",
        "- ```\n  [[red]]\n  ```",
        "```\n[[red]]",
        "$x[[red]]$",
        "$$\nx[[red]]\n$$",
        "a $$x[[red]]$$ b",
        "$`x[[red]]`$",
        "```math\n[[red]]\n```",
        "a <!-- [[red]] --> b",
        "<!--\n[[red]]\n\n[a](two.md)\n-->",
        r"\[[red]] \[a](two.md) \![[two.png]",
        r"[\[red]]",
        "[[]] [[|a]] [[red",
        "[[red\nblue]]",
        "[a](javascript:b) [a](//e.org) <javascript:b>",
        "[a] [b][c]",
    ],
)
def test_there_is_no_link_in_code_mathematics_and_comments_nor_behind_a_backslash(text: str) -> None:
    assert found(text) == []


def test_links_on_the_same_target_stand_each_at_its_place() -> None:
    text = "[[red]], [[red|words]]\n[[red]]\n\n- [[red]] [a](b.md) ![a](b.md) [a](b.md)\n"
    red, b = text.split("[[red"), text.split("b.md")
    places = [len("[[red".join(red[:n])) for n in range(1, 5)]
    others = [len("b.md".join(b[:n])) for n in range(1, 4)]
    assert [link.offset for link in markdown.links(text)] == places + others


@pytest.mark.parametrize(
    ("text", "rests"),
    [
        ("[[red.held]] and [[red]]", ["[[red.held]] and [[red]]", "[[red]]"]),
        ("[[red#a]] [[red]]", ["[[red#a]] [[red]]", "[[red]]"]),
        ("[see two.md](two.md)", ["two.md)"]),
        ("two.md: [a](two.md)", ["two.md)"]),
        ("[a](b/two.md) [a](two.md)", ["b/two.md) [a](two.md)", "two.md)"]),
        ("[a](two.md.png) [a](two.md)", ["two.md.png) [a](two.md)", "two.md)"]),
        ("`[[red]]` [[red]]", ["[[red]]"]),
        (r"\[[red]] [[red]]", ["[[red]]"]),
        ("`[a](two.md)` [a](two.md)", ["two.md)"]),
    ],
)
def test_a_link_is_not_taken_for_one_that_begins_like_it_nor_for_mere_text(text: str, rests: list[str]) -> None:
    assert [rest for _, _, rest in found(text)] == rests


@pytest.mark.parametrize(
    ("written", "target"),
    [
        ("[a](a%20b.md)", "a%20b.md"),
        ("[a](<a b.md>)", "a%20b.md"),
        (r"[a](a\_b.md)", "a_b.md"),
        ("[a](a&amp;b.md)", "a&b.md"),
        ("[a](é.md)", "%C3%A9.md"),
        ("![[a b.png]]", "a%20b.png"),
        ("<a@e.org>", "mailto:a@e.org"),
        ("www.e.org", "http://www.e.org"),
    ],
)
def test_a_target_in_any_spelling_stands_inside_its_line(written: str, target: str) -> None:
    text = f"First.\n\nThen {written}.\n\nLast."
    (link,) = markdown.links(text)
    assert link.target == target
    assert text.index("Then") <= link.offset < text.index("Last")


@pytest.mark.parametrize(
    "address",
    [
        *("https://e.org", "HTTP://e.org", "https://e.org:8080/a:b?c#d", "mailto:a@e.org", "MailTo:a@e.org"),
        *("two.md", "two.md#part", "../two.md", "./a:b", "a/b:c", "/a", "#a:b", "?a:b", ""),
    ],
)
def test_an_address_may_be_http_or_mail_or_relative(address: str) -> None:
    assert markdown.is_allowed(address)


@pytest.mark.parametrize(
    "address",
    [
        *("javascript:alert(1)", "JaVaScRiPt:a", " javascript:a", "\x00javascript:a", "\x1fjavascript:a"),
        *("java\tscript:a", "java\nscript:a", "javascript\t:a", "\ufeffjavascript:a", "\u200bjavascript:a"),
        *("data:text/html,a", "vbscript:a", "file:///etc/passwd", "blob:https://e.org/a", "ftp://e.org", "tel:1"),
        *("view-source:https://e.org", "jar:https://e.org!/a", "a:b", "https\t:a", "c.md:1"),
        *("//e.org", r"\\e.org", r"/\e.org", r"\/e.org", "///e.org", " //e.org", "\n//e.org"),
    ],
)
def test_no_other_address_may_stand_in_a_text(address: str) -> None:
    assert not markdown.is_allowed(address)


@pytest.mark.parametrize(
    ("address", "is_relative"),
    [
        *((one, True) for one in ("two.md", "../two.md#part", "#part", "?state=open", "", "a/b:c", "#a:b", "?a:b")),
        *((one, False) for one in ("https://e.org", "HTTP://e.org", "mailto:a@e.org", "javascript:a", "c.md:1")),
    ],
)
def test_a_relative_address_has_no_scheme(address: str, is_relative: bool) -> None:
    assert markdown.is_relative(address) is is_relative


PIECES = (
    *("[[red]]", "[[red.held|why]]", "[[ red ]]", "![[two.png]]", "[a](two.md)", "![a](two.png)", "[a][b]", "[[", "]]"),
    *("[b]: two.md\n", "[^1]", "[^1]: ", "^[", "]", "(", ")", "<", ">", "> ", "> [!note]- ", "- ", "- [x] ", "1. "),
    *("\n", "\n\n", "\n: ", "    ", " ", "|", "| a | b |\n|:-|-:|\n", "$", "$$", "```", "```math\n", "`", "~~~\n"),
    *(
        "<!--",
        "-->",
        "# ",
        "\n===\n",
        "\\",
        "*",
        "_",
        "~~",
        "é",
        "a",
        "5",
        "&amp;",
        "&Tab;",
        "https://e.org",
        "a@e.org",
    ),
)
"""What means something in Markdown, to be joined at random."""

ODD = ("\t", "\r\n", "\r", "\x00", "\x0c", "\u2028", "\ufeff", "😀", "\ud800")


def texts(*more: str) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from([*PIECES, *more]), max_size=20).map("".join)


@settings(deadline=None, derandomize=True, max_examples=400)
@given(text=texts(*ODD) | st.text(), inline=st.booleans())
@example(text="\r- [ ] [[red]]\n", inline=False)
@example(text="[[a\x00b]]", inline=False)
def test_any_text_can_be_read_and_has_its_links_inside_it(text: str, inline: bool) -> None:
    for link in markdown.links(text, inline=inline):
        assert 0 <= link.offset < len(text), link


@settings(deadline=None, derandomize=True, max_examples=400)
@given(text=texts())
def test_a_wikilink_stands_where_its_target_is_written(text: str) -> None:
    for link in markdown.links(text):
        if link.kind == "wikilink":
            assert text.startswith("[[", link.offset), link
            assert text[link.offset + 2 :].lstrip().startswith(link.target), link


@pytest.mark.parametrize(
    "part",
    [
        *("Words with $x$ and [[red]], to the end.\n\n", "A line of words, one of many.\n", "- a [[red]]\n", "> a\n\n"),
        *("| a | b |\n| - | - |\n| 1 | $|x|$ |\n\n", "### a\n\n", "a\n: b\n\n", "a[^1]\n\n[^1]: b\n\n", "[a](two.md) "),
        *(
            "<!-- a -->\n\n",
            "$6 <!-- a\n\n",
            "<!-- a\n",
            "[[",
            "[[a|",
            "^[",
            "![",
            "$a ",
            "`a ",
            "*a",
            "==a ",
            "<",
            "\\",
        ),
    ],
)
def test_a_long_text_is_read_in_a_moment(part: str) -> None:
    assert seconds(lambda text: list(markdown.links(text)), part * 600) < 0.6


def test_cells_of_a_row_that_say_the_same_stand_apart() -> None:
    text = "|a|b|c|\n|-|-|-|\n|[[red]]|[[red]]|x [[red]]|\n"
    assert [link.offset for link in markdown.links(text)] == [17, 25, 35]


@pytest.mark.parametrize(
    "text", ["see xmpp:a@b.c", "see http://a.b:x", "a@b.c", "mailto:a@b.c", f"http://{'a' * 3000}.b"]
)
def test_what_is_like_an_address_and_is_no_link_stays_whole(text: str) -> None:
    (line,) = markdown.parser(lines=True).parseInline(text)
    assert "".join(token.content for token in line.children or ()) == text


def test_what_stands_before_an_address_stays_before_it() -> None:
    text = f"*b* {'word ' * 200}http://a.b, mailto:a@b.c and {'x' * 300} a@b.c *d*"
    (line,) = markdown.parser(lines=True).parseInline(text)
    said = "".join(token.content for token in line.children or ())
    assert said == text.replace("*", "")
    assert [link.target for link in markdown.links(text)] == ["http://a.b", "mailto:a@b.c", "mailto:a@b.c"]
    assert [text[link.offset :][:7] for link in markdown.links(text)] == ["http://", "mailto:", "a@b.c *"]


def test_a_long_address_is_no_link_and_a_long_title_is_cut() -> None:
    most = markdown.LONGEST
    assert [link.target for link in markdown.links(f"[a]({'b' * most})\n\n[c]({'d' * (most + 1)})")] == ["b" * most]
    tokens = markdown.parser().parse(f"[a]\n\n[a]: b '{'c' * (most + 9)}'")
    titles = [token.attrGet("title") for block in tokens for token in block.children or () if token.type == "link_open"]
    assert titles == ["c" * most]


@pytest.mark.parametrize(
    "text", ["\u2028\n[[red]]", "> \u2028\n> [[red]]", "\u2028\n\xa0\r\na\n[[red]]", "\x00[[red]]"]
)
def test_a_link_behind_blanks_that_are_none_to_markdown_is_found_where_it_stands(text: str) -> None:
    (link,) = markdown.links(text)
    assert text.startswith("[[red]]", link.offset)


def parsed(text: str, *, inline: bool = False) -> list[markdown.Link]:
    """Return the links to what is in the library, as the parser finds them."""
    own = markdown.links(text, inline=inline, own=True)
    return sorted(own, key=lambda link: link.offset) if "[" in text else []


NOTES = (
    *("[[red]]", "[[red]] ", "[[a.b]]", "[[ x y ]]", "[[a|b]]", "`x`", "`[x]`", "$x$", "$a_1[0]$", "$5", "$$\\vec x$$"),
    *(
        "\n```python\nx[0] = 1\n```\n",
        "```\n",
        "\n\n$$\n\\bigl[x\\bigr]\n$$\n\n",
        "| a | `b` |\n| - | - |\n",
        "| [[red]] |\n",
    ),
    *(
        "\n",
        "\n\n",
        "- ",
        "1. ",
        "> ",
        "> [!note] ",
        "- [ ] ",
        "[x]",
        "### a\n",
        ": b\n",
        "---\n",
        "    ",
        "   ",
        "  ",
        " ",
    ),
    *(
        "*a*",
        "_",
        "==",
        "word, ",
        "é",
        "!",
        "^",
        "(",
        "(two.md)",
        ": ",
        "~~~\n",
        "\\",
        "<!--",
        "-->",
        "`",
        "$",
        "|",
        "\t",
    ),
    *(
        "https://e.org/",
        "www.e.org/",
        "a@b.org",
        "mailto:",
        "[a](b.md)",
        "[a]: b.md\n",
        "![[a.png]]",
        "![a](b.png)",
        "[^1]",
    ),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(NOTES), min_size=1, max_size=8).map("".join), st.booleans())
@example("[a]\n\n[a]: b.md\n", False)
def test_links_that_are_certain_are_those_that_the_parser_finds(text: str, inline: bool) -> None:
    found = parsed(text, inline=inline)
    assert markdown.own_links(text, inline=inline) == found
    others = [link for link in found if link.kind != "wikilink" and markdown.is_relative(link.target)]
    assert not others or markdown.has_addresses(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "[[red]](two.md)",
            "[x](two.md) [[red]]",
            "![[two.png]]",
            "^[[red]]",
            "[[red]]\\",
            "\\[[red]]",
            "<!--[[red]]-->",
        ),
        *(
            "https://e.org/[[red]]",
            "www.e.org/[[red]]",
            "<a@e.org> [[red]]",
            "    [[red]]",
            "\t[[red]]",
            "-     [[red]]",
        ),
        *("`[[red]]`", "`a\r\rb` [[red]] `c`", "- `a\n- b` [[red]] `c`", "~~~\n[[red]]\n~~~", "```\n[[red]]\n```"),
        *("a ```\n- b\n```\n[[red]]\n```\nc\n```", "```\na\n```b\n[[red]]\n```\nc\n```", "- " * 50 + "[[red]]"),
        *("$[[red]]$", "$ a$b [[red]]$ c$", "$a $b [[red]]$c$", "$1$2 [[red]]$b$", "- $a\n- b$c [[red]]$d$"),
        *(
            "$$\na\n\nb\n$$\n[[red]]\n$$\nc\n$$",
            "a $$\n- b $$\n[[red]] $$\nc $$",
            "a\n$$\n- b\n$$\n[[red]]\n$$\nc\n$$",
            "| a |\n| - |\n| b | [[red]] |",
        ),
    ],
)
def test_a_link_that_is_not_certain_is_left_to_the_parser(text: str) -> None:
    assert markdown.own_links(text) == parsed(text)


def test_the_links_of_most_texts_are_certain() -> None:
    text = "### A\n\nOn [[red]]: $O(n)$.\n\n- `x[0]`, 5 %\n- [[red.held]]\n\n| a | b |\n| --- | --- |\n| 1 | $x$ |\n"
    code = "```python\ndef f(x):\n    return x[0]\n```"
    assert markdown.is_certain(f"{text}\n$$\n\\bigl[x\\bigr]\n$$\n\n{code}\n\n> [!note] b\n> c\n")
