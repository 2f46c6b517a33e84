"""What becomes of a card's text: HTML that shows all that was written, leads where it should, and can do nothing."""

import html
import re
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from quaere.content import markdown
from quaere.content.bibliography.tex import Run, Text
from quaere.pages import markup
from quaere.pages.markup import Ids, Image, Target

TARGETS = {
    "red": Target("../red/", "Red & green"),
    "red#notes": Target("../red/#notes", "Red & green"),
    "red.held": Target("../red/#held", "Why *so* `m[0]` <b>?", is_plain=False, state="open"),
}


@dataclass
class Page:
    """A page that has one card, one question and one picture around it, and believes any address."""

    asked: list[str] = field(default_factory=list)

    def wikilink(self, target: str) -> Target | None:
        self.asked.append(target)
        return TARGETS.get(target)

    def address(self, written: str) -> str | None:
        return None if written == "none.md" else written

    def image(self, written: str) -> Image | None:
        known = {"two.png": (30, 20), "two%20d.png": None}
        return Image(f"../{written}", known[written]) if written in known else None

    def code(self, text: str, language: str) -> Markup:
        return Markup('<pre class="{}"><code>{}</code></pre>').format(language, text)


def shown(text: str, below: int = 2, ids: Ids | None = None) -> str:
    return str(markup.block(text, Page(), ids or Ids(), below))


def tight(text: str) -> str:
    """Show a text without the line breaks between its elements."""
    return re.sub(r"(?<=>)\n(?=<|$)|\n(?=<[uo]l>)", "", shown(text))


def line(text: str, *, links: bool = True) -> str:
    return str(markup.inline(text, Page(), links=links))


class Reading(HTMLParser):
    """What a browser would make of some HTML."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.faults: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        self.faults += self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag == "a" and tag in self._open:
            self.faults.append("a link in a link")
        if tag not in {"br", "hr", "img", "input"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.faults.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.faults.append(f"<!--{data}")

    def handle_decl(self, decl: str) -> None:
        self.faults.append(f"<!{decl}")

    def handle_pi(self, data: str) -> None:
        self.faults.append(f"<?{data}")

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def addresses(self) -> list[str]:
        return [found[name] for _, found in self.elements for name in ("href", "src") if name in found]

    def ids(self) -> list[str]:
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]

    def alive(self) -> list[str]:
        """Return what could run or fetch something, and what is no well-formed part of a page."""
        found = [tag for tag, _ in self.elements if tag not in SHOWN]
        found += [f"{tag} {name}" for tag, names in self.elements for name in names if name not in KNOWN]
        return [*found, *self.faults, *filter(is_foreign, self.addresses())]


SHOWN = frozenset(
    """
    a blockquote br code dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr img input li mark ol p pre s section span
    strong sub summary sup table tbody td th thead tr ul
    """.split()  # noqa: SIM905  (a list of quoted words would take a screen)
)
KNOWN = frozenset({"align", "alt", "checked", "class", "data-state", "disabled", "height", "href", "id", "loading"})
KNOWN |= {"open", "src", "start", "title", "type", "width"}


def is_foreign(address: str) -> bool:
    """Tell whether a browser would take an address for something else than http, mail or a page of the site."""
    # Browsers leave out these signs before they look.
    read = re.sub("[\t\n\r]", "", address).strip("".join(map(chr, range(33))))
    scheme = re.match(r"([a-z][a-z0-9+.-]*):", read, re.IGNORECASE)
    if scheme:
        return scheme[1].lower() not in {"http", "https", "mailto"}
    return re.match(r"[/\\]{2}", read) is not None


# Text, lists and tables


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("*a* **b** ~~c~~ `d`", "<p><em>a</em> <strong>b</strong> <s>c</s> <code>d</code></p>"),
        ("==a *b*== c", "<p><mark>a <em>b</em></mark> c</p>"),
        ("a == b, c==d==e", "<p>a == b, c==d==e</p>"),
        ("`==a==` $==a==$", '<p><code>==a==</code> <span class="arithmatex">\\(==a==\\)</span></p>'),
        ("a_b_c and 2 * 3 * 4", "<p>a_b_c and 2 * 3 * 4</p>"),
        ("a  \nb\\\nc", "<p>a<br>\nb<br>\nc</p>"),
        ("    m[[0, 1]] < b", '<pre class="text"><code>m[[0, 1]] &lt; b\n</code></pre>'),
        (
            "a\n\n    m[[0, 1]]\n      *b*\n\nc",
            '<p>a</p><pre class="text"><code>m[[0, 1]]\n  *b*\n</code></pre><p>c</p>',
        ),
        ("- a\n  - b\n    - c", "<ul><li>a<ul><li>b<ul><li>c</li></ul></li></ul></li></ul>"),
        ("1. a\n   - b\n2. c", "<ol><li>a<ul><li>b</li></ul></li><li>c</li></ol>"),
        ("3) a\n\n   b", '<ol start="3"><li><p>a</p><p>b</p></li></ol>'),
        ("> a\n> > b", "<blockquote><p>a</p><blockquote><p>b</p></blockquote></blockquote>"),
        ("Word\n: Meaning\n: Other", "<dl><dt>Word</dt><dd>Meaning</dd><dd>Other</dd></dl>"),
        ("*Word*\n: A\n\n  - b", "<dl><dt><em>Word</em></dt><dd><p>A</p><ul><li>b</li></ul></dd></dl>"),
        ("a\n\n---\n\nb", "<p>a</p><hr><p>b</p>"),
        ("a&nbsp;b &copy; &#60;", "<p>a&nbsp;b © &lt;</p>"),
        ("", ""),
    ],
)
def test_text_is_shown_as_commonmark_has_it(text: str, wanted: str) -> None:
    assert tight(text) == wanted


def test_a_task_is_a_box_that_cannot_be_ticked() -> None:
    source = tight("- [ ] open\n- [x] done\n- [X] done too\n- none")
    boxes = Reading(source).all("input")
    assert [("checked" in box, "disabled" in box, box["type"]) for box in boxes] == [
        (False, True, "checkbox"),
        (True, True, "checkbox"),
        (True, True, "checkbox"),
    ]
    assert re.sub("<[^>]*>", "", source.replace("</li>", "|")) == " open| done| done too|none|"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "> [!note] A *title*\n> text",
            '<div class="admonition note"><p class="admonition-title">A <em>title</em></p><p>text</p></div>',
        ),
        ("> [!WARNING]\n> a", '<div class="admonition warning"><p class="admonition-title">Warning</p><p>a</p></div>'),
        ("> [!note]", '<div class="admonition note"><p class="admonition-title">Note</p></div>'),
        ("> [!tip]-\n> text", '<details class="tip"><summary>Tip</summary><p>text</p></details>'),
        ("> [!tip]- Title\n> a", '<details class="tip"><summary>Title</summary><p>a</p></details>'),
        ("> [!tip]+ Title\n> a", '<details class="tip" open=""><summary>Title</summary><p>a</p></details>'),
        (
            "- a\n\n  > [!tip]+\n  >\n  > - b",
            '<ul><li><p>a</p><details class="tip" open=""><summary>Tip</summary><ul><li>b</li></ul></details></li>'
            "</ul>",
        ),
        (
            "> a\n>\n> > [!tip]-\n> > b\n>\n> c",
            '<blockquote><p>a</p><details class="tip"><summary>Tip</summary><p>b</p></details><p>c</p></blockquote>',
        ),
        (
            "> [!tip]-\n> a\n>\n> > b",
            '<details class="tip"><summary>Tip</summary><p>a</p><blockquote><p>b</p></blockquote></details>',
        ),
        ("> a\n> [!note]", "<blockquote><p>a\n[!note]</p></blockquote>"),
        (r"> \[!note] a", "<blockquote><p>[!note] a</p></blockquote>"),
        ("> - [!note] a", "<blockquote><ul><li>[!note] a</li></ul></blockquote>"),
        (">", "<blockquote></blockquote>"),
    ],
)
def test_a_callout_has_a_title_and_may_be_folded(text: str, wanted: str) -> None:
    assert tight(text) == wanted


def test_footnotes_lead_there_and_back_and_have_ids_of_their_own_in_each_text_of_a_page() -> None:
    ids = Ids()
    texts = "a[^1] b[^1] c^[Inline *d*.]\n\n[^1]: First.", "a[^1]\n\n[^1]: Second."
    reading = Reading("".join(shown(text, ids=ids) for text in texts))
    assert [name for name, count in Counter(reading.ids()).items() if count > 1] == []
    assert len(reading.ids()) == 4 + 3
    assert {address.removeprefix("#") for address in reading.addresses()} == set(reading.ids())
    for words in ("First.", "Inline d.", "Second."):
        assert reading.text.count(words) == 1
    assert reading.alive() == []


def test_a_line_has_no_room_for_footnotes() -> None:
    for source in (line("a^[note] b"), line("a^[note] b", links=False)):
        assert Reading(source).elements == []
        assert "note" in source


TABLE = "| a | b | c |\n| :- | :-: | -: |\n"


def test_a_table_aligns_its_columns_without_a_style() -> None:
    source = tight(f"{TABLE}| 1 | 2 | 3 |")
    assert source == (
        '<table><thead><tr><th align="left">a</th><th align="center">b</th><th align="right">c</th></tr></thead>'
        '<tbody><tr><td align="left">1</td><td align="center">2</td><td align="right">3</td></tr></tbody></table>'
    )


@pytest.mark.parametrize("before", ["", "It costs $6.\n\n", "`x$y`\n\n", "$|y|$ for $6\n\n", "```\n$\n```\n\n"])
@pytest.mark.parametrize(
    ("row", "cells"),
    [
        ("| $|x|$ | $\\|x\\|$ | 1 |", [r"\(|x|\)", r"\(\|x\|\)", "1"]),
        ("| ($|x|$) | a | b |", [r"(\(|x|\))", "a", "b"]),
        ("|$|x|$|a|b|", [r"\(|x|\)", "a", "b"]),
        ("| $p(a|b)$ is $|b|$ | $$|x|$$ | 1 |", [r"\(p(a|b)\) is \(|b|\)", r"\[|x|\]", "1"]),
        ("| $6 | $7 | 1 |", ["$6", "$7", "1"]),
        (r"| `a\|b` | [[red\|a color]] | c\|d |", ["a|b", "a color", "c|d"]),
    ],
)
def test_mathematics_in_a_cell_may_hold_bars(before: str, row: str, cells: list[str]) -> None:
    source = shown(f"{before}{TABLE}{row}")
    found = re.findall("<td[^>]*>(.*?)</td>", source)
    assert [html.unescape(re.sub("<[^>]*>", "", cell)) for cell in found] == cells
    assert "style" not in source


# Mathematics, code and diagrams


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("$E=mc^2$ in 1905", r"<p>[\(E=mc^2\)] in 1905</p>"),
        (r"7$\times$7", r"<p>7[\(\times\)]7</p>"),
        ("a $x_1 < y_{2}$, *b*", r"<p>a [\(x_1 &lt; y_{2}\)], <em>b</em></p>"),
        ("$a$ and $b$", r"<p>[\(a\)] and [\(b\)]</p>"),
        (r"$a\$b$", r"<p>[\(a\$b\)]</p>"),
        ("$`a_b`$ c", r"<p>[\(a_b\)] c</p>"),
        ("a $$x^2$$ b", r"<p>a [\[x^2\]] b</p>"),
        ("$$\na_b &= <c>\n$$", r'<div class="arithmatex">\[a_b &amp;= &lt;c&gt;\]</div>'),
        ("```math\na_b < c\n```", r'<div class="arithmatex">\[a_b &lt; c\]</div>'),
        ("it costs $6 and `x$y`", "<p>it costs $6 and <code>x$y</code></p>"),
        ("$5-$6", "<p>$5-$6</p>"),
        ("from $5 to $6", "<p>from $5 to $6</p>"),
        ("between US$5 and US$6", "<p>between US$5 and US$6</p>"),
        (r"\$a$ b", "<p>$a$ b</p>"),
        ("$ a$ $a $", "<p>$ a$ $a $</p>"),
        ("$a\n\nb$", "<p>$a</p><p>b$</p>"),
        ("`$a$`", "<p><code>$a$</code></p>"),
        ("a $ b", "<p>a $ b</p>"),
    ],
)
def test_mathematics_is_told_from_money_and_code(text: str, wanted: str) -> None:
    source = re.sub(r'<span class="arithmatex">(.*?)</span>', r"[\1]", tight(text))
    assert source == wanted


@pytest.mark.parametrize(
    ("info", "language"),
    [
        *(("", "text"), ("python", "python"), ("Python", "python"), ("c++", "c++"), ("klingon", "klingon")),
        *(("python title=x onclick=alert(1)", "python"), ('a"><script>', "a"), ("{.python}", "text")),
        *(("&quot;onclick=x", "text"), ("math x", "math"), ("mermaid-x", "mermaid-x")),
    ],
)
def test_code_is_shown_as_it_is_with_the_first_word_of_its_fence_for_a_language(info: str, language: str) -> None:
    code = "\n\tif a < b: '[[red]]' <!-- c --> &amp;\n\n"
    for fence in ("```", "~~~~"):
        reading = Reading(shown(f"{fence} {info}\n{code}{fence}"))
        assert reading.elements == [("pre", {"class": language}), ("code", {})]
        assert reading.text == code


@pytest.mark.parametrize("language", ["python", "pycon", "sh", "json", "klingon", "text", ""])
def test_colors_change_nothing_of_code(language: str) -> None:
    code = "\n\n>>> \"<b>&amp;\" + 'x'  # c\n<b>&amp;x\n\n$ a | b\n"
    reading = Reading(str(markup.highlighted(code, language)))
    assert reading.text.rstrip("\n") == code.rstrip("\n")
    assert {tag for tag, _ in reading.elements} <= {"span"}
    assert bool(reading.elements) is (language in {"python", "pycon", "sh", "json"})


def test_a_diagram_is_left_to_the_theme() -> None:
    source = tight('```mermaid\ngraph LR\n  A["<b>"] --> B\n  style A fill:#fff\n```')
    assert source == '<div class="diagram">graph LR\n  A["&lt;b&gt;"] --&gt; B\n  style A fill:#fff</div>'


@pytest.mark.parametrize(
    "code",
    [
        "graph LR\n  style A fill:url(https://e.org/a.svg#a)",
        "graph LR\n  style A fill:URL (https://e.org/a.svg#a)",
        r"graph LR" + "\n" + r"  style A fill:\75rl(https://e.org/a.svg#a)",
        "graph LR\n  classDef a background:image-set('https://e.org/a.png' 1x)",
        'graph LR\n  A@{ img: "https://e.org/a.png" }',
        'graph LR\n  A@{ "\\u0069mg": "https://e.org/a.png" }',
        'graph LR\n  A["<img src=https://e.org/a.png>"]',
        '%%{init: {"themeCSS": "@import \'https://e.org/a.css\'"}}%%\ngraph LR',
    ],
)
def test_a_diagram_that_could_fetch_something_is_code(code: str) -> None:
    reading = Reading(shown(f"```mermaid\n{code}\n```"))
    assert reading.elements == [("pre", {"class": "mermaid"}), ("code", {})]
    assert reading.text == f"{code}\n"


# Headings


def headings(source: str) -> list[tuple[str, str]]:
    """Return the level and the id of each heading; each must link to itself, behind its words."""
    link = r'<a class="headerlink" href="#([^"]*)" title="[^"]+">#</a>'
    found = re.findall(rf'<h(\d) id="([^"]*)">.*?{link}</h\1>', source, re.DOTALL)
    assert len(found) == source.count("<h") - source.count("<hr")
    assert all(id == link for _, id, link in found)
    return [(level, id) for level, id, _ in found]


@pytest.mark.parametrize(
    ("text", "below", "levels"),
    [
        ("# a\n\n## b\n\n# c", 2, "343"),
        ("## a\n\n### b", 2, "34"),
        ("### a\n\n#### b", 2, "34"),
        ("#### a", 2, "4"),
        ("### a", 3, "4"),
        ("## a\n\n# b", 2, "43"),
        ("a\n=\n\nb\n-", 3, "45"),
        ("# a\n\n###### b", 3, "46"),
        ("> # a\n\n- ## b", 2, "34"),
    ],
)
def test_headings_are_moved_below_the_pages_own(text: str, below: int, levels: str) -> None:
    assert "".join(level for level, _ in headings(shown(text, below))) == levels


def test_the_ids_of_headings_are_unique_on_a_page_and_none_that_is_reserved() -> None:
    ids = Ids({"held", "notes_", "big_claim"})
    first = shown(
        "# Held\n\n# Held\n\n# held_1\n\n# notes_\n\n# big_claim\n\n# A & b: $x^2$, `c`!\n\n# ?\n\n#", ids=ids
    )
    second = shown("# Held\n\n# Été *en* [[red]]", ids=ids)
    found = [id for _, id in headings(first + second)]
    assert len(set(found)) == len(found) == 10
    assert not {"held", "notes_", "big_claim"} & set(found)
    assert found[5:7] == ["a-b-x2-c", "section"]
    assert found[-1] == "été-en-red-green"
    assert all(re.fullmatch(r"\w[\w-]*", id) for id in found)


@pytest.mark.parametrize(
    ("source", "ids", "words"),
    [
        ("### Why *masks* {#why-hidden}", ["why-hidden"], ["Why masks"]),
        ("### A\n### B { #a }", ["a", "a_1"], ["A", "B"]),
        ("### {#alone}", ["alone"], [""]),
        ("### {a} {#A} {#b} c", ["a-a-b-c"], ["{a} {#A} {#b} c"]),
        ("### A `{#b}`", ["a-b"], ["A {#b}"]),
        ("### A {#<b>}", ["a-b"], ["A {#<b>}"]),
    ],
)
def test_a_heading_may_end_with_its_id(source: str, ids: list[str], words: list[str]) -> None:
    made = shown(source)
    assert [id for _, id in headings(made)] == ids
    lines = re.findall(r"<h\d[^>]*>(.*?)<a ", made)
    assert [html.unescape(re.sub("<[^>]*>", "", line)) for line in lines] == words


def test_a_headings_id_does_not_change_with_the_state_of_a_question() -> None:
    ((_, id),) = headings(shown("# About [[red.held|it]]"))
    assert id == "about-it"


def test_a_heading_of_two_lines_has_its_words_apart_in_its_id() -> None:
    assert headings(shown("A\nb\n==")) == [("3", "a-b")]


def test_a_footnote_and_a_heading_have_no_id_in_common() -> None:
    found = Reading(shown("a[^1]\n\n[^1]: b")).ids()
    again = Reading(shown("".join(f"# {id}\n\n" for id in found) + "a[^1]\n\n[^1]: b")).ids()
    assert len(set(again)) == len(again) == 2 * len(found)


# Links between cards


BADGE = '<span class="q-badge" data-state="open">open</span>'


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[[red]]s", '<a href="../red/">Red &amp; green</a>s'),
        ("[[ red ]]", '<a href="../red/">Red &amp; green</a>'),
        ("[[red|a *b* `c` $d$]]", '<a href="../red/">a <em>b</em> <code>c</code> [d]</a>'),
        ("[[red#notes]]", '<a href="../red/#notes">Red &amp; green</a>'),
        ("[[red#notes|n]]", '<a href="../red/#notes">n</a>'),
        ("[[red.held]].", f'<a href="../red/#held">Why <em>so</em> <code>m[0]</code> &lt;b&gt;?</a> {BADGE}.'),
        ("[[red.held|it]].", f'<a href="../red/#held">it</a> {BADGE}.'),
        ("**[[red]]**", '<strong><a href="../red/">Red &amp; green</a></strong>'),
        ("[[nobody]], [[nobody|a *b*]]", "nobody, a <em>b</em>"),
        (r"\[[red]] `[[red]]`", "[[red]] <code>[[red]]</code>"),
        ("[[red|see https://e.org]]", '<a href="../red/">see https://e.org</a>'),
    ],
)
def test_a_wikilink_leads_to_a_card_or_to_a_question_with_its_state(text: str, wanted: str) -> None:
    for source in (tight(text).removeprefix("<p>").removesuffix("</p>"), line(text)):
        assert re.sub(r'<span class="arithmatex">\\\((.*?)\\\)</span>', r"[\1]", source) == wanted


@pytest.mark.parametrize(
    "text", ["[a [[red]] b](two.md)", "[a [[red|red]] b](two.md)", "[a [[red.held|red]] b](two.md)"]
)
def test_in_the_text_of_a_link_a_wikilink_is_text(text: str) -> None:
    reading = Reading(shown(text))
    assert reading.addresses() == ["two.md"]
    assert re.fullmatch("a red.* b\n", reading.text, re.IGNORECASE)


def test_in_a_line_that_stands_in_a_link_there_is_no_link() -> None:
    text = "[[red]] [[red.held]] [[red|a]] [b](two.md) <https://e.org> e@e.org ![c](https://e.org/c.png)"
    reading = Reading(line(text, links=False))
    assert "a" not in {tag for tag, _ in reading.elements}
    assert reading.text == "Red & green Why so m[0] <b>? a b https://e.org e@e.org c"


def test_a_question_that_names_itself_is_shown_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TARGETS, "red.self", Target("../red/#self", "Why [[red.self]]?", is_plain=False, state="open"))
    reading = Reading(shown("[[red.self]]"))
    assert reading.addresses() == ["../red/#self"]
    assert reading.text.startswith("Why ")


def test_a_footnote_may_name_a_question() -> None:
    for text in ("a^[see [[red.held]]]", "a[^1] [[red.held]]\n\n[^1]: see [[red.held]]"):
        reading = Reading(shown(text))
        assert "../red/#held" in reading.addresses()
        assert "see Why so" in reading.text


# Comments and HTML


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a <!-- b --> c", "a c"),
        ("<!-- a -->", ""),
        ("<!-- a -->\nb", "b"),
        ("a\n<!-- b -->\nc", "a c"),
        ("a\n\n<!-- b\n\nc -->\n\nd", "a d"),
        ("<!-- a\n\nb --> c", "c"),
        ("- a <!-- b -->\n- <!-- c\n\n  d -->\n  e", "a e"),
        ("> <!-- a\n> b -->\n> c", "c"),
        ("# a <!-- b -->", "a #"),
        ("| a <!-- b --> |\n| - |", "a"),
        ("<!-- [[red]] ``` -->\n\na", "a"),
        ("a <!-- b", "a <!-- b"),
        ("<!-- a\n\nb", "<!-- a b"),
        ("<!-- a ->\n\nb", "<!-- a -> b"),
        ("a --> b", "a --> b"),
        (r"\<!-- a -->", "<!-- a -->"),
        ("`<!-- a -->`", "<!-- a -->"),
        ("    <!-- a -->", "<!-- a -->"),
        ("```\n<!-- a -->\n```", "<!-- a -->"),
    ],
)
def test_a_comment_is_not_shown_but_one_that_never_ends_is(text: str, words: str) -> None:
    reading = Reading(shown(text))
    assert " ".join(reading.text.split()) == words
    assert reading.faults == []


@pytest.mark.parametrize(
    "text",
    [
        "<b>a</b> <br> <br/>",
        "<script>alert(1)</script>",
        "a <img src=x onerror=alert(1)> b",
        "<div onclick='x'>",
        "</div></div>",
        "<style>*{display:none}</style>",
        "<iframe src='https://e.org'></iframe>",
        "<svg><a xlink:href='javascript:x'/></svg>",
        "<math><mi xlink:href='data:x'></math>",
        "<?php x ?> <!DOCTYPE html> <![CDATA[x]]>",
        "<a href='javascript:x' onclick=x>y</a>",
        "<x onclick=alert(1)",
        '"><script>x</script>',
        "&lt;script&gt;x&lt;/script&gt;",
    ],
)
def test_html_is_text(text: str) -> None:
    for source in (shown(text), shown(f"<!-- -->{text}"), shown(f"- {text}"), line(text)):
        reading = Reading(source)
        assert {tag for tag, _ in reading.elements} <= {"p", "ul", "li"}
        assert reading.faults == []
        assert reading.text.strip() == html.unescape(text)


@pytest.mark.parametrize(
    "text",
    [
        "[x](https://e.org){ onclick=alert(1) }",
        "paragraph\n{: onclick=alert(1) }",
        "### heading {onclick=alert(1)}",
        '![x](two.png){onerror="alert(1)"}',
        '![x" onerror="alert(1)](two.png \'" onload="x\')',
        "[x](https://e.org '\"onclick=\"x')",
        '> [!note"onclick="x] a',
        "> [!note]- <summary onclick=x>",
        "$<script>alert(1)</script>$",
        "$$\n<script>alert(1)</script>\n$$",
        "```math\n</div><script>\n```",
        "```mermaid\n</div><script>\n```",
        "``` {.mermaid onclick=alert(1)}\nx\n```",
        '[^"onclick="x]\n\n[^"onclick="x]: a',
        '[[red"onclick="x]] [[<script>]] [[red|<script>]]',
    ],
)
def test_no_text_adds_an_attribute_or_an_element(text: str) -> None:
    assert Reading(shown(text)).alive() == []


# Images


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("![a *b*](two.png)", '<img src="../two.png" alt="a b" width="30" height="20" loading="lazy">'),
        ('![a](two.png "c")', '<img src="../two.png" alt="a" title="c" width="30" height="20" loading="lazy">'),
        ("![[two.png]]", '<img src="../two.png" alt="two.png" width="30" height="20" loading="lazy">'),
        ("![[two.png|a b]]", '<img src="../two.png" alt="a b" width="30" height="20" loading="lazy">'),
        ("![[two d.png]]", '<img src="../two%20d.png" alt="two d.png" loading="lazy">'),
        (
            "[![a](two.png)](two.md)",
            '<a href="two.md"><img src="../two.png" alt="a" width="30" height="20" loading="lazy"></a>',
        ),
        (
            "[![[two.png]]](two.md)",
            '<a href="two.md"><img src="../two.png" alt="two.png" width="30" height="20" loading="lazy"></a>',
        ),
        ("![a](https://e.org/a.png)", '<a href="https://e.org/a.png">a</a>'),
        ("![](https://e.org/a.png)", '<a href="https://e.org/a.png">https://e.org/a.png</a>'),
        ("![a *b* `c`](https://e.org/a.png)", '<a href="https://e.org/a.png">a b c</a>'),
        ("[![a](https://e.org/a.png)](two.md)", '<a href="two.md">a</a>'),
        ("![a][b]\n\n[b]: https://e.org/a.png", '<a href="https://e.org/a.png">a</a>'),
        ("![a](none.png), ![[none.png|b]]", "a, b"),
        ("[a](none.md)", "a"),
    ],
)
def test_an_image_of_the_library_is_shown_and_one_from_elsewhere_is_a_link(text: str, wanted: str) -> None:
    source = tight(text).removeprefix("<p>").removesuffix("</p>")
    order = sorted(re.findall(r'\w+="[^"]*"', source))
    assert (re.sub(r' \w+="[^"]*"', "", source), order) == (
        re.sub(r' \w+="[^"]*"', "", wanted),
        sorted(re.findall(r'\w+="[^"]*"', wanted)),
    )


def test_an_image_is_told_in_words_even_where_these_hold_a_link() -> None:
    (image,) = Reading(shown("![as in [[red]], [[red.held|so]]](two.png)")).all("img")
    assert image["alt"] == "as in Red & green, so"


# Addresses


FORMS = (
    *("[x]({})", "[x](<{}>)", '[x]({} "title")', "![x]({})", "<{}>", "{}", "*<{}>*"),
    *("[x][y]\n\n[y]: {}", "[x][y]\n\n[y]: <{}> 'title'", "[y]\n\n[y]: {}", "![x][y]\n\n[y]: {}"),
    *("> [x][y]\n>\n> [y]: {}", "- [x][y]\n\n  [y]: {}", "> [!note] [x][y]\n>\n> [y]: {}", "> [!note]- a\n> [x]({})"),
    *("a[^1]\n\n[^1]: [x]({})", "a[^1]\n\n[^1]: [x][y]\n\n    [y]: {}", "^[[x]({})]", "x\n: [x]({})", "# [x]({})"),
    *("| [x]({}) |\n| - |", "- [ ] [x]({})", "[[red|<{}>]]", "~~[x]({})~~"),
)
ELSEWHERE = (
    *("[![x]({})](two.md)", '[x](two.md "{}")', "![x](two.png '{}')", "![{}](two.png)"),
    *("[[{}]]", "[[{}|x]]", "[[red|{}]]", "![[{}.png]]", "![[{}.svg|x]]"),
)
HOSTILE = (
    *("javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "javascript://e.org/%0aalert(1)"),
    *("&#106;avascript:alert(1)", "&#x6A;avascript:alert(1)", "&#0000106avascript:alert(1)", "java&#115;cript:x"),
    *("javascript&colon;alert(1)", "javascript&#58;alert(1)", "javascript&#x3A;x", r"javascript\:alert(1)"),
    *("java&Tab;script:alert(1)", "java&NewLine;script:alert(1)", "java&#13;script:x", "&Tab;javascript:x"),
    *("java\tscript:alert(1)", "java\nscript:alert(1)", "\tjavascript:x", "\njavascript:x", "javascript\t:x"),
    *("&#1;javascript:alert(1)", "&#0;javascript:x", "\x01javascript:x", "\x00javascript:x", "&#31;javascript:x"),
    *("&nbsp;javascript:x", "\u200bjavascript:x", "\ufeffjavascript:x", "\u2028javascript:x", "java\xadscript:x"),
    *("%6Aavascript:alert(1)", "javascript%3Aalert(1)", "ｊavascript:x", "javaſcript:x"),
    *("data:text/html,<script>alert(1)</script>", "data:text/html;base64,PHNjcmlwdD4=", "DATA:image/svg+xml,<svg/>"),
    *("vbscript:msgbox(1)", "file:///etc/passwd", "blob:https://e.org/1", "filesystem:https://e.org/a", "ftp://e.org"),
    *("view-source:https://e.org", "jar:https://e.org!/a", "feed:javascript:x", "about:blank", "x-y.z+1:a", "tel:1"),
    *("//e.org", "///e.org", r"\\\\e.org", r"\\e.org", r"/\e.org", r"/\\e.org", r"\/e.org", "&sol;&sol;e.org"),
    *("&bsol;&bsol;e.org", "/&bsol;e.org", "/&Tab;/e.org", "&Tab;//e.org", "/\t/e.org", "/\n/e.org", " //e.org"),
    *("&#47;&#47;e.org", "\u2028//e.org", "//e.org/javascript:x", "https&Tab;://e.org", "ht\ntps://e.org"),
)


def test_what_is_marked_twice_in_a_title_is_shown_so() -> None:
    marked = Text((Run("a < b", ("bold", "italic")), Run(" c", ("smallcaps", "sub"))))
    assert markup.runs(marked) == "<strong><em>a &lt; b</em></strong><sub> c</sub>"


def test_a_link_keeps_its_title() -> None:
    assert line('[a](https://e.org "b & <c>")') == '<a href="https://e.org" title="b &amp; &lt;c&gt;">a</a>'


def test_every_form_can_hold_an_address() -> None:
    for form in FORMS:
        assert "https://e.org/a" in Reading(shown(form.replace("{}", "https://e.org/a"))).addresses(), form


@pytest.mark.parametrize("address", HOSTILE)
def test_no_spelling_of_an_address_leads_to_another_scheme_or_host(address: str) -> None:
    for form in (*FORMS, *ELSEWHERE):
        text = form.replace("{}", address)
        for source in (shown(text), line(text), line(text, links=False)):
            assert [one for one in Reading(source).addresses() if is_foreign(one)] == [], form
            assert Reading(source).alive() == [], form


def test_what_is_no_address_is_not_marked_as_a_link() -> None:
    for text in ("[x](javascript:a)", "<javascript:a>", "![[javascript:a.png]]", "![[//e.org/a.png]]", "[x](//e.org)"):
        assert Reading(shown(text)).all("a") == [], text


# Whatever is written

PIECES = (
    *("[[red]]", "[[red.held]]", "[[red|", "[[x]]", "![[two.png]]", "]]", "[x](", "![x](", "two.md)", "https://e.org)"),
    *("javascript:x)", "<javascript:x>", "//e.org)", "[y]: javascript:x\n", "[x][y]", "[y]", "[^1]", "[^1]: ", "^["),
    *("<!--", "-->", "<script>", "</p>", "<b onclick=x>", "<", ">", "&lt;", "&#60;", "&quot;", '"', "'", "`", "```\n"),
    *("```mermaid\n", "```math\n", "~~~\n", "$", "$$", "\n$$\n", "|", "| a | b |\n|:-|-:|\n", "\n", "\n\n", "\n    "),
    *("> ", "> [!note]- ", "> [!note] ", "- ", "- [x] ", "1. ", "# ", "### a\n", "\n===\n", "\n: ", "*", "**", "_"),
    *("~~", "==", "\\", "]", " ", "a", "é", "\t", "\x00", "\r", "https://e.org ", "www.e.org ", "a@e.org ", "![x"),
    *("{onclick=x}", '"title"'),
)
TEXTS = st.lists(st.sampled_from(PIECES), max_size=24).map("".join)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(text=TEXTS)
def test_nothing_in_a_text_is_alive_and_its_ids_are_unique(text: str) -> None:
    ids = Ids()
    reading = Reading(shown(text, ids=ids) + shown(text, ids=ids))
    assert reading.alive() == []
    assert [id for id, count in Counter(reading.ids()).items() if count > 1] == []
    assert Reading(line(text)).alive() == []
    inside = Reading(f"<a>{line(text, links=False)}</a>")
    assert inside.alive() == []


@settings(deadline=None, derandomize=True, max_examples=300)
@given(text=TEXTS)
def test_the_wikilinks_that_are_checked_are_those_that_are_shown(text: str) -> None:
    page = Page()
    markup.block(text, page, Ids(), 2)
    assert page.asked == [link.target for link in markdown.links(text) if link.kind == "wikilink"]


@settings(deadline=None, derandomize=True, max_examples=100)
@given(text=TEXTS)
@example(text="[[red]](two.md)")
@example(text="[[red]][y]\n\n[y]: two.md")
def test_a_wikilink_that_is_read_first_is_none_that_would_be_the_text_of_a_link(text: str) -> None:
    late = markdown.parser()
    late.disable("plain_wikilink")
    assert late.parse(text) == markdown.parser().parse(text)


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("a ==b *c*== d", ["b c"]),
        ("==a== and ==b==", ["a", "b"]),
        ("a == b and c == d", []),
        ("if x==y==z", []),
        ("`==a==` and $==b==$", []),
    ],
)
def test_what_obsidian_marks_is_marked(text: str, marked: list[str]) -> None:
    assert re.findall("<mark>(.*?)</mark>", re.sub("</?em>", "", line(text))) == marked


FEW = st.sampled_from(
    (
        *("a", "é", "中", "Yes.", "No. 1", "1", "1. a", ".", ")", "-", "(", "!", "'", '"', "/", "%", "…", "?", " "),
        *("a ", "\n", "_b_", "[", "*", ":", "www.e.org", "http://a", "\u00a0", "&", "+", "#", "=", "|"),
    )
)


@settings(max_examples=400)
@given(st.lists(FEW, max_size=4).map("".join))
def test_a_plain_line_is_shown_as_by_the_parser(text: str) -> None:
    def ways() -> list[object]:
        page = Page()
        told = [markup.inline(text, page), markup.words(text, page), markup.first_sentence(text, page)]
        return [*told, shown(text), list(markdown.links(text)), list(markdown.links(text, inline=True))]

    fast = ways()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(markdown, "is_plain", lambda line: False)
        assert ways() == fast


@pytest.mark.parametrize("text", ["Why? (Eq. 3, “all” 50 %)", "注意力机制", "Two words - and/or three…"])
def test_most_lines_need_no_parser(text: str) -> None:
    assert markdown.is_plain(text)
