"""Convert the TeX of a bibliography's values to Unicode: accents, symbols, emphasis and mathematics."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from pylatexenc.latex2text import get_default_latex_context_db
from pylatexenc.latexencode import get_builtin_uni2latex_dict

DEEPEST = 100
"""Braces inside braces that are read."""

NESTED = 30
"""Commands as arguments of commands that are read."""

LONGEST = 1_000_000
"""Characters that the commands and @strings of a file's own may make of one value."""


class TexError(ValueError):
    """A value that no TeX could set: the message says why."""


Marks = tuple[str, ...]


class Run(NamedTuple):
    """Characters that look alike: Unicode text with its marks, or the source of mathematics.

    Marks are `italic`, `bold`, `smallcaps`, `code`, `sub` and `sup`, the outer ones first. A `script` is a `sub` or a
    `sup` of mathematics.
    """

    text: str
    marks: Marks = ()
    is_math: bool = False


class Text(tuple[Run, ...]):
    """What a value shows: runs of characters."""

    __slots__ = ()

    @classmethod
    def of(cls, words: str) -> Text:
        """Make a text of plain words."""
        return cls([Run(words)] if words else [])

    @property
    def plain(self) -> str:
        """The text as Unicode without marks; mathematics too, as far as Unicode has it."""
        if len(self) == 1 and not self[0].is_math and not self[0].marks:
            return _spaced(self[0].text)
        return _spaced(_plain(self))

    @property
    def html(self) -> str:
        """The text with the tags that CSL-JSON knows: i, b, sub, sup and small capitals."""
        return _spaced(_tagged(self))


@dataclass(frozen=True)
class Command:
    r"""A command that the file defines: what stands for it, with #1, #2, … for its arguments.

    As in `\newcommand{\noopsort}[1]{}`.
    """

    arguments: int
    body: str


# What BibTeX's own example file defines in its preamble, and many files use without it, to sort by another year.
IDIOMS = {
    **dict.fromkeys(("noopsort", "NoopSort", "NOOPSORT", "noop", "Noop", "SortNoop", "sortnoop"), Command(1, "")),
    **dict.fromkeys(("SortNoOp", "sortnoopsort", "nosort", "SORT", "sort", "BIBsort"), Command(1, "")),
    "printfirst": Command(2, "#1"),
    "singleletter": Command(1, "#1"),
    "switchargs": Command(2, "#2#1"),
    # Of hyperref and REVTeX.
    "texorpdfstring": Command(2, "#1"),
    "bibinfo": Command(2, "#2"),
}

_DEFINITION = re.compile(
    r"\\(?:(?:re|provide)?newcommand|providecommand|renewcommand|DeclareRobustCommand)\*?\s*"
    r"(?:\{\s*\\([A-Za-z]+)\s*\}|\\([A-Za-z]+))\s*(?:\[(\d)\])?\s*(?=\{)"
    r"|\\[gex]?def\s*\\([A-Za-z]+)\s*((?:#\d)*)\s*(?=\{)"
)


def commands(preamble: str) -> dict[str, Command]:
    """Return the commands that a preamble defines, over those that files use undefined."""
    found = dict(IDIOMS)
    ends = _braces(preamble)
    for match in _DEFINITION.finditer(preamble):
        name = match[1] or match[2] or match[4]
        if (end := ends.get(match.end())) is not None:
            arguments = int(match[3] or 0) or match[5].count("#") if match[5] else int(match[3] or 0)
            found[name] = Command(arguments, preamble[match.end() + 1 : end])
    return found


def read(latex: str, defined: Mapping[str, Command] = IDIOMS) -> Text:
    """Read a value.

    Args:
        latex: The value, without the braces or quotes around it.
        defined: Commands of the file's own.

    Raises:
        TexError: A command lacks its argument, or braces don't match.
    """
    if not _SPECIAL.search(latex):
        return Text([Run(_spaced(latex))] if latex.strip() else [])
    runs = _Reader(_expanded(latex, defined)).runs()
    return Text(_joined(runs))


def literal(latex: str, *, keeps_spaces: bool = False) -> str:
    """Read an address or an identifier: what TeX needs to set it is taken off, and nothing else is changed."""
    latex = re.sub(r"\\href\s*(\{[^{}]*\})\s*\{[^{}]*\}", r"\1", latex)
    latex = re.sub(r"\\(?:url|path|nolinkurl|texttt)\s*\{", "{", latex)
    latex = re.sub(
        r"\$\\sim\s*\$|\\sim(?![A-Za-z])\s*|\\~(?:\{\})?|\\textasciitilde(?![A-Za-z])\s*(?:\{\})?", "~", latex
    )
    latex = re.sub(r"\\(text[a-z]+|%|slash|allowbreak)(?![A-Za-z])\s*(?:\{\})?", _character, latex)
    latex = re.sub(r"\$([<>])\$", r"\1", latex)
    latex = re.sub(r"\\-|\\linebreak(?:\[\d\])?|\\/", "", latex)
    text = re.sub(r"[{}]+", "", re.sub(r"\\(.)", r"\1", latex))
    return text.strip() if keeps_spaces else re.sub(r"\s+", "", text)


def _character(found: re.Match[str]) -> str:
    known = {"slash": "/", "allowbreak": "", "%": "%"}
    return known[found[1]] if found[1] in known else _symbols().get(found[1], "")


_SPECIAL = re.compile(r"[\\{}$~]|--|``|''|[!?]`")

_ACCENTS = {
    "`": "\u0300",
    "'": "\u0301",
    "^": "\u0302",
    "~": "\u0303",
    "=": "\u0304",
    "u": "\u0306",
    ".": "\u0307",
    '"': "\u0308",
    "h": "\u0309",
    "r": "\u030a",
    "H": "\u030b",
    "v": "\u030c",
    "U": "\u030e",
    "G": "\u030f",
    "f": "\u0311",
    "d": "\u0323",
    "c": "\u0327",
    "cb": "\u0326",
    "textcommabelow": "\u0326",
    "k": "\u0328",
    "textogonekcentered": "\u0328",
    "b": "\u0331",
    "t": "\u0361",
    "textdotbelow": "\u0323",
    "capitalcedilla": "\u0327",
    "newtie": "\u0361",
    "not": "\u0338",
    "textcircumacute": "\u0302\u0301",
    "textovercross": "\u033d",
    # Of the databases of mathematics.
    "polhk": "\u0328",
    "udot": "\u0323",
    "lfhook": "\u0326",
    "ocirc": "\u030a",
    "soft": "\u030c",
}
_BELOW = {"\u0323", "\u0326", "\u0327", "\u0328", "\u0331"}
# With nothing to stand on, an accent is a sign of its own.
_ALONE = {"`": "`", "'": "'", "^": "^", "~": "~", '"': '"', "=": "¯", ".": "˙"}

_SWITCHES = {
    **dict.fromkeys(("em", "it", "itshape", "sl", "slshape"), "italic"),
    **dict.fromkeys(("bf", "bfseries"), "bold"),
    **dict.fromkeys(("sc", "scshape"), "smallcaps"),
    **dict.fromkeys(("tt", "ttfamily"), "code"),
}
_UPRIGHT = {"rm", "rmfamily", "up", "upshape", "normalfont", "mdseries", "sf", "sffamily"}
_STYLES = {
    **dict.fromkeys(("emph", "textit", "textsl", "mkbibemph", "mkbibitalic"), "italic"),
    **dict.fromkeys(("textbf", "mkbibbold"), "bold"),
    "textsc": "smallcaps",
    "texttt": "code",
    **dict.fromkeys(("textsuperscript", "mkbibsuperscript"), "sup"),
    **dict.fromkeys(("textsubscript", "mkbibsubscript"), "sub"),
}
_QUOTING = {"enquote", "mkbibquote", "enquote*", "textquote"}
# What only tells TeX how to set the text, with the number of arguments that go with it.
_SILENT = {
    **dict.fromkeys(("relax", "leavevmode", "protect", "bgroup", "egroup", "ignorespaces", "unskip", "allowbreak"), 0),
    **dict.fromkeys(
        ("newblock", "natexlab", "selectfont", "nobreak", "noindent", "xspace", "null", "autocap", "isdot", "nocorr"), 0
    ),
    **dict.fromkeys(("small", "footnotesize", "scriptsize", "large", "Large", "normalsize", "displaystyle"), 0),
    **dict.fromkeys(("hspace", "vspace", "label", "selectlanguage", "foreignlanguage", "textcolor", "color"), 1),
    **dict.fromkeys(("left", "right", "big", "Big", "bigl", "bigr", "Bigl", "Bigr", "limits", "nolimits"), 0),
    **dict.fromkeys(("kern", "hskip", "hfill", "hfil", "dotfill", "textstyle", "scriptstyle"), 0),
    # Fonts of mathematics, which Unicode does without; what they are put on follows.
    **dict.fromkeys(("cal", "mathcal", "mathscr", "frak", "mathfrak", "mathrm", "mathbf", "mathsf", "mathit"), 0),
    **dict.fromkeys(("mathnormal", "boldsymbol", "bm", "operatorname", "mathop", "text", "mbox", "vec"), 0),
    # Not part of what they stand in.
    **dict.fromkeys(("footnote", "footnotemark", "thanks", "index", "nocite", "phantom", "hphantom", "vphantom"), 1),
}
_WORDS = {
    "TeX": "TeX",
    "LaTeX": "LaTeX",
    "LaTeXe": "LaTeX2ε",
    "BibTeX": "BibTeX",
    "adddot": ".",
    "addspace": " ",
    "addcomma": ",",
    "addcolon": ":",
    "hyphen": "-",
    "slash": "/",
    "quad": " ",
    "qquad": " ",
    "space": " ",
    "par": " ",
    "newline": " ",
    "linebreak": " ",
    "textasciitilde": "~",
    "textasciicircum": "^",
    "textasciigrave": "`",
    "textbackslash": "\\",
    "textunderscore": "_",
    "textbar": "|",
    "textless": "<",
    "textgreater": ">",
    "textbraceleft": "{",
    "textbraceright": "}",
    "textdollar": "$",
    "textquotesingle": "'",
    "textquotedbl": '"',
    "textquoteleft": "‘",
    "textquoteright": "’",
    "textquotedblleft": "“",
    "textquotedblright": "”",
    "textendash": "–",
    "textemdash": "—",
    "textnumero": "№",
    "texteuro": "€",
    "euro": "€",
    "EUR": "€",
    "pounds": "£",
    "textsterling": "£",
    "copyright": "©",
    "textmu": "µ",
    "textdegree": "°",
    "degree": "°",
    "celsius": "℃",
    "S": "§",
    "P": "¶",
    "dag": "†",
    "ddag": "‡",
    "dots": "…",
    "ldots": "…",
    "cdots": "⋯",
    "textellipsis": "…",
    "textbullet": "•",
    "SS": "SS",
    "i": "ı",
    "j": "ȷ",
    "l": "ł",
    "L": "Ł",
    "o": "ø",
    "O": "Ø",
    "aa": "å",
    "AA": "Å",
    "ae": "æ",
    "AE": "Æ",
    "oe": "œ",
    "OE": "Œ",
    "ss": "ß",
    "dh": "ð",
    "DH": "Ð",
    "dj": "đ",
    "DJ": "Đ",
    "dbar": "đ",
    "Dbar": "Đ",
    "cprime": "ʹ",
    "cdprime": "ʺ",
    "ohorn": "ơ",
    "OHORN": "Ơ",
    "uhorn": "ư",
    "UHORN": "Ư",
    "th": "þ",
    "TH": "Þ",
    "ng": "ŋ",
    "NG": "Ŋ",
    "ij": "ij",
    "IJ": "IJ",
    "lq": "‘",
    "rq": "’",
    "glqq": "„",
    "grqq": "“",
    "glq": "‚",
    "grq": "‘",
    "flqq": "«",
    "frqq": "»",
    "guillemotleft": "«",
    "guillemotright": "»",
    "guillemetleft": "«",
    "guillemetright": "»",
    "quotedblbase": "„",
    "quotesinglbase": "‚",
    "guilsinglleft": "‹",
    "guilsinglright": "›",
}
# Of the AAS, whose database of papers writes journals so.
_JOURNALS = {
    "aap": "Astronomy and Astrophysics",
    "aj": "The Astronomical Journal",
    "apj": "The Astrophysical Journal",
    "apjl": "The Astrophysical Journal Letters",
    "apjs": "The Astrophysical Journal Supplement Series",
    "araa": "Annual Review of Astronomy and Astrophysics",
    "icarus": "Icarus",
    "jcap": "Journal of Cosmology and Astroparticle Physics",
    "mnras": "Monthly Notices of the Royal Astronomical Society",
    "nat": "Nature",
    "pasp": "Publications of the Astronomical Society of the Pacific",
    "physrep": "Physics Reports",
    "pra": "Physical Review A",
    "prb": "Physical Review B",
    "prd": "Physical Review D",
    "pre": "Physical Review E",
    "prl": "Physical Review Letters",
    "solphys": "Solar Physics",
    "ssr": "Space Science Reviews",
}
_SIGNS = {",": "\u202f", **dict.fromkeys("\\;: \n\t", " "), **dict.fromkeys("!/-@", "")}
_BIBSTRINGS = {
    "phdthesis": "PhD thesis",
    "mathesis": "Master’s thesis",
    "bathesis": "Bachelor’s thesis",
    "candthesis": "Candidate thesis",
    "techreport": "technical report",
    "resreport": "research report",
    "software": "computer software",
    "datacd": "CD-ROM",
    "audiocd": "audio CD",
    "patent": "patent",
    "patentde": "German patent",
    "patenteu": "European patent",
    "patentfr": "French patent",
    "patentuk": "British patent",
    "patentus": "U.S. patent",
    "patreq": "patent request",
    "patreqde": "German patent request",
    "patreqeu": "European patent request",
    "patreqfr": "French patent request",
    "patrequk": "British patent request",
    "patrequs": "U.S. patent request",
    "inpreparation": "in preparation",
    "submitted": "submitted",
    "forthcoming": "forthcoming",
    "inpress": "in press",
    "prepublished": "pre-published",
    "andothers": "et al.",
}
_FRACTIONS = {"frac", "tfrac", "dfrac", "cfrac", "nicefrac", "sfrac"}
_UPPER = {"MakeUppercase", "uppercase", "MakeTextUppercase"}
_LOWER = {"MakeLowercase", "lowercase", "MakeTextLowercase"}
_ROOTS = {"": "√", "2": "√", "3": "∛", "4": "∜"}
_ABOVE = {
    "hat": "^",
    "widehat": "^",
    "tilde": "~",
    "widetilde": "~",
    "bar": "=",
    "overline": "=",
    "dot": ".",
    "ddot": '"',
}
_ABOVE |= {"check": "v", "breve": "u", "acute": "'", "grave": "`"}

_TOKEN = re.compile(
    r"\\(?P<word>[A-Za-z]+\*?)(?:[ \t\r\n]*)|\\(?P<sign>.)|(?P<open>\{)|(?P<close>\})|(?P<math>\$\$?)"
    r"|(?P<tie>~)|(?P<dash>---|--)|(?P<quote>``|''|[!?]`)|(?P<text>[^\\{}$~\-`'!?]+)|(?P<other>.|\\$)",
    re.DOTALL,
)


def bibstring(key: str) -> str:
    """Return the words that BibLaTeX prints for one of its keys, such as `phdthesis`; other text as it is."""
    return _BIBSTRINGS.get(key.strip(), key)


@cache
def _symbols() -> dict[str, str]:
    """Return the characters by the names of their commands: pylatexenc's, both ways, and ours over them."""
    named: dict[str, str] = {}
    for code, latex in get_builtin_uni2latex_dict().items():
        if found := re.fullmatch(r"\\(?:ensuremath\{\\)?([A-Za-z]+)\}?", latex):
            named.setdefault(found[1], chr(code))
    database = get_default_latex_context_db()
    for category in database.categories():
        for spec in database.iter_macro_specs([category]):
            shown = spec.simplify_repl
            # Some stand for what they do not show, as `<cit.>`.
            if isinstance(shown, str) and (len(shown) == 1 or (shown and not {"%", "<"} & set(shown))):
                named[spec.macroname] = shown
    return named | _WORDS | _JOURNALS


def _braces(text: str) -> dict[int, int]:
    """Return where each brace that opens is closed; escaped ones don't count.

    Raises:
        TexError: They don't match, or are nested too deep.
    """
    ends: dict[int, int] = {}
    opened: list[int] = []
    for match in re.finditer(r"\\.|[{}]", text, re.DOTALL):
        if match[0] == "{":
            opened.append(match.start())
            if len(opened) > DEEPEST:
                raise TexError(f"braces are nested more than {DEEPEST} levels deep")
        elif match[0] == "}":
            if not opened:
                raise TexError("a brace is closed that was not opened")
            ends[opened.pop()] = match.start()
    if opened:
        raise TexError("a brace is opened and not closed")
    return ends


def _expanded(latex: str, defined: Mapping[str, Command]) -> str:
    """Expand the commands that the file defines."""
    for _ in range(DEEPEST):
        ends: dict[int, int] | None = None
        parts: list[str] = []
        at = 0
        for match in re.finditer(r"\\([A-Za-z]+)[ \t\r\n]*|\\.", latex, re.DOTALL):
            command = defined.get(match[1] or "")
            if command is None or match.start() < at:
                continue
            ends = _braces(latex) if ends is None else ends
            arguments, end = _arguments(latex, match.end(), command.arguments, match[1], ends)
            body = command.body
            for number, argument in enumerate(arguments, 1):
                body = body.replace(f"#{number}", argument)
            parts += (latex[at : match.start()], body)
            at = end
        if not parts:
            return latex
        latex = "".join([*parts, latex[at:]])
        if len(latex) > LONGEST:
            break
    raise TexError("the commands that the file defines expand without end")


def _arguments(text: str, at: int, count: int, name: str, ends: Mapping[int, int]) -> tuple[list[str], int]:
    found = []
    for _ in range(count):
        while text[at : at + 1].isspace():
            at += 1
        if at in ends:
            found.append(text[at + 1 : ends[at]])
            at = ends[at] + 1
        elif match := re.compile(r"\\[A-Za-z]+|\\.|[^\\{}]", re.DOTALL).match(text, at):
            found.append(match[0])
            at = match.end()
        else:
            raise TexError(f"`\\{name}` lacks its argument")
    return found, at


@dataclass
class _Reader:
    """Reads TeX from left to right, with a recursive call for each group."""

    source: str
    is_math: bool = False
    depth: int = 0
    ends: dict[int, int] = field(init=False)
    unclosed: dict[tuple[str, int], int] = field(init=False, default_factory=dict)
    """Up to where no mathematics begins, by the sign that would close it, and by the end of the group."""

    def __post_init__(self) -> None:
        self.ends = _braces(self.source)

    def runs(self) -> list[Run]:
        return self._group(0, len(self.source), ())

    def _group(self, at: int, end: int, marks: Marks) -> list[Run]:
        runs: list[Run] = []
        while at < end:
            at, marks = self._step(at, end, marks, runs)
        return runs

    def _step(self, at: int, end: int, marks: Marks, runs: list[Run]) -> tuple[int, Marks]:
        """Read one thing; return where the next starts, and the marks from there on."""
        token = _TOKEN.match(self.source, at, end)
        assert token
        kind, after = str(token.lastgroup), token.end()
        if kind == "open":
            runs += self._group(after, self.ends[at], marks)
            return self.ends[at] + 1, marks
        if kind == "math":
            return self._dollars(token, end, marks, runs), marks
        if kind == "word":
            return self._command(token[kind], after, end, marks, runs)
        if kind == "sign":
            return self._sign(token[kind], after, end, marks, runs), marks
        shown = {"tie": "\u00a0", "---": "—", "--": "–", "``": "“", "''": "”", "!`": "¡", "?`": "¿"}
        if self.is_math and token[0] in ("'", "''"):
            runs.append(Run("′" * len(token[0]), marks))
            return after, marks
        if self.is_math and kind == "text" and (found := re.search(r"[\^_]", token[0])):
            runs.append(Run(token[0][: found.start()], marks))
            at += found.start()
            return self._script(self.source[at], at + 1, end, marks, runs), marks
        # A backslash at the end has lost its space.
        is_space = token[0] == "\\"
        runs.append(Run("" if is_space else shown.get(kind) or shown.get(token[0]) or token[0], marks))
        return after, marks

    def _script(self, sign: str, at: int, end: int, marks: Marks, runs: list[Run]) -> int:
        found, after = self._argument(at, end, sign, marks)
        text = _plain(found)
        # What stands high by itself is not raised.
        if sign == "^" and text in _HIGH:
            runs.append(Run(_HIGH[text], marks))
        else:
            runs.append(Run(text, _with(marks, "sup" if sign == "^" else "sub", "script")))
        return after

    def _dollars(self, token: re.Match[str], end: int, marks: Marks, runs: list[Run]) -> int:
        """Read mathematics; a dollar sign with no other behind it is what something costs."""
        close = re.compile(rf"(?:\\.|[^\\$])*?{re.escape(token[0])}", re.DOTALL).match(self.source, token.end(), end)
        inner = self.source[token.end() : close.end() - len(token[0])] if close else ""
        if not close or not inner.strip() or not _is_balanced(inner):
            runs.append(Run("$" if close is None else token[0], marks))
            return token.start() + 1 if close is None else token.end()
        runs.append(Run(inner.strip(), marks, is_math=True))
        return close.end()

    def _sign(self, sign: str, at: int, end: int, marks: Marks, runs: list[Run]) -> int:
        if sign in "([" and not self.is_math:
            close = "\\)" if sign == "(" else "\\]"
            if at > self.unclosed.get((close, end), -1):
                if (stop := self.source.find(close, at, end)) >= 0 and _is_balanced(self.source[at:stop]):
                    runs.append(Run(self.source[at:stop].strip(), marks, is_math=True))
                    return stop + 2
                # What begins later in this group would be closed by the same sign, or by none.
                self.unclosed[close, end] = end if stop < 0 else stop
        if sign in _ACCENTS and not self.is_math:
            return self._accent(sign, at, end, marks, runs)
        runs.append(Run(_SIGNS.get(sign, sign), marks))
        return at

    def _command(self, name: str, at: int, end: int, marks: Marks, runs: list[Run]) -> tuple[int, Marks]:
        bare = name.rstrip("*")
        if bare in _SWITCHES:
            return at, _with(marks, _SWITCHES[bare])
        if bare in _UPRIGHT:
            return at, tuple(mark for mark in marks if mark not in _SWITCHES.values())
        if bare in _ACCENTS:
            return self._accent(bare, at, end, marks, runs), marks
        if bare in _ABOVE and self.is_math:
            return self._accent(_ABOVE[bare], at, end, marks, runs), marks
        if bare in _STYLES:
            found, at = self._argument(at, end, bare, _with(marks, _STYLES[bare]))
            runs += found
            return at, marks
        if bare in _QUOTING:
            found, at = self._argument(at, end, bare, marks)
            runs += (Run("“", marks), *found, Run("”", marks))
            return at, marks
        return self._other(name, bare, at, end, marks, runs), marks

    def _other(self, name: str, bare: str, at: int, end: int, marks: Marks, runs: list[Run]) -> int:
        if bare == "begin":
            return self._environment(at, end, marks, runs)
        if bare in ("url", "path", "nolinkurl"):
            found, after = self._raw(at, end, bare)
            runs.append(Run(re.sub(r"\\([%#&_~{}])", r"\1", found), marks))
            return after
        if bare == "href":
            _, at = self._raw(at, end, bare)
            found_, at = self._argument(at, end, bare, marks)
            runs += found_
            return at
        if bare in ("sp", "sb") and self.is_math:
            return self._script("^" if bare == "sp" else "_", at, end, marks, runs)
        if bare == "ensuremath" and not self.is_math:
            found, at = self._raw(at, end, bare)
            runs.append(Run(found, marks, is_math=True))
            return at
        if bare == "bibstring":
            found, at = self._raw(at, end, bare)
            runs.append(Run(bibstring(found), marks))
            return at
        if bare in _UPPER or bare in _LOWER:
            found_, at = self._argument(at, end, bare, marks)
            change = str.upper if bare in _UPPER else str.lower
            runs += (run if run.is_math else run._replace(text=change(run.text)) for run in found_)
            return at
        if bare in _FRACTIONS or bare == "binom":
            over, at = self._argument(at, end, bare, marks)
            under, at = self._argument(at, end, bare, marks)
            fraction = f"{_bracketed(over)}/{_bracketed(under)}"
            runs.append(Run(f"({_plain(over)} choose {_plain(under)})" if bare == "binom" else fraction, marks))
            return at
        if bare == "sqrt":
            power = re.compile(r"\[([^\]]*)\]\s*").match(self.source, at, end)
            found_, at = self._argument(power.end() if power else at, end, bare, marks)
            root = power[1].strip() if power else ""
            sign = _ROOTS.get(root) or f"{_shifted(root, _SUPERSCRIPTS) or f'{root}'}√"
            runs.append(Run(f"{sign}{_bracketed(found_)}", marks))
            return at
        if bare in ("char", "symbol"):
            return self._numbered(bare, at, end, marks, runs)
        if bare == "mathbb":
            found_, at = self._argument(at, end, bare, marks)
            runs += (Run("".join(map(_double_struck, run.text)), run.marks) for run in found_)
            return at
        if bare in _SILENT:
            for _ in range(_SILENT[bare]):
                _, at = self._raw(at, end, bare)
            return at
        if (shown := _symbols().get(name, _symbols().get(bare))) is not None:
            runs.append(Run(self._set_off(shown, at, runs) if self.is_math else shown, marks))
        elif not self.is_math and (not self.source.startswith("{", at) or self.ends[at] == at + 1):
            # Nobody knows it: it stays to be seen.
            gap = " " if self.source[at - 1 : at].isspace() else ""
            runs.append(Run(f"\\{name}{gap}", marks))
        elif self.is_math and not self.source.startswith("{", at):
            runs.append(Run(bare, marks))
        return at

    def _set_off(self, shown: str, at: int, runs: Sequence[Run]) -> str:
        """Return a sign of mathematics with the spaces that it needs or was given."""
        before = runs[-1].text[-1:] if runs else ""
        is_spaced = self.source[at - 1 : at].isspace()
        if len(shown) > 1 and shown.isalpha():
            # An operator such as log keeps off its neighbors.
            behind = is_spaced or self.source[at : at + 1] in ("\\", "{")
            return f"{' ' if before.isalnum() else ''}{shown}{' ' if behind else ''}"
        # A command takes the space behind it; one before it asks for both.
        return f"{shown} " if is_spaced and before.isspace() else shown

    def _numbered(self, name: str, at: int, end: int, marks: Marks, runs: list[Run]) -> int:
        found = re.compile(r"\{?\s*(?:(\d{1,7})|\"([0-9A-Fa-f]{1,6})|'([0-7]{1,7}))\s*\}?").match(self.source, at, end)
        if not found:
            raise TexError(f"`\\{name}` lacks its number")
        code = int(found[1]) if found[1] else int(found[2], 16) if found[2] else int(found[3], 8)
        if not (0x20 <= code < 0x110000) or 0xD800 <= code < 0xE000 or 0x7F <= code < 0xA0:
            raise TexError(f"`\\{name}` names no character")
        runs.append(Run(chr(code), marks))
        return found.end()

    def _environment(self, at: int, end: int, marks: Marks, runs: list[Run]) -> int:
        name, at = self._raw(at, end, "begin")
        close = f"\\end{{{name}}}"
        stop = self.source.find(close, at, end)
        if stop < 0 or not _is_balanced(self.source[at:stop]):
            raise TexError(f"`\\begin{{{name}}}` has no `\\end{{{name}}}`")
        if at in self.ends and name.rstrip("*") in ("array", "tabular"):
            at = self.ends[at] + 1
        body = re.sub(r"\s*(?<!\\)&\s*", " ", re.sub(r"\\\\(?:\[[^\]]*\])?\s*", "; ", self.source[at:stop]))
        reader = _Reader(body, self.is_math, self._deeper())
        runs += (Run(run.text, _with(marks, *run.marks), run.is_math) for run in reader.runs())
        return stop + len(close)

    def _accent(self, accent: str, at: int, end: int, marks: Marks, runs: list[Run]) -> int:
        mark = _ACCENTS[accent]
        while at < end and self.source[at].isspace():
            at += 1
        if at >= end:
            runs.append(Run(_ALONE.get(accent, ""), marks))
            return at
        found, at = self._argument(at, end, accent, marks)
        base = _plain(found)
        runs.append(Run(_accented(base, mark) if base.strip() else _ALONE.get(accent, ""), marks))
        return at

    def _argument(self, at: int, end: int, name: str, marks: Marks) -> tuple[list[Run], int]:
        """Read an argument: a group, or the next single thing."""
        while at < end and self.source[at].isspace():
            at += 1
        if at >= end:
            raise TexError(
                f"`\\{name}` lacks its argument" if name.isalpha() else f"`{name}` lacks the letter that it belongs to"
            )
        if at in self.ends:
            return self._group(at + 1, self.ends[at], marks), self.ends[at] + 1
        if self.source[at] != "\\":
            return [Run(self.source[at], marks)], at + 1
        self.depth = self._deeper()
        runs: list[Run] = []
        at, marks = self._step(at, end, marks, runs)
        # A command of the font shows nothing: what it is put on is the argument.
        while not runs and at < end and (at in self.ends or self.source[at] == "\\"):
            at, marks = self._step(at, end, marks, runs)
        self.depth -= 1
        return runs, at

    def _deeper(self) -> int:
        if self.depth >= NESTED:
            raise TexError(f"commands are nested more than {NESTED} levels deep")
        return self.depth + 1

    def _raw(self, at: int, end: int, name: str) -> tuple[str, int]:
        while at < end and self.source[at].isspace():
            at += 1
        if at not in self.ends:
            raise TexError(f"`\\{name}` lacks its argument")
        return self.source[at + 1 : self.ends[at]], self.ends[at] + 1


def _is_balanced(text: str) -> bool:
    try:
        _braces(text)
    except TexError:
        return False
    return True


def _accented(base: str, mark: str) -> str:
    """Put an accent on the first letter of a text, over those that it has."""
    end = 1
    while end < len(base) and unicodedata.combining(base[end]):
        end += 1
    letter, rest = base[:end], base[end:]
    if mark[0] not in _BELOW:
        letter = letter.replace("ı", "i").replace("ȷ", "j")
    if mark == "\u0361":
        return letter + mark + rest
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", letter) + mark) + rest


_SUPERSCRIPTS = dict(
    zip("0123456789+-−=()abcdefghijklmnoprstuvwxyz", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ", strict=True)
)
_SUPERSCRIPTS |= {"T": "ᵀ", "⊤": "ᵀ", "∗": "*", "*": "*"}
_HIGH = {"∘": "°", "'": "′", "′": "′", "″": "″"}
_SUBSCRIPTS = dict(zip("0123456789+-−=()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", strict=True))


def _shifted(text: str, signs: Mapping[str, str]) -> str:
    """Return a text in raised or lowered characters; empty if Unicode lacks one of them."""
    return "".join(map(signs.__getitem__, text)) if all(one in signs for one in text) else ""


def _plain(runs: Iterable[Run]) -> str:
    return "".join(_shown(run) for run in _joined(_unicode_mathematics(runs)))


def _shown(run: Run) -> str:
    for mark, signs, sign in (("sup", _SUPERSCRIPTS, "^"), ("sub", _SUBSCRIPTS, "_")):
        if mark in run.marks and (text := run.text.strip()):
            if "script" in run.marks:
                return _shifted(text, signs) or sign + (text if len(text) == 1 else f"({text})")
            # In a sentence, raised letters such as those of 19th are read as letters.
            return run.text if text.isalpha() else _shifted(text, signs) or run.text
    return run.text


_TAGS = {
    "sub": "<sub>",
    "sup": "<sup>",
    "bold": "<b>",
    "italic": "<i>",
    "smallcaps": '<span style="font-variant:small-caps;">',
}


def _tagged(runs: Iterable[Run]) -> str:
    parts: list[str] = []
    opened: list[str] = []
    for run in _unicode_mathematics(runs):
        wanted = [_TAGS[mark] for mark in run.marks if mark in _TAGS]
        while opened != wanted[: len(opened)]:
            parts.append(_closing(opened.pop()))
        for tag in wanted[len(opened) :]:
            parts.append(tag)
            opened.append(tag)
        parts.append(run.text)
    return "".join([*parts, *map(_closing, reversed(opened))])


def _closing(tag: str) -> str:
    return f"</{tag[1:].split()[0].rstrip('>')}>"


def _unicode_mathematics(runs: Iterable[Run]) -> Iterator[Run]:
    """Yield the runs with those of mathematics in the place of its source."""
    for run in runs:
        if not run.is_math:
            yield run
            continue
        try:
            yield from (Run(one.text, _with(run.marks, *one.marks)) for one in _Reader(run.text, is_math=True).runs())
        except TexError:
            yield Run(run.text, run.marks)


def _with(marks: Marks, *more: str) -> Marks:
    return (*marks, *(mark for mark in more if mark not in marks))


def _bracketed(runs: Iterable[Run]) -> str:
    text = _plain(runs).strip()
    return text if re.fullmatch(r"\w?|\d+", text) else f"({text})"


def _double_struck(letter: str) -> str:
    kind = {"Lu": "CAPITAL", "Ll": "SMALL", "Nd": "DIGIT"}.get(unicodedata.category(letter), "")
    name = unicodedata.name(letter, "").rpartition(" ")[2]
    for form in (f"DOUBLE-STRUCK {kind} {name}", f"MATHEMATICAL DOUBLE-STRUCK {kind} {name}"):
        try:
            return unicodedata.lookup(form)
        except KeyError:
            continue
    return letter


def _joined(runs: Iterable[Run]) -> Iterator[Run]:
    """Join neighbors that look alike."""
    last: Run | None = None
    for run in runs:
        if last and not (last.is_math or run.is_math) and last.marks == run.marks:
            last = last._replace(text=last.text + run.text)
            continue
        if last and last.text:
            yield last
        last = run
    if last and last.text:
        yield last


def _spaced(text: str) -> str:
    """Return a text with single spaces, none at its ends; those that keep a line together stay."""
    is_spaced = "  " not in text and text.isprintable()
    return (text if is_spaced else re.sub(r"[ \t\r\n\f\v]+", " ", text)).strip(" ")
