"""Which diagrams may be drawn: those that can't fetch anything while Mermaid draws them.

Words in a diagram are only drawn. Its styles, the properties of its shapes, and the pictures of some kinds of diagram
go into CSS and into addresses, where the name of another host would be asked for something.
"""

from __future__ import annotations

import re

# Where a click leads, and comments: they say nothing that is drawn.
_UNDRAWN = re.compile(r"^[ \t]*(?:click[ \t].*|%%(?!\{).*)\n?", re.MULTILINE)
# In these kinds only the lines and the shapes below can hold an address; in all others, any line could.
_PLAIN = re.compile(
    r"(?:---\n.*?\n---\s*)?(?:%%\{.*?\}%%\s*)*(?:flowchart|graph|sequenceDiagram|classDiagram|stateDiagram|erDiagram|gantt"
    r"|pie|mindmap|timeline|journey|gitGraph|quadrantChart|xychart|sankey|requirementDiagram)\b",
    re.DOTALL,
)
_SETTINGS = re.compile(r"%%\{.*?(?:\}%%|\Z)|\A\s*---\n(?=.*?\bconfig\b).*?\n---", re.DOTALL)
_SHAPE = re.compile(r"@\{.*?(?:\}|\Z)", re.DOTALL)
_STYLE = re.compile(
    r"^.*\b(?:style|classDef|linkStyle|cssClass|rect|box|color|fill|stroke|properties|links?|icon|img|image|sprite"
    r"|Update\w*Style)\b.*$",
    re.MULTILINE | re.IGNORECASE,
)
# A host is named by slashes of either kind or by a scheme, in CSS also by backslashes and letters' numbers, and Mermaid
# takes a word or a number between # and ; for a letter.
_NAMES_A_HOST = re.compile(
    r"[/\\&]|(?:https?|wss?|ftp):|#(?:0*(?:3[2-9]|[4-9]\d|1[01]\d|12[0-6])|[a-z]*[g-z][a-z]*);", re.IGNORECASE
)


def drawable(source: str) -> str | None:
    """Return what Mermaid is given of a diagram; None for one that is shown as code."""
    drawn = _UNDRAWN.sub("", source)
    is_plain = bool(_PLAIN.match(drawn.lstrip()))
    places = (_SETTINGS, _SHAPE, _STYLE)
    looked_at = [found for place in places for found in place.findall(drawn)] if is_plain else [drawn]
    # Browsers take blanks out of an address.
    names_a_host = any(_NAMES_A_HOST.search(re.sub(r"\s", "", one)) for one in looked_at)
    return None if names_a_host else drawn
