"""From what a card says to Markdown and HTML that show it, and can do nothing else."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from urllib.parse import quote

from quaere.content import wikilinks

Link = Callable[[str, str | None], str]
"""Writes a wikilink by its target and text."""

_SPECIAL = re.compile(r"[\\`*_{}\[\]|$~^=#@<>&\"']|^[-+:!](?=\s|!|:)|(?<=^\d)[.)]|(?<=^\d\d)[.)]")
_EMPHASIS = re.compile(r"(?<![\w*])(\*)(?=[^\s*])([^*]+)(?<=[^\s*])(\*)(?!\*)")
_TAG = re.compile(r"<(?!https?://[^\s<>]+>)")
_TARGET = re.compile(r"(?P<before>\]\(\s*<?|^[ ]{0,3}\[[^\]]+\]:\s*<?)(?P<target>[^\s)>]*)", re.MULTILINE)
_HARMLESS = re.compile(r"https?://\S*|mailto:[^&]*|[^:&]*")
_FOREIGN_IMAGE = re.compile(r"!(?=\[[^\]]*\](?:\[|\(\s*<?(?:https?:)?//))")
_FENCE = re.compile(r"(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>\w*)[^\n]*")


def escape(text: str) -> str:
    """Write plain text as one line of Markdown: nothing in it is taken for markup."""
    return _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", " ".join(text.split()))


def inline(text: str, link: Link) -> str:
    """Write a line that may hold emphasis, code, math and wikilinks; it may stand in a heading, a table or a link."""
    return wikilinks.rewrite(" ".join(text.split()), link, _escape_within, _verbatim_inline)


def block(markdown: str, link: Link) -> str:
    """Write somebody's Markdown with its wikilinks.

    Markup passes. HTML, attributes and unsafe links become text, and an image of another site becomes a link to it.
    """
    return wikilinks.rewrite(markdown.strip("\n"), link, _without_html, _verbatim_block)


def title(text: str) -> str:
    """Write plain text as a value of a page's front matter, which templates copy into HTML as it is."""
    escaped = html.escape(" ".join(text.split()))
    return '"' + escaped.replace("\\", "\\\\") + '"'


def href(url: str) -> str:
    """Write a URL into an attribute."""
    return html.escape(quote(url, safe="/:?#@!&,;=+%~-._"))


def anchor(text: str) -> str:
    """Return a name for a heading: lower-case words joined by hyphens."""
    return re.sub(r"[\W_]+", "-", text.casefold()).strip("-") or "other"


def indent(text: str, by: int = 4) -> str:
    """Indent the lines that are not empty."""
    return re.sub(r"^(?=.)", " " * by, text, flags=re.MULTILINE)


def fence(language: str, text: str) -> str:
    """Fence code; the fence is longer than any inside."""
    longest = max((len(ticks) for ticks in re.findall(r"`+", text)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}{language}\n{text.rstrip()}\n{ticks}"


def _escape_within(text: str) -> str:
    """Escape a stretch of a line but for the asterisks around what is emphasised, every other of what is split off."""
    words = _EMPHASIS.split(text)
    return "".join(word if index % 4 in (1, 3) else _escape_words(word) for index, word in enumerate(words))


def _escape_words(text: str) -> str:
    """Escape words; the spaces around them part them from their neighbours."""
    before = " " if text[:1].isspace() else ""
    after = " " if text.strip() and text[-1:].isspace() else ""
    return before + escape(text) + after


def _verbatim_inline(text: str) -> str:
    if text.startswith("$"):
        # A bar would end a table's cell; the commands are what it stands for.
        signs = {r"\|": r"\Vert ", "|": r"\vert ", "<": r"\lt ", ">": r"\gt "}
        inside = re.sub(r"\\\||[|<>]", lambda match: signs[match[0]], text.strip("$"))
        return f"${inside}$"
    return text if text.startswith("`") and not text.startswith("```") else escape(text)


def _without_html(text: str) -> str:
    text = _FOREIGN_IMAGE.sub("", _TAG.sub("&lt;", text).replace("{", "&#123;"))
    return _TARGET.sub(_safe_target, text)


def _safe_target(match: re.Match[str]) -> str:
    if _HARMLESS.fullmatch(match["target"]):
        return match[0]
    return match["before"].replace("(", "&#40;").replace(":", "&#58;") + match["target"]


def _verbatim_block(text: str) -> str:
    if text.startswith("<!--"):
        return ""
    if text.startswith("$"):
        return text.replace("<", r"\lt ")
    # What follows the language in a fence's first line could set attributes.
    return _FENCE.sub(r"\g<fence>\g<language>", text, count=1) if text.startswith(("```", "~~~")) else text
