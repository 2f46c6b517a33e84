"""Which diagrams are drawn: flowcharts when the site is built, others by Mermaid if they can't fetch anything by that.

Words in a diagram are only drawn. Its styles, the properties of its shapes, and the pictures of some kinds of diagram
go into CSS and into addresses, where the name of another host would be asked for something. Where those stand is
Mermaid's to say, in two dozen grammars: so a whole host is looked for everywhere, and half of one where it is known.
"""

from __future__ import annotations

import re

# Where a click leads, and comments: they say nothing that is drawn.
_UNDRAWN = re.compile(r"^(?:[^\S\n]|\ufeff)*(?:click[ \t].*|%%(?!\{).*)\n?", re.MULTILINE)
# In these kinds only the lines and the shapes below can hold an address; in all others, any line could.
_PLAIN = re.compile(
    r"(?:---\n.*?\n---\s*)?(?>(?:%%\{(?:(?!\}%%).)*\}%%\s*)*)"
    r"(?:flowchart|graph|sequenceDiagram|classDiagram|stateDiagram|erDiagram|gantt|pie|mindmap|timeline|journey|gitGraph|quadrantChart|xychart|sankey|requirementDiagram)\b",
    re.DOTALL,
)
_DIRECTIVE = r"%%\{.*?(?:\}%%|\Z)"
_SETTINGS = re.compile(rf"{_DIRECTIVE}|\A\s*---\n(?=.*?\bconfig\b).*?\n---", re.DOTALL)
_SHAPE = re.compile(r"@\{.*?(?:\}|\Z)", re.DOTALL)
_STYLE = re.compile(
    r"^.*\b(?:style|classDef|linkStyle|cssClass|rect|box|color|fill|stroke|properties|links?|icon|img|image|sprite"
    r"|Update\w*Style)\b.*$",
    re.MULTILINE | re.IGNORECASE,
)
_SCHEME = r"(?:https?|wss?|ftp):"
# Mermaid takes a word or a number between # and ; for a letter, and writes them as in the last line itself.
_LETTER = (
    r"#(?:0*(?:9|1[03]|3[2-9]|[4-9]\d|1[01]\d|12[0-6])|(?!(?:quot|lt|gt|nbsp);)(?=[a-f]*[g-z])[a-z]+);"
    r"|&(?:#|(?!(?:quot|lt|gt|nbsp);)\w+;)"
    r"|ﬂ°|¶ß"
)
# A host is named by two slashes of either kind or by a scheme; CSS, YAML and JSON have their numbers for letters.
_HOST = re.compile(rf"//|/\\|\\[/\\]|\\[\dxu]|{_SCHEME}|{_LETTER}", re.IGNORECASE)
_HALF_A_HOST = re.compile(rf"[/\\&]|{_SCHEME}|{_LETTER}", re.IGNORECASE)
# What is lost on the way to an address: Mermaid takes out settings and some semicolons, browsers take out blanks, and
# a backslash goes by itself or with the letter that stands for a blank.
_LOST = [
    re.compile(rf"[\s\ufeff]{more}", re.DOTALL)
    for more in ("", rf"|;|{_DIRECTIVE}", rf"|[;\\]|{_DIRECTIVE}", rf"|;|\\[a-z]?|{_DIRECTIVE}")
]
# Sequence diagrams read what another element of the page says: `details A: id`.
_DETAILS = re.compile(r"\bdetails\s+", re.IGNORECASE)


def drawable(source: str) -> str | None:
    """Return the source that Mermaid draws; None if the diagram is shown as code."""
    drawn = _UNDRAWN.sub("", source)
    is_plain = bool(_PLAIN.match(drawn.lstrip()))
    places = [found for place in (_SETTINGS, _SHAPE, _STYLE) for found in place.findall(drawn)] if is_plain else [drawn]
    names_a_host = any(_HALF_A_HOST.search(re.sub(r"\s", "", one)) for one in places) or any(
        _HOST.search(lost.sub("", drawn)) for lost in _LOST
    )
    return None if names_a_host or _reads_the_page(drawn) else drawn


def _reads_the_page(drawn: str) -> bool:
    lines = _DETAILS.sub("details ", drawn).split("\n")
    return any((found := _DETAILS.search(line)) and ":" in line[found.end() :] for line in lines)
