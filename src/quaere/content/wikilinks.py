"""The wikilinks of hand-written pages, `[[card]]`, `[[card.question]]` or `[[card|text]]`, and their generated parts.

Links in code are none. The pages are Python-Markdown's; `site.handwritten` shows the links. Those of cards are read by
`content.markdown`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

# What Markdown shows as it stands: fenced code, comments, code spans, and mathematics. One can begin only at a sign of
# these; before a fence there is nothing but what begins a line.
_SIGN = re.compile(r"[`~$]|<!--")
_BEFORE = re.compile(r"^[ \t>]*(?:[-*+][ ]+|\d+[.)][ ]+)?", re.MULTILINE)
_FENCED = re.compile(
    r"(?P<fence>`{3,}(?=[^`\n]*$)|~{3,}).*?(?:^[ \t>]*(?P=fence)[`~]*[ \t]*$|\Z)", re.MULTILINE | re.DOTALL
)
_VERBATIM = re.compile(
    r"""
    <!--
    | (?<![`\\])(?P<ticks>`+)(?!`)(?:(?!\n[ \t]*\n).)+?(?<!`)(?P=ticks)(?!`)
    | (?<!\\)\$\$.+?\$\$
    | (?<![\\$])\$(?![\s$])(?:\\.|[^\\$\n]|\n(?![ \t]*\n))+?(?<!\s)\$
    """,
    re.VERBOSE | re.DOTALL,
)
# A pattern that begins with a letter is looked for faster than one that looks back first.
_LINK = re.compile(r"\[\[(?<!\\\[\[)(?P<target>[^\[\]|\\\n]+?)(?:\\?\|(?P<text>[^\[\]\n]+?))?\]\]")


PART = re.compile(r"<!--\s*quaere:(?P<name>[\w-]+)(?:\s+(?P<of>[\w.-]+))?\s*-->")
"""A comment in whose place something generated is shown: `<!-- quaere:newest -->`, `<!-- quaere:question a.b -->`."""


def _pieces(markdown: str) -> Iterator[tuple[int, str, bool]]:
    """Split Markdown into pieces: the offset, the text, and whether it is shown literally (code and math)."""
    end = sought = 0
    last = markdown.rfind("-->")
    while sign := _SIGN.search(markdown, sought):
        start = sign.start()
        match = _fenced(markdown, start, sought) or _VERBATIM.match(markdown, start)
        sought = match.end() if match else sign.end()
        # A comment that never ends is text.
        if not match or (sign[0] == "<!--" and sought > last):
            continue
        if sign[0] == "<!--":
            sought = markdown.index("-->", sought) + 3
        if start > end:
            yield end, markdown[end:start], False
        yield start, markdown[start:sought], True
        end = sought
    if end < len(markdown):
        yield end, markdown[end:], False


def _fenced(markdown: str, start: int, sought: int) -> re.Match[str] | None:
    """Return the fenced code that begins at a sign, if its line begins there too, at `sought` at the earliest."""
    line = max(sought, markdown.rfind("\n", sought, start) + 1)
    return _FENCED.match(markdown, start) if _BEFORE.fullmatch(markdown, line, start) else None


def parts(markdown: str) -> Iterator[tuple[int, str, str]]:
    """Yield the offset, the name and the object, if there is one, of each comment that stands for a generated part."""
    for start, text, verbatim in _pieces(markdown):
        if verbatim and (found := PART.match(text)):
            yield start, found["name"], found["of"] or ""


def in_words(markdown: str, name: Callable[[str], str]) -> str:
    """Return Markdown with the words of each link in its place: its own, or those that name its target."""
    if "[[" not in markdown:
        return markdown
    return "".join(
        text if verbatim else _LINK.sub(lambda link: (link["text"] or name(link["target"].strip())).strip(), text)
        for _, text, verbatim in _pieces(markdown)
    )


def wikilinks(markdown: str) -> Iterator[tuple[int, str]]:
    """Yield the offset and the target of each link."""
    for start, text, verbatim in _pieces(markdown):
        if not verbatim:
            yield from ((start + match.start(), match["target"].strip()) for match in _LINK.finditer(text))
