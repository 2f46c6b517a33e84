"""Links between cards, written `[[card]]`, `[[card.question]]` or `[[card|text]]`, and where in Markdown they count."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

# What Markdown shows as it stands: fenced code, comments, code spans, and mathematics.
_VERBATIM = re.compile(
    r"""
    ^(?P<before>[ \t>]*(?:[-*+][ ]+|\d+[.)][ ]+)?)(?P<fence>`{3,}(?=[^`\n]*$)|~{3,})
    .*?(?:^[ \t>]*(?P=fence)[`~]*[ \t]*$|\Z)
    | <!--.*?-->
    | (?<![`\\])(?P<ticks>`+)(?!`)(?:(?!\n[ \t]*\n).)+?(?<!`)(?P=ticks)(?!`)
    | (?<!\\)\$\$.+?\$\$
    | (?<![\\$])\$(?![\s$])(?:\\.|[^\\$\n]|\n(?![ \t]*\n))+?(?<!\s)\$
    """,
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(r"(?<!\\)\[\[(?P<target>[^\[\]|\n]+?)(?:\|(?P<text>[^\[\]\n]+?))?\]\]")


def pieces(markdown: str) -> Iterator[tuple[int, str, bool]]:
    """Cut Markdown into pieces: where each starts, its text, and whether it is shown as it stands (code and math)."""
    end = 0
    for match in _VERBATIM.finditer(markdown):
        start = match.end("before") if match["fence"] else match.start()
        if start > end:
            yield end, markdown[end:start], False
        yield start, markdown[start : match.end()], True
        end = match.end()
    if end < len(markdown):
        yield end, markdown[end:], False


def wikilinks(markdown: str) -> Iterator[tuple[int, str]]:
    """Yield where each link starts, and what it names."""
    for start, text, verbatim in pieces(markdown):
        if not verbatim:
            yield from ((start + match.start(), match["target"].strip()) for match in _LINK.finditer(text))


def rewrite(
    markdown: str,
    link: Callable[[str, str | None], str],
    prose: Callable[[str], str] = str,
    verbatim: Callable[[str], str] = str,
) -> str:
    """Write Markdown anew: each link by its target and text, the prose between the links, and code and math."""
    return "".join(
        verbatim(text) if is_verbatim else _rewrite_prose(text, link, prose)
        for _, text, is_verbatim in pieces(markdown)
    )


def _rewrite_prose(text: str, link: Callable[[str, str | None], str], prose: Callable[[str], str]) -> str:
    written: list[str] = []
    end = 0
    for match in _LINK.finditer(text):
        written += prose(text[end : match.start()]), link(match["target"].strip(), match["text"])
        end = match.end()
    return "".join([*written, prose(text[end:])])
