"""From a module's source to rows: lines of code, and the docstrings and comments that explain them.

Each line of the source is in one row, once: among its lines of code, or in what explains them. What Python can't read
is one row of code.
"""

from __future__ import annotations

import ast
import re
import warnings
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import NamedTuple

from pygments.lexers.python import PythonLexer
from pygments.token import STANDARD_TYPES, Comment, _TokenType

from quaere.pages import docstrings

_DIRECTIVE = re.compile(r"(type|noqa|fmt|mypy|ruff|pylint|isort|flake8|pragma|nosec|region|endregion)\b.{0,3}", re.I)
_ANSWERS = re.compile(r"\s*Answers:[ ]*\S")
# Characters that show nothing, and could hide what does.
_UNSEEN = {code: 0x2400 + code for code in range(0x20) if code not in (0x09, 0x0A)} | {0x7F: 0x2421}
_UNSEEN |= dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x61C], 0xFFFD)

_Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Token(NamedTuple):
    """A piece of a line of code: its class in Pygments' style sheets, and where it starts."""

    text: str
    kind: str
    line: int
    column: int


@dataclass(frozen=True)
class Line:
    """A line of code, or what stands for the lines of a docstring that is shown beside it."""

    first: int
    last: int
    tokens: tuple[Token, ...]
    is_docstring: bool = False


@dataclass(frozen=True)
class Definition:
    """A class or a function: its name within the module with those around it, its kind, and its lines."""

    name: str
    kind: str
    first: int
    last: int
    node: _Definition = field(repr=False, compare=False)


@dataclass(frozen=True)
class Row:
    """Lines of code with what explains them.

    Attributes:
        first: The first line of the source in it.
        last: The last one.
        definition: What begins here.
        prose: The parts of its docstring, and comments.
        lines: The lines of code.
        is_answers: Whether it holds functions that hold answers, and nothing else.
    """

    first: int
    last: int
    definition: Definition | None = None
    prose: tuple[docstrings.Part, ...] = ()
    lines: tuple[Line, ...] = ()
    is_answers: bool = False


@dataclass(frozen=True)
class Source:
    """A module's source as rows; `tree` is None if Python can't read it."""

    rows: tuple[Row, ...]
    tree: ast.Module | None = field(repr=False)
    lines: tuple[str, ...] = field(repr=False)


def read(text: str) -> Source:
    """Read a module's source."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    tree = parse(text)
    shown = text.translate(_UNSEEN)
    lines = shown.removesuffix("\n").split("\n")
    tokens = _tokens(shown, len(lines))
    rows = _Rows(lines, tokens, tree)
    return Source(tuple(rows.made()), tree, tuple(text.removesuffix("\n").split("\n")))


def parse(text: str) -> ast.Module | None:
    """Return the syntax tree of a source; None if Python can't read it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _tokens(text: str, count: int) -> list[list[Token]]:
    """Return the tokens of each line."""
    lines: list[list[Token]] = [[] for _ in range(count + 1)]
    number, column = 1, 0
    for _, kind, value in PythonLexer().get_tokens_unprocessed(text):
        for index, part in enumerate(value.split("\n")):
            if index:
                number, column = number + 1, 0
            if part and number <= count:
                name = _class(kind)
                line = lines[number - 1]
                last = line[-1] if line else None
                # Quotes and what stands in them are one, and so is a dotted name.
                if last and last.kind == name and (name[:1] == "s" or (name == "nn" and last.text.strip("."))):
                    line[-1] = Token(last.text + part, name, last.line, last.column)
                else:
                    line.append(Token(part, name, number, column))
            column += len(part)
    return lines[:count]


@cache
def _class(kind: _TokenType) -> str:
    """Return the class of a kind of token; a lexer's own kinds have that of the kind that they are of."""
    kinds = kind.split()
    return (
        "c" if Comment in kinds else next((STANDARD_TYPES[one] for one in reversed(kinds) if one in STANDARD_TYPES), "")
    )


@dataclass
class _Cut:
    """Where a row begins, and what is known of it."""

    first: int
    definition: Definition | None = None
    prose: list[docstrings.Part] = field(default_factory=list)
    is_answers: bool = False


class _Rows:
    """The rows of a module: first where each begins, then what is in it."""

    def __init__(self, lines: Sequence[str], tokens: Sequence[list[Token]], tree: ast.Module | None) -> None:
        self._lines, self._tokens, self._tree = lines, tokens, tree
        self._cuts: dict[int, _Cut] = {1: _Cut(1)}
        # Lines that are shown as prose: those of comments, and those of a docstring, by its first.
        self._comments: set[int] = set()
        self._docstrings: dict[int, int] = {}
        # Lines between the beginning of a constant or a definition and its docstring: to cut there would part the two.
        self._whole: set[int] = set()

    def made(self) -> Iterator[Row]:
        """Yield the rows."""
        if self._tree:
            self._cut()
        starts = sorted(self._cuts)
        for first, after in zip(starts, [*starts[1:], len(self._lines) + 1], strict=True):
            cut = self._cuts[first]
            prose = tuple(sorted(cut.prose, key=lambda part: part.first))
            yield Row(first, after - 1, cut.definition, prose, tuple(self._code(first, after)), cut.is_answers)

    def _code(self, first: int, after: int) -> Iterator[Line]:
        number = first
        while number < after:
            if (end := self._docstrings.get(number)) is not None:
                line = self._lines[number - 1]
                indent = line[: len(line) - len(line.lstrip())]
                mark = Token('"""…"""', "sd", number, len(indent))
                yield Line(number, end, (*([Token(indent, "", number, 0)] if indent else []), mark), is_docstring=True)
                number = end + 1
            else:
                if number not in self._comments:
                    yield Line(number, number, tuple(self._tokens[number - 1]))
                number += 1

    def _cut(self) -> None:
        tree = self._tree
        assert tree is not None
        comments = self._comment_groups()
        answers = list(_answers(tree, self._lines, comments))
        within = [range(first, last + 1) for first, last in answers]
        for first, last in answers:
            self._cuts[first] = _Cut(first, is_answers=True)
            if last < len(self._lines):
                self._cuts[last + 1] = _Cut(last + 1)
        self._document(_docstring(tree), self._cuts[1])
        around: list[tuple[Definition | None, Sequence[ast.stmt]]] = [(None, tree.body)]
        while around:
            outer, body = around.pop()
            leading = next((node for node in body if isinstance(node, _Definition)), None)
            previous: ast.stmt | None = None
            is_behind = False  # what a row was made for
            for node in body:
                was_behind, is_behind = is_behind, isinstance(node, _Definition)
                if isinstance(previous, ast.Assign | ast.AnnAssign) and (text := _string(node)):
                    # What stands below a constant or an attribute says what it is.
                    is_behind = True
                    self._whole.update(range(previous.lineno + 1, node.lineno))
                    self._document(text, self._cuts.setdefault(previous.lineno, _Cut(previous.lineno)))
                elif not isinstance(node, _Definition):
                    if was_behind:
                        self._cuts.setdefault(node.lineno, _Cut(node.lineno))
                    around.append((outer, list(_statements(node))))
                elif not any(node.lineno in lines for lines in within):
                    one = _definition(node, outer)
                    # What a class documents with its arguments is its constructor's: they stand side by side.
                    if one.kind != "method" or node is not leading or _docstring(node):
                        cut = self._cuts.setdefault(one.first, _Cut(one.first))
                        cut.definition = one
                        if text := _docstring(node):
                            self._whole.update(range(node.lineno + 1, text.lineno))
                            self._document(text, cut)
                    around.append((one, node.body if one.kind == "class" else _nested(node)))
                previous = node
        self._explain(comments, within)

    def _document(self, found: ast.Expr | None, cut: _Cut) -> None:
        """Put a docstring beside its row, and out of its lines where it has these for itself."""
        if found is None:
            return
        first, last = found.lineno, found.end_lineno or found.lineno
        before = self._lines[first - 1].encode(errors="surrogatepass")[: found.col_offset]
        after = self._lines[last - 1].encode(errors="surrogatepass")[found.end_col_offset or 0 :]
        text = str(found.value.value).translate(_UNSEEN)  # type: ignore[attr-defined]
        if before.strip() or after.strip():
            cut.prose += [replace(part, first=0, last=-1) for part in docstrings.parts(text, first, last)]
            return
        self._docstrings[first] = last
        cut.prose += docstrings.parts(text, first, last)

    def _comment_groups(self) -> list[tuple[int, int]]:
        """Return the first and the last line of each group of comments that have their lines for themselves."""
        groups: list[tuple[int, int]] = []
        depth = -1
        for number, tokens in enumerate(self._tokens, 1):
            real = [token for token in tokens if token.text.strip()]
            if len(real) == 1 and real[0].kind == "c":
                if groups and groups[-1][1] == number - 1 and depth == real[0].column:
                    groups[-1] = groups[-1][0], number
                else:
                    groups.append((number, number))
                depth = real[0].column
        return groups

    def _explain(self, groups: Sequence[tuple[int, int]], within: Sequence[range]) -> None:
        """Put each comment that is a sentence beside the code below it."""
        starts = {first for lines in within for first in lines}
        for first, last in groups:
            words = [self._lines[n - 1].strip().lstrip("#").removeprefix(" ") for n in range(first, last + 1)]
            if first in starts or first in self._whole or not _is_prose("\n".join(words)):
                continue
            self._comments.update(range(first, last + 1))
            cut = self._cuts.pop(last + 1, None) or _Cut(first)
            cut.first = first
            cut.prose += [docstrings.Part("text", first, last, text=docstrings.markdown(words))]
            if before := self._cuts.get(first):
                cut.prose += before.prose
            self._cuts[first] = cut


def _is_prose(words: str) -> bool:
    """Tell whether a comment is meant for readers: neither for a program, nor code that was taken out."""
    if not words[:1].isalpha() and words[:1] not in "$`[*" or _DIRECTIVE.match(words):
        return False
    tree = parse(words)
    return tree is None or (len(words.split()) == 1 and "=" not in words and "(" not in words)


def _docstring(node: ast.Module | _Definition) -> ast.Expr | None:
    return _string(node.body[0]) if node.body else None


def _string(node: ast.stmt | None) -> ast.Expr | None:
    """Return a statement that is a text and nothing else."""
    match node:
        case ast.Expr(ast.Constant(str())):
            return node
    return None


def _definition(node: _Definition, outer: Definition | None) -> Definition:
    first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
    name = f"{outer.name}.{node.name}" if outer else node.name
    is_class = isinstance(node, ast.ClassDef)
    kind = "class" if is_class else "method" if outer and outer.kind == "class" else "function"
    return Definition(name, kind, first, node.end_lineno or node.lineno, node)


def _statements(node: ast.stmt) -> Iterator[ast.stmt]:
    """Yield the statements inside a statement that defines nothing."""
    for name in ("body", "handlers", "orelse", "finalbody", "cases"):
        for one in getattr(node, name, ()):
            if isinstance(one, ast.ExceptHandler | ast.match_case):
                yield from one.body
            elif isinstance(one, ast.stmt):
                yield one


def _nested(node: ast.stmt) -> list[ast.stmt]:
    """Return the functions and classes inside a function that have docstrings."""
    return [one for one in getattr(node, "body", ()) if isinstance(one, _Definition) and _docstring(one)]


def _answers(tree: ast.Module, lines: Sequence[str], comments: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last line of each run of functions that hold answers and nothing else."""
    runs: list[list[int]] = []
    is_run = False
    for node in tree.body:
        if _is_answer(node):
            last = node.end_lineno or node.lineno
            if is_run:
                runs[-1][1] = last
            else:
                runs.append([node.lineno, last])
        is_run = _is_answer(node)
    ends = [last for _, last in comments]
    for first, last in runs:
        # The title above them, `# Answers`, and the empty lines around them are part of it.
        while first > 1 and not lines[first - 2].strip():
            first -= 1
        at = bisect_right(ends, first - 1) - 1
        if at >= 0 and ends[at] == first - 1 and not lines[comments[at][0] - 1][:1].isspace():
            first = comments[at][0]
        else:
            while not lines[first - 1].strip():
                first += 1
        while last < len(lines) and not lines[last].strip():
            last += 1
        yield first, last


def _is_answer(node: ast.stmt) -> bool:
    if not isinstance(node, ast.FunctionDef) or len(node.body) != 1:
        return False
    found = _docstring(node)
    return found is not None and bool(_ANSWERS.match(str(found.value.value)))  # type: ignore[attr-defined]
