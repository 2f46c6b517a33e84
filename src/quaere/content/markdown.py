"""The Markdown of cards and answers: CommonMark with extensions of GitHub and Obsidian, and wikilinks.

The link check (`links`) and the renderer (`parser`) use the same rules for links, code and mathematics. Raw HTML is
text.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Literal, SupportsIndex, cast
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, table
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from mdit_py_plugins.deflist import deflist_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.footnote import footnote_plugin
from mdit_py_plugins.gfm_autolink import gfm_autolink_plugin

SCHEMES = frozenset({"http", "https", "mailto"})
"""What the address of a link may begin with; all others are relative."""

LONGEST = 2_000
"""Characters of an address and of its title. A definition writes them wherever its name stands."""

_SCHEME = re.compile(r"[\x00-\x20]*([^/?#]*?):", re.DOTALL)
# Browsers take them out of an address wherever they stand.
_PASSED_OVER = re.compile(r"[\t\n\r]")
_WIKILINK = re.compile(r"(!?)\[\[(?P<target>[^\[\]|\n]+?)(?:\|(?P<label>[^\[\]\n]+?))?\]\]")
_IMAGE = re.compile(r"\.(?:apng|avif|gif|jpe?g|png|svg|webp)$", re.IGNORECASE)
# The theme's names for the kinds of callouts of GitHub and Obsidian. Any other word is a title only: a class would have
# it taken for something else.
_KINDS = {
    alias: kind
    for kind, aliases in {
        "note": "",
        "abstract": "summary tldr",
        "info": "todo",
        "tip": "hint important",
        "success": "check done",
        "question": "help faq",
        "warning": "caution attention",
        "failure": "fail missing",
        "danger": "error",
        "bug": "",
        "example": "",
        "quote": "cite",
    }.items()
    for alias in (kind, *aliases.split())
}
_CALLOUT = re.compile(r"\[!([\w-]+)\]([+-]?)[ \t]*(.*)")
_MATH = re.compile(r"\$\$(?P<display>(?:\\.|[^\\$])+)\$\$|\$(?!\s)(?P<inline>(?:\\.|[^\\$])+)(?<!\s)\$", re.DOTALL)
_RULE = re.compile(r"[ \t]*[-|: \t]*-[-|: \t]*")
_MARKED = re.compile(r"==(?=[^\s=])([^=\n]*[^\s=])==(?!=)")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")
_TASK = re.compile(r"\[([ xX])][ \t\n\v\f\r]+")
# What stands before the colon and before the at sign of an address that is a link by itself, and how much of it.
_BEFORE = {
    "gfm_autolink_protocol": re.compile(r"(?:https?|mailto|xmpp)\Z"),
    "gfm_autolink_email": re.compile(r"[a-zA-Z0-9.+_-]\Z"),
}
_LONGEST_START = 256
_LINK_RULES = ("plain_wikilink", "link", "wikilink", "image", "autolink")
_AUTOLINKS = ("www", "protocol", "email")
_LINKS = frozenset({"wikilink_open", "image", "link_open"})
# Stands for a bar that must not end a table's cell. The parser has taken all others of its kind out of the text.
_BAR = "\x00"
# A text in which each `[[name]]` is a link, and nothing else is one to what is in the library: its code, mathematics,
# and tables hold none, and nothing else could take one in.
_SINGLE = r"\[(?!\[)"
_CODE_SPAN = rf"`(?:[^`|\[\n]|{_SINGLE})+`(?!`)"
_MATH_SPAN = rf"\$(?![\s$])(?:[^$`|\\\[\n]|\\[^\[\n]|{_SINGLE})+(?<!\s)\$(?!\d)"
_WORDS = r"[^\[\]`$|\\<~@^!\t\n hw]|[!^](?!\[)|[ ](?![ ]{3})|h(?!ttps?:)|w(?!ww\.)"
_CERTAIN = re.compile(
    rf"""
    \[\[[^\[\]|\\\n]+\]\](?![(\[])
    | \[(?:[ xX]|![\w-]+)\](?![(\[:])
    | (?:{_WORDS}|\n)+ | {_CODE_SPAN} | {_MATH_SPAN}
    | ^\|(?:{_WORDS}|{_CODE_SPAN}|{_MATH_SPAN}|\|)*$
    | (?<![^\n]\n)^\$\$(?:[^$`\\\[\n]|\\[^\[\n]|\n(?![ ]*\n)|{_SINGLE})+\$\$$
    | ^```\w*\n(?:[^`\[]|{_SINGLE})*\n```$
    """,
    re.VERBOSE | re.MULTILINE,
)
# So many quotes and items inside each other that the parser might leave out what is in them.
_DEEP = re.compile(r"(?:(?:[-*+>]|\d{1,9}[.)]) *){9}")
# Letters, digits, and signs that mean nothing in Markdown and in HTML; but for an underscore, and a list's number.
_PLAIN = re.compile(r"(?!\d+[.)])\w[\w ,.;?!'\"()/%–—’“”…-]*(?<! )")


@dataclass(frozen=True)
class Link:
    """A link in a text: its decoded `target`, and its `offset` in the text.

    A `wikilink` names a card or a question, an `address` and an `image` are what Markdown calls a destination.
    """

    kind: Literal["wikilink", "address", "image"]
    target: str
    offset: int


def links(text: str, *, inline: bool = False, own: bool = False) -> Iterator[Link]:
    """Yield the links of a text, or of a single line, in their order; those of lines without brackets not if `own`."""
    environment: dict[str, Any] = {"brackets": own}
    shared = _shared(inline)
    tokens = shared.parseInline(text, environment) if inline else shared.parse(text, environment)
    # In the place of this character the parser has another.
    source = _Source(text.replace("\0", "\ufffd"), environment)
    for block in tokens:
        placed = _Block(source, block)
        for token in block.children or ():
            kind, target = _led_to(token)
            if kind:
                yield Link(kind, target, placed.place(token, target))


def own_links(text: str, *, inline: bool = False) -> list[Link]:
    """Return the links of a text to what is in the library, in their order; all of them begin with a bracket."""
    if "[" not in text:
        return []
    if is_certain(text):
        return [Link("wikilink", found["target"].strip(), found.start()) for found in _WIKILINK.finditer(text)]
    return sorted(links(text, inline=inline, own=True), key=lambda link: link.offset)


def has_addresses(text: str) -> bool:
    """Tell whether a text may have links to what is in the library other than wikilinks; images are such links."""
    return any(sign in text for sign in ("](", "]:", "![["))


def is_certain(text: str) -> bool:
    """Tell whether each `[[name]]` of a text is a link, and nothing else one to what is in the library.

    If not, the parser must say which are.
    """
    if "\r" in text or _DEEP.search(text):
        return False
    # Piece by piece, none of which is looked at in another way because of what follows.
    at = 0
    while found := _CERTAIN.match(text, at):
        at = found.end()
    return at == len(text)


class _Source:
    """The text around blocks: the offsets of its lines and of its link definitions."""

    def __init__(self, text: str, environment: Mapping[str, Any]) -> None:
        self.text = text
        self.starts = [0, *(match.end() for match in re.finditer(r"\r\n?|\n", text))]
        self.definitions: dict[str, tuple[int, int]] = {}
        for reference in environment.get("references", {}).values():
            first, last = reference["map"]
            self.definitions.setdefault(reference["href"], (self.start(first), self.start(last)))
        # Where the search for a further block of a line, such as a table's cell, or for a further footnote goes on.
        self.reached: dict[int, int] = {}

    def start(self, line: int) -> int:
        """Return where a line starts; the text's end for one behind it."""
        return self.starts[line] if line < len(self.starts) else len(self.text)


class _Block:
    """A block of a text. It holds lines without indents and quotes, each of which is looked for once."""

    def __init__(self, source: _Source, block: Token) -> None:
        self._source, self._map = source, block.map or []
        self._written = str(block.meta.get("written", block.content))
        self._starts: list[int] = []
        self._shift: int | None = None
        self._places: dict[int, tuple[int, Sequence[int] | None]] = {}

    def place(self, link: Token, target: str) -> int:
        """Return where what a link names is written: a wikilink itself, an address in it or in its definition."""
        at = int(link.meta.get("at", 0))
        text, begin = self._source.text, self._offset(at)
        if link.type == "wikilink_open":
            return begin
        if link.info == "auto":
            first = max(0, begin - len(target))
            before = max(text.rfind(sign, first, begin) for sign in " \n*_~(")
            return begin + 1 if text.startswith("<", begin) else max(first, before + 1)
        end = self._offset(int(link.meta.get("end", at)))
        address = unquote(target)
        if (place := _found(text, ("](", "](<", "[[", "<", ""), address, begin, end)) >= 0:
            return place
        defined = self._source.definitions.get(target, (0, 0))
        return max(begin, _found(text, ("]: ", "]: <", ""), address, *defined))

    def _offset(self, at: int) -> int:
        """Return the offset in the text for a position in the block."""
        if not self._starts:
            self._starts = [0, *(match.end() for match in re.finditer("\n", self._written))]
        number = bisect_right(self._starts, at) - 1
        column = at - self._starts[number]
        if number not in self._places:
            self._places[number] = self._line(number)
        place, bars = self._places[number]
        return place if bars is None else place + column + bisect_left(bars, column)

    def _skipped(self, source: _Source) -> int:
        """Return how many lines the parser left out at the start, of blanks that are none to Markdown."""
        if self._shift is None:
            self._shift = 0
            content = self._written.partition("\n")[0]
            first, second, last = (source.start(line) for line in (self._map[0], self._map[0] + 1, self._map[1]))
            if content and source.text.find(content, first, second) < 0:
                place = source.text.find(content, second, last)
                self._shift = max(0, bisect_right(source.starts, place) - 1 - self._map[0])
        return self._shift

    def _line(self, number: int) -> tuple[int, Sequence[int] | None]:
        """Return the offset of a line of the block, and which of its characters had a backslash before them.

        None for the latter says that the line is not found as it is, and the place is the nearest to it.
        """
        source, text = self._source, self._source.text
        last = self._starts[number + 1] - 1 if number + 1 < len(self._starts) else len(self._written)
        content = self._written[self._starts[number] : last]
        if not self._map:  # a footnote inside a line
            line, first, end = -1, 0, len(text)
        elif self._map[0] + number >= len(source.starts):
            return source.starts[-1], None
        else:
            line = self._map[0] + number + self._skipped(source)
            first, end = source.start(line), source.start(line + 1)
        reached = source.reached.get(line, first)
        # In a table's cell, bars were written with a backslash.
        for written in (content, content.replace("|", r"\|")):
            if (place := text.find(written, reached, end)) >= 0:
                source.reached[line] = place + len(written)
                bars = [match.start() for match in re.finditer(r"\|", content)] if written != content else []
                return place, bars
        return first, None


def _found(text: str, before: Sequence[str], address: str, begin: int, end: int) -> int:
    """Return the offset of an address after one of some signs, tried in order; -1 if there is none."""
    for sign in before:
        if (place := text.find(sign + address, begin, end)) >= 0:
            return place + len(sign)
    return -1


def _led_to(token: Token) -> tuple[Any, str]:
    if token.type == "wikilink_open":
        return "wikilink", str(token.meta["target"])
    if token.type == "image":
        return "image", str(token.attrGet("src"))
    return ("address", str(token.attrGet("href"))) if token.type == "link_open" else ("", "")


def is_allowed(address: str) -> bool:
    """Tell whether an address is http, https, mailto, or relative to the site itself."""
    if len(address) > LONGEST:
        return False
    for one in (address, _PASSED_OVER.sub("", address)):
        scheme = _SCHEME.match(one)
        if scheme and scheme[1].lower() not in SCHEMES:
            return False
        if not scheme and re.match(r"[\x00-\x20]*[/\\]{2}", one):
            return False
    return True


def is_relative(address: str) -> bool:
    """Tell whether an address is relative to the site itself."""
    return not _SCHEME.match(_PASSED_OVER.sub("", address))


def is_plain(line: str) -> bool:
    """Tell whether a text is one line that means what it says, so that no parser need look at it.

    Not all such lines are told, but the most.
    """
    return bool(_PLAIN.fullmatch(line)) and "_" not in line and "www" not in line


@cache
def _shared(lines: bool) -> MarkdownIt:
    return parser(lines=lines)


def parser(*, lines: bool = False) -> MarkdownIt:
    """Make a parser. Besides CommonMark's its tokens are those of its plugins, of callouts and of wikilinks.

    The `meta` of `wikilink_open` holds its `target`; its own text, if it has one, stands before `wikilink_close`.

    Args:
        lines: Whether it is for single lines, which have no footnotes.
    """
    # Deeper than anybody quotes; what lies below that depth, the parser leaves out. Each level looks at each line.
    markdown = MarkdownIt("commonmark", {"html": False, "maxNesting": 40})
    markdown.enable(["table", "strikethrough"])
    markdown.use(gfm_autolink_plugin)
    markdown.use(dollarmath_plugin, allow_labels=False, allow_blank_lines=False)
    if not lines:
        markdown.use(footnote_plugin)
    markdown.use(deflist_plugin)
    markdown.validateLink = is_allowed  # type: ignore[method-assign, assignment]  # as its documentation says
    markdown.inline.ruler.at("math_inline", _math)
    markdown.inline.ruler.before("link", "plain_wikilink", _plain_wikilink)
    markdown.inline.ruler.before("image", "wikilink", _wikilink)
    markdown.inline.ruler.before("autolink", "comment", _inline_comment)
    markdown.inline.add_terminator_char("=")
    markdown.inline.ruler.before("emphasis", "mark", _mark)
    for name in ("protocol", "email"):
        _look_back_a_little(markdown, f"gfm_autolink_{name}")
    for name in (*_LINK_RULES, *(f"gfm_autolink_{kind}" for kind in _AUTOLINKS)):
        _remember_place(markdown, name)
    markdown.block.ruler.before("html_block", "comment", _comment, {"alt": ["paragraph", "reference", "blockquote"]})
    markdown.block.ruler.at("table", _table, {"alt": ["paragraph", "reference"]})
    markdown.core.ruler.at("inline", _lines)
    markdown.core.ruler.before("inline", "callouts", _callouts)
    markdown.core.ruler.after("inline", "tasks", _tasks)
    markdown.core.ruler.after("inline", "written", _remember_written)
    markdown.core.ruler.before("inline", "definitions", _shorten_definitions)
    return markdown


def _lines(state: StateCore) -> None:
    """Read the lines of blocks as markdown-it-py does, but those that hold nothing of what is looked for."""
    for token in state.tokens:
        if token.type == "inline":
            token.children = token.children or []
            if state.env.get("brackets") and "[" not in token.content:
                continue
            if is_plain(token.content):
                token.children.append(Token("text", "", 0, content=token.content))
            else:
                state.md.inline.parse(token.content, state.md, state.env, token.children)


def _remember_written(state: StateCore) -> None:
    """Keep what blocks of text held, before the rule for tasks takes their boxes out."""
    for token in state.tokens:
        if token.type == "inline":
            token.meta["written"] = token.content


def _shorten_definitions(state: StateCore) -> None:
    """Cut the titles of definitions, which are repeated wherever their names occur."""
    for reference in state.env.get("references", {}).values():
        reference["title"] = reference["title"][:LONGEST]


def _tasks(state: StateCore) -> None:
    """Turn `[ ] ` and `[x] ` at the start of an item into a box."""
    lists: list[Token] = []
    tokens = state.tokens
    for index, token in enumerate(tokens):
        if token.type in ("bullet_list_open", "ordered_list_open"):
            lists.append(token)
        elif token.type in ("bullet_list_close", "ordered_list_close"):
            lists.pop()
        elif token.type != "inline" or not (found := _TASK.match(token.content)):
            continue
        elif [one.type for one in tokens[max(0, index - 2) : index]] == ["list_item_open", "paragraph_open"]:
            checked = 'checked="checked" ' if found[1] != " " else ""
            box = f'<input class="task-list-item-checkbox" {checked}disabled="disabled" type="checkbox">'
            token.content = token.content[3:]
            text, *rest = cast("list[Token]", token.children)
            text.content = text.content[3:]
            token.children = [Token("html_inline", "", 0, content=box), text, *rest]
            tokens[index - 2].attrSet("class", "task-list-item")
            lists[-1].attrSet("class", "contains-task-list")


def _look_back_a_little(markdown: MarkdownIt, name: str) -> None:
    """Have a rule that looks for an address look at the text right before it, not at all that is not yet a token.

    A text that the rule takes away, and then does not make a link of, is put back.
    """
    rule = _rule(markdown, name)

    def bounded(state: StateInline, silent: bool) -> bool:
        if not _BEFORE[name].search(state.src, max(0, state.pos - 6), state.pos):
            return False
        before, count, most = state.pending, len(state.tokens), state.posMax
        state.pending = before[-_LONGEST_START:]
        state.posMax = min(most, state.pos + LONGEST + 1)
        is_found = rule(state, silent)
        state.posMax = most
        if not is_found:
            state.pending = before
        elif rest := before[:-_LONGEST_START]:
            state.tokens.insert(count, Token("text", "", 0, content=rest, level=state.level))
            state.tokens_meta.insert(count, None)
        return is_found

    markdown.inline.ruler.at(name, bounded)


def _rule(markdown: MarkdownIt, name: str) -> Callable[[StateInline, bool], bool]:
    return next(rule.fn for rule in markdown.inline.ruler.__rules__ if rule.name == name)


def _remember_place(markdown: MarkdownIt, name: str) -> None:
    """Store in the `meta` of a link's tokens their offset in the block's content."""
    rule = _rule(markdown, name)

    def placed(state: StateInline, silent: bool) -> bool:
        at, count = state.pos, len(state.tokens)
        is_found = rule(state, silent)
        if is_found and not silent:
            link = next((one for one in state.tokens[count:] if one.type in _LINKS), None)
            if link:
                link.meta.setdefault("at", at)
                link.meta.setdefault("end", state.pos)
        return bool(is_found)

    markdown.inline.ruler.at(name, placed)


def _math(state: StateInline, silent: bool) -> bool:
    """Read `$…$` and `$$…$$`."""
    if not (found := _mathematics(state.src, state.pos, state.posMax)):
        return False
    content, is_display, end = found
    if not silent:
        state.push("math_inline_double" if is_display else "math_inline", "", 0).content = content
    state.pos = end
    return True


def _mathematics(text: str, start: int, end: int) -> tuple[str, bool, int] | None:
    """Return the mathematics that starts at a place, whether it is displayed, and where it ends.

    It is read as pandoc does: what things cost is no mathematics, and neither is what holds code. GitHub's own form,
    with the mathematics in a code span, is read as well.
    """
    if not (found := _MATH.match(text, start, end)):
        return None
    content = found["display"] or found["inline"]
    if re.fullmatch("`[^`]+`", content):
        content = content.strip("`")
    is_price = content[0].isdigit() and text[found.end() : found.end() + 1].isdigit()
    if "`" in content or not content.strip() or is_price:
        return None
    return content.strip(), bool(found["display"]), found.end()


def _wikilink(state: StateInline, silent: bool) -> bool:
    """Read `[[card]]`, `[[card.question]]` and `[[card|text]]`; `![[picture.png]]` is an image, as in Obsidian."""
    # What looks ahead for the end of a link's text passes over it as over any text.
    if silent or not (found := _WIKILINK.match(state.src, state.pos, state.posMax)):
        return False
    target = found["target"].strip()
    if found[1]:
        address = state.md.normalizeLink(target)
        if not _IMAGE.search(target) or not is_allowed(address):
            return False
        image = state.push("image", "img", 0)
        image.attrs = {"src": address, "alt": ""}
        image.content = found["label"] or target
        image.children = [Token("text", "", 0, content=image.content)]
    elif state.linkLevel:
        # A link stands in no link: there its text remains.
        state.push("text", "", 0).content = found["label"] or target
    else:
        state.push("wikilink_open", "a", 1).meta = {"target": target}
        if found["label"]:
            most, state.pos, state.posMax = state.posMax, found.start("label"), found.end("label")
            state.linkLevel += 1
            state.md.inline.tokenize(state)
            state.linkLevel -= 1
            state.posMax = most
        state.push("wikilink_close", "a", -1)
    state.pos = found.end()
    return True


def _plain_wikilink(state: StateInline, silent: bool) -> bool:
    """Read a wikilink before the rule for links tries it, unless it may be the text of one."""
    found = _WIKILINK.match(state.src, state.pos, state.posMax)
    return found is not None and not state.src.startswith(("(", "["), found.end()) and _wikilink(state, silent)


def _mark(state: StateInline, silent: bool) -> bool:
    """Read `==what is marked==`, as Obsidian does."""
    is_within_word = state.pos > 0 and state.src[state.pos - 1].isalnum()
    if is_within_word or not (found := _MARKED.match(state.src, state.pos, state.posMax)):
        return False
    if not silent:
        most, state.pos, state.posMax = state.posMax, found.start(1), found.end(1)
        state.push("mark_open", "mark", 1)
        state.md.inline.tokenize(state)
        state.push("mark_close", "mark", -1)
        state.posMax = most
    state.pos = found.end()
    return True


def _inline_comment(state: StateInline, silent: bool) -> bool:
    """Pass over a comment inside a paragraph."""
    # Where no comment ends any more, none is looked for.
    is_open = state.html_terminator_last("-->") >= state.pos
    found = _COMMENT.match(state.src, state.pos, state.posMax) if is_open else None
    if found:
        state.pos = found.end()
    return bool(found)


def _comment(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Pass over a comment that begins a line, blank lines in it included; what follows it is read as a line."""
    begin = state.bMarks[start] + state.tShift[start]
    if state.is_code_block(start) or not state.src.startswith("<!--", begin):
        return False
    if begin + 4 > _last(state.src, "-->"):
        return False
    close = state.src.find("-->", begin + 4, state.eMarks[end - 1]) + 3
    if close < 4:
        return False
    last = bisect_left(state.eMarks, close, start, end)
    # It ends with the quotation or the item that it began in.
    if any(state.sCount[line] < state.blkIndent and not state.isEmpty(line) for line in range(start + 1, last + 1)):
        return False
    rest = state.src[close : state.eMarks[last]]
    # In one line with text it is the inline rule's.
    if last == start and rest.strip():
        return False
    if not silent:
        state.line = last + 1
        if rest.strip():
            state.line = last
            state.bMarks[last], state.tShift[last], state.sCount[last] = (
                close,
                len(rest) - len(rest.lstrip()),
                state.blkIndent,
            )
    return True


def _table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Read a table, in whose cells mathematics may hold bars."""
    if start + 1 >= end or not _RULE.fullmatch(state.src, state.bMarks[start + 1], state.eMarks[start + 1]):
        return False
    source, count = state.src, len(state.tokens)
    state.src = _masking(source)
    is_table = table(state, start, end, silent)
    state.src = source
    for token in state.tokens[count:]:
        token.content = token.content.replace(_BAR, "|")
    return is_table


class _Masking(str):
    """A text whose lines are masked as they are taken out of it: a table takes each once, and no others."""

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        part = super().__getitem__(key)
        return _masked(part) if isinstance(key, slice) else part


@lru_cache(maxsize=1)
def _masking(text: str) -> _Masking:
    return _Masking(text)


@lru_cache(maxsize=8)
def _last(text: str, sign: str) -> int:
    """Return the offset of the last occurrence of a sign in a text; -1 if there is none."""
    return text.rfind(sign)


def _masked(line: str) -> str:
    """Return a line with other signs for the bars inside its mathematics."""
    if "$" not in line:
        return line
    written: list[str] = []
    at = 0
    while at < len(line):
        end = at + 1
        if line[at] == "\\":
            end = at + 2
        elif found := _CODE.match(line, at):
            end = found.end()
        elif line[at] == "$" and (mathematics := _mathematics(line, at, len(line))):
            end = mathematics[2]
            written.append(line[at:end].replace("|", _BAR))
            at = end
            continue
        written.append(line[at:end])
        at = end
    return "".join(written)


def _callouts(state: StateCore) -> None:
    """Turn `> [!note] Title` into a callout, before inline text is read; a sign behind the bracket folds it."""
    written: list[Token] = []
    tags: list[str] = []
    tokens = state.tokens
    for index, token in enumerate(tokens):
        written.append(token)
        if token.type == "blockquote_open":
            is_paragraph = tokens[index + 1].type == "paragraph_open"
            first, _, rest = tokens[index + 2].content.partition("\n") if is_paragraph else ("", "", "")
            found = _CALLOUT.fullmatch(first.rstrip())
            tags.append(("details" if found[2] else "div") if found else "")
            if found:
                is_folded = bool(found[2])
                kind = _KINDS.get(found[1].lower(), "note")
                token.type, token.tag = "callout_open", tags[-1]
                token.attrs = {"class": kind if is_folded else f"admonition {kind}"}
                if found[2] == "+":
                    token.attrs["open"] = ""
                tag = "summary" if is_folded else "p"
                opening, closing = Token("callout_title_open", tag, 1), Token("callout_title_close", tag, -1)
                if not is_folded:
                    opening.attrs = {"class": "admonition-title"}
                title = Token("inline", "", 0, content=found[3] or found[1].capitalize(), children=[], map=token.map)
                written += [opening, title, closing]
                body = tokens[index + 2]
                body.content, body.map = rest, [line + 1 for line in body.map or ()]
                for part in (tokens[index + 1], tokens[index + 3]):
                    part.hidden = not rest
        elif token.type == "blockquote_close" and (tag := tags.pop()):
            token.type, token.tag = "callout_close", tag
    state.tokens = written
