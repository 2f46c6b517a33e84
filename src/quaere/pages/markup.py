"""From what a card says to HTML that shows it, and can do nothing else.

The parser of `content.markdown` gives tokens, the rules below turn those that HTML has not into elements with classes
of the theme, markdown-it-py's renderer writes and escapes all of them, and nh3 lets pass what is on its list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple, Protocol, cast

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markupsafe import Markup
from pygments import format
from pygments.formatters import HtmlFormatter
from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Token as Kind
from pygments.token import _TokenType
from pygments.util import ClassNotFound

from quaere.content import markdown
from quaere.content.bibliography.tex import Text
from quaere.pages import scripts
from quaere.pages.diagrams import drawable
from quaere.pages.page import unicode_equation

_TAGS = frozenset(
    """
    a blockquote br code dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr img input li mark ol p pre s section span
    strong sub summary sup table tbody td th thead tr ul
    """.split()  # noqa: SIM905  (a list of quoted words would take a screen)
)
_ATTRIBUTES = {
    "*": {"class", "id"},
    "a": {"href", "title"},
    "details": {"open"},
    "img": {"alt", "height", "loading", "src", "title", "width"},
    "input": {"checked", "disabled", "type"},
    "ol": {"start"},
    "span": {"data-state"},
    "td": {"align"},
    "th": {"align"},
}
_MARKS = {"italic": "em", "bold": "strong", "code": "code", "sub": "sub", "sup": "sup"}
_LANGUAGE = re.compile(r"[\w+#.-]+")
# The tokens that HTML has no element for, or another one.
_TURNED = {"inline", "math_block", "fence", "th_open", "td_open", "footnote_block_open", "footnote_block_close"}
_DEEPEST = 6
_SHORT = 30
_FULL_STOP = re.compile(r"[.!?。！？][)\"”’]*")
_ABBREVIATION = re.compile(r"(?:^|[\s(])(?:e\.g|i\.e|cf|vs|al|etc|approx|Eqs?|Figs?|Secs?|Tab|App|Ref|No|[A-Z])\.$")
_ID_AT_END = re.compile(r"(?:^|[ \t]+)\{[ \t]*#([a-z0-9][a-z0-9_-]*)[ \t]*\}$")


@dataclass(frozen=True)
class Target:
    """Where a wikilink leads: the address, and the line of Markdown or the plain words that name it.

    `state` is that of a question, `around` the page for whose place its line was written, if it is another one.
    """

    href: str
    words: str
    is_plain: bool = True
    state: str = ""
    around: Surroundings | None = None


class Image(NamedTuple):
    """An image of the library: its address from this page, and its width and height in pixels, if known."""

    src: str
    size: tuple[int, int] | None = None


class Surroundings(Protocol):
    """What a text needs to know of the page that it is shown on."""

    def wikilink(self, target: str) -> Target | None:
        """Return where a wikilink leads; None if nowhere."""

    def address(self, written: str) -> str | None:
        """Return the address of a link from this page; None if it is dead."""

    def image(self, written: str) -> Image | None:
        """Return an image of the library; None if it is none of its own."""

    def code(self, text: str, language: str) -> Markup:
        """Show code; the language is a word without special characters."""


@dataclass
class Ids:
    """The ids in use on a page, each once, and how many texts it holds."""

    taken: set[str] = field(default_factory=set)
    texts: int = 0
    _numbers: dict[str, int] = field(default_factory=dict)

    def name(self, words: str) -> str:
        """Name a heading by its words; one that is named alike gets a number."""
        name = base = slug(words) or "section"
        number = self._numbers.get(base, 0)
        while name in self.taken:
            number += 1
            name = f"{base}_{number}"
        self.taken.add(name)
        self._numbers[base] = number
        return name


def slug(words: str) -> str:
    """Return words as an id: lower case, joined by hyphens."""
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", words.casefold())).strip("-_")


def block(text: str, here: Surroundings, ids: Ids, below: int, *, is_folded: bool = False) -> Markup:
    """Show a text.

    Args:
        text: The Markdown.
        here: The page around it.
        ids: The ids of that page; those of the text's headings are added.
        below: The level of the heading that it stands under; its own headings are moved down as far as need be.
        is_folded: Whether what stands below each of its highest headings is behind a disclosure.
    """
    ids.texts += 1
    # No heading's id holds a point.
    environment = {"here": here, "ids": ids, "below": below, "docId": f"text.{ids.texts}", "is_folded": is_folded}
    return _clean(_parser(lines=False).render(text, environment))


def inline(text: str, here: Surroundings, *, links: bool = True) -> Markup:
    """Render a line; without links if it is inside one."""
    line = " ".join(text.split())
    if markdown.is_plain(line):
        return Markup(line)
    environment: dict[str, Any] = {"here": here, "ids": Ids(), "below": 0, "links": links}
    return _clean(_parser(lines=True).renderInline(line, environment))


def first_sentence(text: str, here: Surroundings) -> Markup:
    """Render the first sentence of a text, without links and footnotes; empty if it doesn't begin with a paragraph.

    A short one ("Yes.") is followed by the next.
    """
    if markdown.is_plain(plain := text.removesuffix("\n")):
        return Markup(plain[: _sentence_end(plain, _SHORT, is_last=True) or None])
    environment: dict[str, Any] = {"here": here, "ids": Ids(), "below": 0, "links": False}
    parser = _parser(lines=False)
    tokens = parser.parse(text, environment)
    if not tokens or tokens[0].type != "paragraph_open":
        return Markup()
    line = list(_up_to_full_stop(list(_without_notes(tokens[1].children or ()))))
    return _clean(str(cast(RendererHTML, parser.renderer).renderInline(line, parser.options, environment)))


def _without_notes(tokens: Iterable[Token]) -> Iterator[Token]:
    """Yield the tokens of a line but those of footnotes, what stands around one as a single text."""
    text: Token | None = None
    for token in tokens:
        if token.type == "text":
            text = Token("text", "", 0, content=text.content + token.content) if text else token
        elif token.type != "footnote_ref":
            if text:
                yield text
            text = None
            yield token
    if text:
        yield text


def _up_to_full_stop(tokens: Sequence[Token]) -> Iterator[Token]:
    """Yield the tokens of a line up to the end of a sentence, which lies outside of all markup."""
    level = length = 0
    for index, token in enumerate(tokens):
        level += token.nesting
        if token.type == "text" and level == 0:
            is_last = index + 1 == len(tokens) or tokens[index + 1].type in ("softbreak", "hardbreak")
            if end := _sentence_end(token.content, max(0, _SHORT - length), is_last=is_last):
                yield Token("text", "", 0, content=token.content[:end])
                return
        length += len(token.content)
        yield Token("text", "", 0, content=" ") if token.type in ("softbreak", "hardbreak") else token


def _sentence_end(text: str, start: int, *, is_last: bool) -> int:
    """Return where a sentence of a text ends, beyond some characters; 0 if none does."""
    for found in _FULL_STOP.finditer(text):
        end = found.end()
        is_followed = text[end].isspace() if end < len(text) else is_last
        is_end = is_followed or found[0] in "。！？"
        if end > start and is_end and not _ABBREVIATION.search(text[:end]):
            return end
    return 0


def words(text: str, here: Surroundings) -> str:
    """Return a line as plain text, where no markup is allowed and no mathematics drawn."""
    line = " ".join(text.split())
    if markdown.is_plain(line):
        return line
    environment: dict[str, Any] = {"here": here, "ids": Ids(), "below": 0, "links": False, "is_plain": True}
    return _plain(_parser(lines=True).parseInline(line, environment)[0].children or ())


def runs(text: Text) -> Markup:
    """Show a text of the bibliography, its mathematics drawn as that of the cards."""
    parts: list[Markup] = []
    for run in text:
        equation = Markup('<span class="arithmatex">\\({}\\)</span>').format(run.text)
        shown = equation if run.is_math else Markup.escape(run.text)
        for mark in reversed(run.marks):
            if mark in _MARKS:
                shown = Markup("<{0}>{1}</{0}>").format(Markup(_MARKS[mark]), shown)
        parts.append(shown)
    return _clean(str(Markup().join(parts)))


def highlighted(text: str, language: str) -> Markup:
    """Return code with colors, where Pygments knows the language."""
    lexer = _lexer(language)
    if lexer is None:
        return Markup.escape(text.rstrip("\n") + "\n")
    shown = format(_colored(lexer.get_tokens(text)), _formatter())
    return Markup(_with_block_ends(shown, text) if language == "pycon" else shown)


_COLORLESS = (Kind.Name, Kind.Text.Whitespace)


def _colored(tokens: Iterable[tuple[_TokenType, str]]) -> Iterator[tuple[_TokenType, str]]:
    """Leave out the kinds that have no color, so that they get no element: it would be half of a page's."""
    for kind, text in tokens:
        yield (Kind.Text if kind in _COLORLESS else kind), text


def _with_block_ends(shown: str, text: str) -> str:
    """Add what is copied and not shown: an empty line below each block of a doctest, which Python's shell asks for."""
    try:
        ends = scripts.block_ends(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return shown  # an author's text may be no doctest, or nested deeper than Python reads
    lines = re.findall(r"[^\n]*\n|[^\n]+", shown)
    return "".join(f'{line}<span class="q-end">\n</span>' if at in ends else line for at, line in enumerate(lines))


@cache
def _formatter() -> HtmlFormatter[str]:
    return HtmlFormatter(nowrap=True)


@cache
def _lexer(language: str) -> Lexer | None:
    try:
        return get_lexer_by_name(language, stripnl=False) if language not in ("", "text") else None
    except ClassNotFound:
        return None


@cache
def _cleaner() -> nh3.Cleaner:
    return nh3.Cleaner(
        tags=set(_TAGS), attributes=_ATTRIBUTES, url_schemes=set(markdown.SCHEMES), link_rel=None, strip_comments=True
    )


def _clean(html: str) -> Markup:
    # A docstring can hold half of a character, which nothing can write.
    return Markup(_cleaner().clean(html.encode(errors="replace").decode()))


@cache
def _parser(*, lines: bool) -> MarkdownIt:
    parser = markdown.parser(lines=lines)
    parser.core.ruler.push("shown", _shown)
    rules = cast(RendererHTML, parser.renderer).rules
    for name in ("footnote_block_open", "footnote_block_close", "math_block", "math_inline", "math_inline_double"):
        rules.pop(name, None)
    for name in ("fence", "code_block"):
        parser.add_render_rule(name, _code)
    return parser


def _code(_: object, tokens: Sequence[Token], index: int, __: object, environment: Any) -> str:
    token = tokens[index]
    named = _LANGUAGE.match(token.info.strip())
    return str(environment["here"].code(token.content, named[0].lower() if named else "text"))


def _shown(state: StateCore) -> None:
    """Turn the tokens that HTML has no element for into some that it has."""
    shown = [one for token in state.tokens for one in (_block(token, state) if token.type in _TURNED else (token,))]
    headed = list(_headings(shown, state.env))
    state.tokens = list(_folded(headed, state.env["below"] + 1)) if state.env.get("is_folded") else headed


def _folded(tokens: Sequence[Token], level: int) -> Iterator[Token]:
    """Yield the tokens with what follows each heading of a level behind a disclosure that the heading sums up."""
    is_open = False
    for token in tokens:
        is_heading = token.level == 0 and token.tag == f"h{level}" and token.type.startswith("heading")
        if is_heading and token.nesting == 1:
            if is_open:
                yield Token("details_close", "details", -1, block=True)
            yield Token("details_open", "details", 1, attrs={"class": "q-fold"}, block=True)
            yield Token("summary_open", "summary", 1)
            is_open = True
        # Footnotes, which come last, belong to all of the text.
        if is_open and token.type == "footnote_block_open":
            yield Token("details_close", "details", -1, block=True)
            is_open = False
        yield token
        if is_heading and token.nesting == -1:
            yield Token("summary_close", "summary", -1, block=True)
    if is_open:
        yield Token("details_close", "details", -1, block=True)


def _block(token: Token, state: StateCore) -> Iterator[Token]:
    if token.type == "inline":
        token.children = list(_line(token.children or [], state, state.env.get("links", True)))
    elif token.type == "math_block" or (token.type == "fence" and token.info.strip() == "math"):
        yield from _element("div", "arithmatex", f"\\[{token.content.strip()}\\]")
        return
    elif token.type == "fence" and token.info.strip() == "mermaid" and (drawn := drawable(token.content)) is not None:
        yield from _element("div", "diagram", drawn.rstrip("\n"))
        return
    elif token.type in ("th_open", "td_open") and "style" in token.attrs:
        # The policy of the pages allows no styles.
        token.attrs = {"align": str(token.attrs["style"]).removeprefix("text-align:")}
    elif token.type.startswith("footnote_block"):
        token.tag = "div"
        if token.nesting == 1:
            token.attrs = {"class": "footnote"}
            yield token
            yield Token("hr", "hr", 0, block=True)
            yield Token("ordered_list_open", "ol", 1, block=True)
            return
        yield Token("ordered_list_close", "ol", -1, block=True)
    yield token


def _element(tag: str, name: str, content: str, **attributes: str) -> Iterator[Token]:
    """Yield an element of a class with text in it."""
    given: dict[str, Any] = {name.replace("_", "-"): value for name, value in attributes.items()}
    yield Token(f"{tag}_open", tag, 1, attrs={"class": name, **given})
    yield Token("text", "", 0, content=content)
    yield Token(f"{tag}_close", tag, -1, block=tag == "div")


def _line(tokens: Sequence[Token], state: StateCore, has_links: bool, *, is_plain: bool = False) -> Iterator[Token]:
    """Yield the tokens of a line with each link and image led to where it is on this page, or left out."""
    here: Surroundings = state.env["here"]
    around: list[Target | None] = []
    for index, token in enumerate(tokens):
        if token.type in ("link_open", "wikilink_open"):
            target = _led_to(token, here)
            around.append(target if has_links else None)
            if target and has_links:
                attributes = {"href": target.href, **({"title": title} if (title := token.attrGet("title")) else {})}
                yield Token("link_open", "a", 1, attrs=attributes)
            if token.type == "wikilink_open" and tokens[index + 1].type == "wikilink_close":
                yield from _named(target, token, state)
        elif token.type in ("link_close", "wikilink_close"):
            if target := around.pop():
                yield Token("link_close", "a", -1)
                yield from _badge(target.state)
        elif token.type == "image":
            token.children = list(_line(token.children or (), state, has_links=False, is_plain=True))
            yield from _image(token, here, is_linked=any(around) or not has_links)
        elif token.type.startswith("math_inline") and (is_plain or state.env.get("is_plain")):
            yield Token("text", "", 0, content=unicode_equation(token.content))
        elif token.type.startswith("math_inline"):
            opening, closing_ = ("\\[", "\\]") if token.type.endswith("double") else ("\\(", "\\)")
            yield from _element("span", "arithmatex", f"{opening}{token.content}{closing_}")
        else:
            yield token


def _badge(state: str) -> Iterator[Token]:
    """Yield the state of the question that a link leads to, if it leads to one."""
    shown = (Token("text", "", 0, content=" "), *_element("span", "q-badge", state, data_state=state))
    for part in shown if state else ():
        part.meta["unsaid"] = True
        yield part


def _led_to(token: Token, here: Surroundings) -> Target | None:
    if token.type == "wikilink_open":
        return here.wikilink(token.meta["target"])
    address = here.address(str(token.attrGet("href")))
    return None if address is None else Target(address, "")


def _named(target: Target | None, token: Token, state: StateCore) -> Iterator[Token]:
    """Yield the words of a wikilink that has none of its own."""
    if target is None or target.is_plain or "named" in state.env:
        is_named = target is not None and target.is_plain
        yield Token("text", "", 0, content=target.words if target and is_named else token.meta["target"])
    else:
        # What a question asks may name another, or itself: once is enough.
        here = target.around or state.env["here"]
        told = {"is_plain": state.env.get("is_plain"), "links": False, "named": True}
        environment = {"here": here, "ids": Ids(), "below": 0, **told}
        line = _parser(lines=True).parseInline(" ".join(target.words.split()), environment)[0]
        yield from line.children or ()


def _image(token: Token, here: Surroundings, is_linked: bool) -> Iterator[Token]:
    """Yield an image of the library; one from elsewhere becomes a link to it, or its text where it stands in a link."""
    written = str(token.attrGet("src"))
    own = here.image(written)
    if own is not None:
        sides = dict(zip(("width", "height"), own.size or (), strict=False))
        token.attrs = {**token.attrs, "src": own.src, **sides, "loading": "lazy"}
        yield token
        return
    words = Token("text", "", 0, content=_plain(token.children or ()) or written)
    if is_linked or markdown.is_relative(written):
        yield words
        return
    yield from (Token("link_open", "a", 1, attrs={"href": written}), words, Token("link_close", "a", -1))


def _plain(tokens: Sequence[Token]) -> str:
    """Return the words of a line's tokens; the state of a question is none of them."""
    said = (token for token in tokens if "unsaid" not in token.meta)
    breaks = {"softbreak", "hardbreak"}
    return "".join(" " if token.type in breaks else token.content for token in said)


def _given_id(line: Token) -> str:
    """Take the id that a heading ends with, `{#id}`, from it; links to it stay when the heading is reworded."""
    last = line.children[-1] if line.children else None
    if last and last.type == "text" and (found := _ID_AT_END.search(last.content)):
        last.content = last.content[: found.start()]
        return found[1]
    return ""


def _headings(tokens: Sequence[Token], environment: Any) -> Iterator[Token]:
    """Yield the tokens with the headings moved below the page's own, each with an id and a link to itself."""
    levels = [int(token.tag[1]) for token in tokens if token.type == "heading_open"]
    down = max(0, environment["below"] + 1 - min(levels, default=_DEEPEST))
    for index, token in enumerate(tokens):
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(_DEEPEST, int(token.tag[1]) + down)}"
        if token.type == "heading_open":
            line = tokens[index + 1]
            id = environment["ids"].name(_given_id(line) or _plain(line.children or ()))
            token.attrs = {"id": id}
            # The summary of a disclosure holds no link.
            if environment.get("is_folded") and token.level == 0 and token.tag == f"h{environment['below'] + 1}":
                line.children = [one for one in line.children or [] if one.type not in ("link_open", "link_close")]
            else:
                attributes: dict[str, Any] = {"class": "headerlink", "href": f"#{id}", "title": "Link to this heading"}
                link = [Token("link_open", "a", 1, attrs=attributes), Token("text", "", 0, content="#")]
                line.children = [*(line.children or []), *link, Token("link_close", "a", -1)]
        yield token
