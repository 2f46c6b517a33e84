"""A doctest as text that can be pasted: into a file, into Python's shell, or into a cell of a notebook."""

from __future__ import annotations

import ast
import doctest
import io
import re
import shlex
import textwrap
import tokenize
from collections.abc import Iterator
from functools import lru_cache

_FLAGS = re.compile(r"[ \t]*#[ \t]*doctest:.*$", re.MULTILINE)
_RAISES = "try:\n{}\nexcept Exception as error:\n    print(f'{{type(error).__name__}}: {{error}}')\n"


def script(code: str) -> str:
    """Return a doctest as a script: the code, and below it what it shows, as comments.

    A compound statement has no empty line inside and one at its end, as Python's shell wants it. An example that raises
    an exception catches it.
    """
    return "".join(map(_example, doctest.DocTestParser().get_examples(code))).rstrip("\n") + "\n"


def block_ends(code: str) -> frozenset[int]:
    """Return the numbers of a doctest's lines, from 0, below which Python's shell needs an empty one."""
    examples = doctest.DocTestParser().get_examples(code)
    return frozenset(
        example.lineno + example.source.count("\n") - 1 for example in examples if _is_compound(example.source)
    )


def command(id: str, repo: str, install: str) -> str:
    """Return the commands that run an answer: in a clone of the repository, if it is known where that is."""
    name = repo.rstrip("/").rpartition("/")[2].removesuffix(".git")
    clone = [f"git clone {shlex.quote(repo)}", f"cd {shlex.quote(name)}", install] if name else []
    return "".join(f"{line}\n" for line in (*clone, f"quaere verify {id}"))


def _example(example: doctest.Example) -> str:
    source = _without_empty_lines(_FLAGS.sub("", example.source))
    if example.exc_msg is not None and not _strings(source):
        source = _RAISES.format(textwrap.indent(source.rstrip("\n"), "    "))
    shown = example.exc_msg if example.exc_msg is not None else example.want
    comments = "".join(f"# {line}".rstrip() + "\n" for line in shown.splitlines())
    return source + ("\n" if _is_compound(source) else "") + comments


# A card, its notebook and its colors ask.
@lru_cache(maxsize=1024)
def _is_compound(source: str) -> bool:
    """Tell whether the last statement of an example has others inside."""
    body = ast.parse(source).body
    return bool(body) and (hasattr(body[-1], "body") or isinstance(body[-1], ast.Match))


def _without_empty_lines(source: str) -> str:
    """Leave out the empty lines of an example, but for those inside of strings."""
    lines = re.findall(r"[^\n]*\n|[^\n]+", source)  # other separators may stand in a string
    if all(map(str.strip, lines)):
        return source
    kept = _strings(source)
    return "".join(line for number, line in enumerate(lines, 1) if line.strip() or number in kept)


def _strings(source: str) -> frozenset[int]:
    """Return the numbers of the lines, from 1, that lie in a string or an f-string of several lines."""
    return frozenset(number for first, last in _spans(source) if last > first for number in range(first, last + 1))


def _spans(source: str) -> Iterator[tuple[int, int]]:
    starts = list[int]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        name = tokenize.tok_name[token.type]
        if name == "STRING":
            yield token.start[0], token.end[0]
        elif name == "FSTRING_START":
            starts.append(token.start[0])
        elif name == "FSTRING_END":
            yield starts.pop(), token.end[0]
