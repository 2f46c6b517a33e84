"""Equations: the TeX in a page's HTML becomes HTML and MathML when the site is built.

KaTeX draws them in QuickJS, a JavaScript engine inside this process. What comes out is checked against a list, and has
classes named after declarations where KaTeX writes `style=`, which the policy of pages forbids: a page's style sheet
follows from its HTML alone.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from functools import cache, lru_cache
from importlib.metadata import version
from importlib.resources import files as package_files
from typing import Any

import quickjs

from quaere.pages.view import Kept

STYLES = "assets/vendor/katex/katex.min.css"
"""What a page with equations loads, besides the fonts that it names."""

SCRIPT = "assets/vendor/katex/katex.min.js"
"""What no page loads."""

LINKS = "<!--qz0LINKSz-->"
"""Stands in a shell's head where `links` goes."""

_LONGEST, _LARGEST = 4_000, 400_000
"""Characters of an equation, and of what is drawn of it."""
_MEMORY, _SECONDS = 64 << 20, 10
_WRITTEN = re.compile(r'<(?P<tag>span|div) class="arithmatex">(?P<content>[^<]*)</(?P=tag)>')
# pymdownx joins displays on neighboring lines.
_NEXT = re.compile(r"\$\$\s*\$\$")
# What one equation defines, another does not see; and a few definitions can grow without end.
_DEFINES = re.compile(r"\\(?:[gex]?def|let|futurelet|global|long|(?:re|provide)?newcommand|show|message|errmessage)")
_SIGN = re.compile(r"\\(?:[A-Za-z@]+|.)", re.DOTALL)
_SETTINGS = (
    """{displayMode: isDisplay, output: "htmlAndMathml", strict: false, maxSize: 60, maxExpand: 1000, trust: refuse}"""
)
_CALLED = f"""
var console = {{log() {{}}, warn() {{}}, error() {{}}}};
function refuse(context) {{ throw new katex.ParseError(context.command + " is not allowed here"); }}
function draw(equation, isDisplay) {{
  try {{
    // A string of several parts is no string to the caller.
    return JSON.stringify([katex.renderToString(equation, {_SETTINGS}), ""]);
  }} catch (error) {{
    if (error instanceof katex.ParseError) return JSON.stringify(["", error.rawMessage]);
    throw error;
  }}
}}
"""

_TOKEN = re.compile(
    r"""<(?P<tag>[A-Za-z]+)(?P<attributes>(?:\s+[\w:-]+\s?=(?:"[^"<>]*"|'[^'<>]*'))*)\s*(?P<is_empty>/?)>"""
    r"|</(?P<closed>[A-Za-z]+)>|[^<>]+"
)
_ATTRIBUTE = re.compile(r"""([\w:-]+)\s?=(?:"([^"]*)"|'([^']*)')""")
_LAYOUT = {"stretchy", "lspace", "rspace", "width", "height", "mathvariant", "mathbackground"}
_ALLOWED: dict[str, set[str]] = {
    "span": {"class", "style", "aria-hidden"},
    "svg": {"class", "style", "xmlns", "width", "height", "viewBox", "preserveAspectRatio"},
    "path": {"d"},
    "line": {"x1", "y1", "x2", "y2", "stroke-width"},
    "math": {"xmlns", "display"},
    "annotation": {"encoding"},
    "mi": _LAYOUT,
    "mn": _LAYOUT,
    "mo": {*_LAYOUT, "fence", "separator", "minsize", "maxsize", "largeop", "movablelimits", "form", "symmetric"},
    "mtext": _LAYOUT,
    "mspace": {*_LAYOUT, "linebreak"},
    "mpadded": {*_LAYOUT, "depth", "voffset"},
    "mstyle": {"displaystyle", "scriptlevel", "mathsize", "mathcolor", "mathvariant", "mathbackground"},
    "mfrac": {"linethickness", "bevelled"},
    "menclose": {"notation"},
    "mover": {"accent"},
    "munder": {"accentunder"},
    "munderover": {"accent", "accentunder"},
    "mtable": {"columnalign", "columnspacing", "rowspacing", "rowlines", "columnlines", "width", "side", "align"},
    "mtd": {"width", "columnalign"},
    **{tag: set() for tag in ("semantics", "mrow", "mphantom", "msub", "msup", "msubsup", "msqrt", "mroot", "mtr")},
}
_DECLARATION = re.compile(
    r"(?:height|width|min-width|vertical-align|top|bottom|left|margin-(?:left|right|top)|padding-left"
    r"|border-(?:(?:top|right|bottom)-)?width):-?\d{0,3}(?:\.\d+)?em"
    r"|(?:background-|border-)?color:(?:#[0-9a-fA-F]{3,8}|[a-zA-Z]+)"
    r"|position:relative|border-(?:right-)?style:(?:solid|dashed)|margin:0_-0\.02em"
    r"|text-shadow:0\.02em_0\.01em_0\.04px|width:calc\(100%_-_\d\.\d+em\)"
)
_SPECIAL, _ESCAPED = re.compile(r"([^a-zA-Z0-9_-])"), r"\\\1"
_CLASSES = re.compile(r'<(?:span|svg) class="([^"]*:[^"]*)"')
_HEAD = re.compile(r"</head>", re.IGNORECASE)
_DRAWN = '<span class="katex">'
_UNREAD = re.compile(r'<(span|div) class="arithmatex q-unread" title="([^"]*)">([^<]*)</\1>')


class _UnreadError(Exception):
    """KaTeX can't draw an equation, for the reason given."""


class Equations:
    """Draws the equations of pages, in one thread.

    Args:
        kept: What keeps drawn equations from one build to the next.
    """

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._context: Any = None

    def drawn(self, page: str) -> str:
        """Return HTML with its equations drawn; one that can't be drawn stays as it was written, and is marked."""
        return _WRITTEN.sub(self._element, page)

    def _element(self, found: re.Match[str]) -> str:
        def draw() -> str:
            return self._drawn_element(found["tag"], found["content"])

        try:
            return self._kept(f"{_made_by()}\n{found[0]}".encode(errors="replace"), draw)
        except quickjs.JSException as error:
            # Out of time, memory or stack: what it leaves behind is not used again, and perhaps it fits another day.
            self._context = None
            return _marked(found["tag"], found["content"], _said(error))

    def _drawn_element(self, tag: str, content: str) -> str:
        written = html.unescape(content).strip()
        is_display = written.startswith("\\[")
        try:
            parts = [self._draw(one, is_display) for one in _NEXT.split(re.sub(r"^\\[(\[]|\\[)\]]$", "", written))]
        except _UnreadError as error:
            return _marked(tag, content, str(error))
        return f'<{tag} class="arithmatex">{"".join(parts)}</{tag}>'

    def _draw(self, equation: str, is_display: bool) -> str:
        if len(equation) > _LONGEST:
            raise _UnreadError(f"it has {len(equation):,} characters, and {_LONGEST:,} are drawn")
        if defines := next(filter(_DEFINES.fullmatch, _SIGN.findall(equation)), ""):
            raise _UnreadError(f"{defines} is not allowed here")
        if self._context is None:
            self._context = _context()
        drawn, problem = json.loads(self._context.get("draw")(equation, is_display))
        if problem:
            raise _UnreadError(problem)
        if len(drawn) > _LARGEST:
            raise _UnreadError("it is too large")
        return _allowed(drawn)


def _context() -> Any:
    context = quickjs.Context()
    context.set_memory_limit(_MEMORY)
    context.eval(_katex())
    context.eval(_CALLED)
    context.set_time_limit(_SECONDS)
    return context


@cache
def _katex() -> str:
    return (package_files("quaere.site") / "theme" / SCRIPT).read_text(encoding="utf-8")


@cache
def _made_by() -> str:
    """Return what an equation's drawing depends on besides its source."""
    own = (package_files("quaere.site") / "equations.py").read_text(encoding="utf-8")
    return " ".join([hashlib.sha256((_katex() + own).encode()).hexdigest(), version("quickjs-ng")])


def _said(error: quickjs.JSException) -> str:
    said = str(error)
    if isinstance(error, quickjs.StackOverflow):
        return "it is nested too deep"
    if said.startswith(("null", "InternalError")):  # where no room is left to say so, nothing is said
        return "it takes too much time or memory"
    return said.partition("\n")[0]


def _marked(tag: str, content: str, problem: str) -> str:
    return f'<{tag} class="arithmatex q-unread" title="{html.escape(problem)}">{content}</{tag}>'


def _allowed(drawn: str) -> str:
    """Return what KaTeX drew, if all of it is on the list, with classes for styles."""
    written: list[str] = []
    open_: list[str] = []
    end = 0
    for found in _TOKEN.finditer(drawn):
        if found.start() != end:
            break
        if tag := found["tag"]:
            if tag not in _ALLOWED:
                raise _UnreadError(f"<{tag}> is not allowed here")
            written.append(f"<{tag}{_attributes(tag, found['attributes'])}{found['is_empty']}>")
            if not found["is_empty"]:
                open_.append(tag)
        elif found["closed"]:
            if not open_ or open_.pop() != found["closed"]:
                break
            written.append(found[0])
        else:
            written.append(found[0])
        end = found.end()
    if end != len(drawn) or open_:
        raise _UnreadError("KaTeX makes no whole elements of it")
    return "".join(written)


def _attributes(tag: str, attributes: str) -> str:
    given = {name: double or single for name, double, single in _ATTRIBUTE.findall(attributes)}
    if tag.startswith("m"):
        # What readers don't see needs no style; the classes are for tables' numbers.
        given = {name: value for name, value in given.items() if name not in ("class", "style")}
    if unknown := set(given) - _ALLOWED[tag]:
        raise _UnreadError(f"`{min(unknown)}=` is not allowed here")
    classes = given.pop("class", "").split()
    for declaration in filter(None, given.pop("style", "").split(";")):
        name, colon, value = declaration.partition(":")
        if not colon:
            continue  # KaTeX writes a condition where it has no declaration
        one = f"{name}:{'_'.join(value.split())}"
        if not _DECLARATION.fullmatch(one):
            raise _UnreadError(f"`{declaration}` is not allowed here")
        classes.append(one)
    if not all(re.fullmatch(r"[\w:.#%()-]+", one) for one in classes):
        raise _UnreadError("these classes are not allowed here")
    named = f' class="{" ".join(classes)}"' if classes else ""
    return named + "".join(f' {name}="{value}"' for name, value in given.items())


def sheet(page: str) -> str:
    """Return the style sheet that the equations of a page need besides KaTeX' own."""
    if _DRAWN not in page:
        return ""
    tokens = {one for classes in set(_CLASSES.findall(page)) for one in classes.split()}
    return "".join(map(_rule, sorted(tokens)))


@lru_cache(maxsize=4096)
def _rule(name: str) -> str:
    """Return the rule of a class that is named after a declaration; nothing for another."""
    if not _DECLARATION.fullmatch(name):
        return ""
    # As strong as the attribute that it stands for.
    return f".{_SPECIAL.sub(_ESCAPED, name)}{{{name.replace('_', ' ')}!important}}"


def links(page: str, styles: str, sheet: str) -> str:
    """Return what a page's head needs for its equations.

    Args:
        page: The page.
        styles: The address of `STYLES` from there.
        sheet: The page's own style sheet.
    """
    if _DRAWN not in page:
        return ""
    return f'<link rel="stylesheet" href="{styles}">' + (f"<style>{sheet}</style>" if sheet else "")


def put(page: str, links: str) -> str:
    """Put `links` at the end of a page's head, so that the sheets come after the theme's."""
    end = _HEAD.search(page)
    at = end.start() if end else 0
    return f"{page[:at]}{links}{page[at:]}"


def unread(page: str) -> list[tuple[str, str]]:
    """Return the equations of a page that could not be drawn, each with the problem."""
    found = _UNREAD.findall(page) if "q-unread" in page else []
    return [(html.unescape(content).strip(), html.unescape(problem)) for _, problem, content in found]
