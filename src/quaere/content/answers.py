"""Answers in the implementation's docstrings, read without importing it.

An answer is a section `Answers: <paper>.<question>` of a Google-style docstring, with prose and a doctest. It stands in
the docstring of what it is about; or, if it is long, in that of a function which holds nothing else, and then what it
is about keeps a line `Asked: <paper>.<question>`. This is the one door to answers: the engine reads through `read`, and
`AnswersExtension` leaves links to them on the API pages.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import hashlib
import inspect
import json
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import takewhile
from pathlib import Path, PurePosixPath

import griffe

from quaere import stamp
from quaere.cache import Cache
from quaere.content import files
from quaere.content.model import Answer, Module
from quaere.errors import AnswerError, Place, nearest

_HEADER = re.compile(r"^(?P<indent>[ \t]*)Answers:[ ]*(?P<id>\S.*?)?[ ]*$", re.MULTILINE)
_NAME = r"[a-z][a-z0-9_]*\.[a-z0-9]+(?:-[a-z0-9]+)*"
_ASKED = re.compile(rf"^[ \t]*Asked:[ ]*(?P<ids>{_NAME}(?:,[ ]*{_NAME})*)[ ]*$", re.MULTILINE)
_ID = re.compile(rf"^{_NAME}$")
_NAMED = re.compile(rf"((?:Answers|Asked):)[ ]*{_NAME}(?:,[ ]*{_NAME})*[ ]*$")
_TITLE = "Answers "


class AnswersExtension(griffe.Extension):
    """Put a link to the question, `[[paper.question]]`, in the place of each answer: it stands on the card."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Rewrite the docstring of one object."""
        if obj.docstring:
            obj.docstring.value = _linked(obj.docstring.value)

    def on_module(self, *, mod: griffe.Module, **_: object) -> None:
        """Rewrite the docstring of a module, of the outermost griffe tells only here; leave out what only answers."""
        self.on_object(obj=mod)
        for name, member in list(mod.members.items()):
            # What is imported is not looked up, and a function that does something besides stays.
            docstring = member.docstring if isinstance(member, griffe.Function) else None
            if docstring and _HEADER.match(docstring.value) and docstring.endlineno == member.endlineno:
                del mod.members[name]


def _linked(docstring: str) -> str:
    lines = docstring.split("\n")
    inside: set[int] = set()
    for number, line in enumerate(lines, 1):
        if header := _HEADER.match(line):
            inside.update(_body(number, lines))
            lines[number - 1] = f"\n{header['indent']}*Answers* [[{header['id']}]]\n"
        elif asked := _ASKED.match(line):
            lines[number - 1] = "".join(f"\n{line[: _depth(line)]}*Answers* [[{id}]]\n" for id in _ids(asked))
    return "\n".join(line for number, line in enumerate(lines, 1) if number not in inside)


def _ids(asked: re.Match[str]) -> list[str]:
    return re.split(r",\s*", asked["ids"])


def _titled(docstring: str) -> str:
    """Return a docstring whose answers are titled sections of examples, which griffe reads right."""
    return _HEADER.sub(lambda header: f"{header['indent']}Examples: {_TITLE}{header['id'] or ''}", docstring)


def read(
    root: Path, package: str, versions: Mapping[str, str], cache: Cache | None = None
) -> tuple[tuple[Answer, ...], tuple[Module, ...], list[AnswerError]]:
    """Read the answers and the modules of a package.

    Args:
        root: The folder that holds the package.
        package: The package's name.
        versions: The versions that answers run on; they are part of each answer's key.
        cache: What keeps those of a package without faults.

    Returns:
        The answers in the order of their modules and lines, the modules, and what is wrong with the docstrings.
    """
    sources, faults = _sources(root, package)
    source = _source(sources, versions)
    if cache and not faults and (kept := cache.find(source)) is not None:
        with contextlib.suppress(ValueError, TypeError, KeyError):
            return *_told_again(kept, sources), []
    package_source, wrong = _Package.of(sources)
    faults += wrong
    answers: list[Answer] = []
    for name in package_source.files:
        found, wrong = _answers(name, package_source, versions)
        answers += found
        faults += wrong
    modules = tuple(_modules(package_source))
    if cache and not faults:
        cache.keep([(source, _told(answers, modules))])
    return tuple(answers), modules, faults


@dataclass(frozen=True)
class _Source:
    file: str
    text: str
    is_sound: bool


def _sources(root: Path, package: str) -> tuple[dict[str, _Source], list[AnswerError]]:
    """Return the package's modules as they are written, by dotted name."""
    sources = {}
    found, faults = files.below(root, package, AnswerError, lambda path: path.endswith(".py"))
    for file in found.values():
        parts = PurePosixPath(file).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if not all(part.isidentifier() for part in parts):
            problem, hint = f"`{parts[-1]}.py` is no name of a module", "use letters, digits and _"
            faults.append(AnswerError(Place(file), problem, hint))
            continue
        try:
            text, wrong = files.text(files.read(root, file, AnswerError, package) or b"", file, AnswerError)
        except AnswerError as error:
            faults.append(error)
            continue
        faults += wrong
        sources[name] = _Source(file, text.removeprefix("\ufeff").replace("\r\n", "\n"), not wrong)
    return sources, faults


def _source(sources: Mapping[str, _Source], versions: Mapping[str, str]) -> bytes:
    told = [(name, one.file, one.text) for name, one in sources.items()]
    return f"answers {stamp.code()} {json.dumps([dict(versions), told])}".encode()


def _told(answers: Iterable[Answer], modules: Iterable[Module]) -> str:
    """Write them so that `_told_again` reads them; what is in the modules is known."""
    return json.dumps([[asdict(one) for one in answers], [asdict(replace(one, source="")) for one in modules]])


def _told_again(told: str, sources: Mapping[str, _Source]) -> tuple[tuple[Answer, ...], tuple[Module, ...]]:
    answers, modules = json.loads(told)
    return (
        tuple(
            Answer(
                **one
                | {
                    "place": Place(**one["place"]),
                    "parts": tuple((kind, text) for kind, text in one["parts"]),
                    "imports": tuple(one["imports"]),
                }
            )
            for one in answers
        ),
        tuple(Module(**one | {"source": sources[one["name"]].text}) for one in modules),
    )


@dataclass(frozen=True)
class _Package:
    """The package's modules by dotted name: file, text, digest, syntax tree, and what they import of the package."""

    files: Mapping[str, str]
    texts: Mapping[str, str]
    digests: Mapping[str, str]
    trees: Mapping[str, ast.Module]
    imports: dict[str, frozenset[str]]

    @classmethod
    def of(cls, sources: Mapping[str, _Source]) -> tuple[_Package, list[AnswerError]]:
        trees, faults = {}, []
        for name, one in sources.items():
            trees[name] = ast.Module([], [])
            try:
                trees[name] = _parsed(one.text) if one.is_sound else trees[name]
            except SyntaxError as error:
                place = Place(one.file, error.lineno or 1, error.offset or 1)
                faults.append(AnswerError(place, f"not Python: {error.msg}"))
        modules = {name: one.file for name, one in sources.items()}
        texts = {name: one.text for name, one in sources.items()}
        digests = {name: _digest(_unnamed(text, trees[name])) for name, text in texts.items()}
        self = cls(modules, texts, digests, trees, {})
        self.imports.update((name, frozenset(self.imported(tree, name))) for name, tree in trees.items())
        return self, faults

    def imported(self, tree: ast.AST, importer: str) -> set[str]:
        """Return the package's modules that some code names in its imports, each with the packages around it."""
        names: set[str] = set()
        for node in _statements(tree):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    is_package = self.files.get(importer, "").endswith("/__init__.py")
                    around = importer.split(".")
                    around = around[: len(around) - node.level + is_package]
                    base = ".".join([*around, *([node.module] if node.module else [])])
                names.update((base, *(f"{base}.{alias.name}" for alias in node.names)))
        parts = [name.split(".", files.DEEPEST + 1) for name in names]
        prefixes = {".".join(some[:n]) for some in parts for n in range(1, len(some) + 1)}
        return prefixes & self.files.keys()

    def reached(self, tree: ast.AST) -> tuple[str, ...]:
        """Return all modules of the package that some code reaches through imports, however indirectly.

        Those come first that most modules import.
        """
        found: set[str] = set()
        waiting = self.imported(tree, "")
        while waiting:
            found.add(name := waiting.pop())
            waiting |= self.imports[name] - found
        return tuple(sorted(found, key=lambda name: (-self.importers[name], name)))

    @cached_property
    def importers(self) -> Counter[str]:
        """How many modules import each."""
        return Counter(name for names in self.imports.values() for name in names)


def _parsed(code: str) -> ast.Module:
    """Return the syntax tree of some code.

    Raises:
        SyntaxError: It is not Python, or nested so deep that Python can't read it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Python says of odd escapes, it says when the code runs
            return ast.parse(code)
    except (RecursionError, MemoryError):
        raise SyntaxError("nested too deep") from None
    except ValueError as error:  # a zero byte
        raise SyntaxError(str(error)) from None


def _modules(package: _Package) -> Iterator[Module]:
    """Yield the modules, each with the key of the code that it reaches."""
    code = {name: _digest(_without_words(text, package.trees[name])) for name, text in package.texts.items()}
    for name, file in package.files.items():
        tree = package.trees[name]
        summary = (ast.get_docstring(tree) or "").partition("\n")[0]
        reached = sorted({name, *package.reached(tree)})
        key = _digest(json.dumps({one: code[one] for one in reached}))
        yield Module(name, file, summary, key, package.texts[name])


def _without_words(text: str, tree: ast.Module) -> str:
    """Return some code without docstrings, functions that hold nothing else, comments and blank lines.

    They change no number.
    """
    words: set[int] = set()
    for _, docstring in _docstrings(tree, ""):
        words.update(range(docstring.lineno or 1, (docstring.endlineno or 0) + 1))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and len(node.body) == 1 and ast.get_docstring(node) is not None:
            words.update(range(node.lineno, (node.end_lineno or 0) + 1))
    lines = enumerate(text.split("\n"), 1)
    return "\n".join(line for n, line in lines if n not in words and line.strip() and not line.lstrip().startswith("#"))


def _unnamed(text: str, tree: ast.Module) -> str:
    """Return some code without the names of questions in its docstrings: a question may get another name."""
    lines = text.split("\n")
    for _, docstring in _docstrings(tree, ""):
        # Python also ends lines where editors don't.
        for n in range((docstring.lineno or 1) - 1, min(docstring.endlineno or 0, len(lines))):
            lines[n] = _NAMED.sub(r"\1", lines[n])
    return "\n".join(lines)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield all statements, however deep. Imports are statements: the far more numerous expressions are passed over."""
    waiting = [tree]
    while waiting:
        around = waiting.pop()
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            inside = getattr(around, name, ())
            if isinstance(inside, list):  # of a lambda or a condition it is an expression
                yield from inside
                waiting += inside


def _answers(module: str, package: _Package, versions: Mapping[str, str]) -> tuple[list[Answer], list[AnswerError]]:
    """Return one module's answers in the order of their lines, and what is wrong with its docstrings."""
    text, file = package.texts[module], package.files[module]
    # Parsing docstrings is what takes the time: a module without any of these is passed over.
    if not package.trees[module].body or not re.search(r"^\s*(Answers:|Asked:|>>>)", text, re.MULTILINE):
        return [], []
    answers: list[Answer] = []
    faults: list[AnswerError] = []
    lines = text.split("\n")
    headers = {number: match for number, line in enumerate(lines, 1) if (match := _HEADER.match(line))}
    docstrings = list(_docstrings(package.trees[module], module))
    asked_by = {
        id: path for path, docstring in docstrings for asked in _ASKED.finditer(docstring.value) for id in _ids(asked)
    }
    # A page of the module leaves out what only answers.
    left_out = set(_apart(package.trees[module], module))
    sections = [(path, *section) for path, docstring in docstrings for section in _sections(docstring, headers)]
    for path, number, id, value in sections:
        place = Place(file, number, len(headers[number]["indent"]) + 1 if number in headers else 1)
        try:
            parts, tree = _parse(id, value, place, lines)
        except AnswerError as error:
            faults.append(error)
            continue
        reached = package.reached(tree)
        code = [part for kind, part in parts if kind == "code"]
        basis = [code, {name: package.digests[name] for name in sorted(reached)}, dict(sorted(versions.items()))]
        key = _digest(json.dumps(basis))
        shown = module if path in left_out else path
        answers.append(Answer(id, module, asked_by.get(id, shown), place, parts, reached, key))
    faults += _misasked(file, lines, {answer.id for answer in answers})
    faults += _unread(file, lines, headers, {number for _, number, _, _ in sections})
    return sorted(answers, key=lambda answer: answer.place), faults


def _docstrings(node: ast.AST, path: str) -> Iterator[tuple[str, griffe.Docstring]]:
    """Yield the path and the docstring of a module, and of its classes, functions and methods."""
    waiting = [(node, path)]
    while waiting:
        node, path = waiting.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            match node.body:
                case [ast.Expr(ast.Constant(str(text))) as first, *_]:
                    yield path, griffe.Docstring(text, lineno=first.lineno, endlineno=first.end_lineno)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):  # what a function defines, no page shows
            parts = (*getattr(node, "body", ()), *getattr(node, "orelse", ()))
            names = [getattr(part, "name", "") for part in parts]
            waiting += [(part, f"{path}.{name}" if name else path) for part, name in zip(parts, names, strict=True)][
                ::-1
            ]


def docstrings(code: str) -> list[tuple[int, int]]:
    """Return the first and the last line of each docstring of some code; none if it is not Python."""
    try:
        tree = _parsed(code)
    except SyntaxError:
        return []
    return [(one.lineno or 1, one.endlineno or 1) for _, one in _docstrings(tree, "")]


def _apart(tree: ast.AST, module: str) -> Iterator[str]:
    """Yield the paths of a module's functions that are only there to hold an answer."""
    for node in getattr(tree, "body", ()):
        match node:
            case ast.FunctionDef(body=[ast.Expr(ast.Constant(str(text)))]):
                if _HEADER.match(inspect.cleandoc(text)):
                    yield f"{module}.{node.name}"


_Value = list[tuple[griffe.DocstringSectionKind, str]]


def _sections(docstring: griffe.Docstring, headers: Mapping[int, re.Match[str]]) -> Iterator[tuple[int, str, _Value]]:
    """Yield the line, the name and the content of each section with an answer in one docstring."""
    docstring.value = _titled(docstring.value)
    start, end = docstring.lineno or 1, docstring.endlineno or 1
    numbers: dict[str, list[int]] = {}
    for number in range(end, start - 1, -1):
        if number in headers:
            numbers.setdefault(headers[number]["id"] or "", []).append(number)
    for section in docstring.parse("google", trim_doctest_flags=False, warnings=False):
        title = section.title or ""
        if section.kind is griffe.DocstringSectionKind.examples and title.startswith(_TITLE):
            id = title.removeprefix(_TITLE)
            yield numbers[id].pop() if numbers.get(id) else start, id, section.value


def _unread(
    file: str, lines: Sequence[str], headers: Mapping[int, re.Match[str]], read: Set[int]
) -> Iterator[AnswerError]:
    """Yield a fault for each header without a body, and for each example outside the answers: nobody runs them."""
    inside: set[int] = set()
    for number, header in headers.items():
        inside.update(_body(number, lines))
        if number not in read:
            place, name = Place(file, number, _depth(header[0]) + 1), header["id"]
            problem = f"answer `{name}` is not read" if name else "an answer without a name is not read"
            hint = "indent its text and its doctest below it, in the docstring of a module, class or function"
            yield AnswerError(place, problem, hint)
    in_paragraph = False
    for number, line in enumerate(lines, 1):
        is_example = line.lstrip().startswith(">>>") and number not in inside
        if is_example and not in_paragraph:
            problem, hint = "no answer holds this example, so nobody runs it", "move it into an `Answers:` section"
            yield AnswerError(Place(file, number, _depth(line) + 1), problem, hint)
        in_paragraph = bool(line.strip()) and (in_paragraph or is_example)


def _misasked(file: str, lines: Sequence[str], known: Set[str]) -> Iterator[AnswerError]:
    """Yield a fault for each line `Asked:` with the name of an answer that its module has not."""
    for number, line in enumerate(lines, 1):
        for id in _ids(asked) if (asked := _ASKED.match(line)) else ():
            if id not in known:
                hint = nearest(id, known) or "write it below the code, as the docstring of a function of its own"
                yield AnswerError(Place(file, number, line.index(id) + 1), f"no answer `{id}` in this module", hint)


def _body(header: int, lines: Sequence[str]) -> Iterator[int]:
    """Return the numbers of the lines that belong to the section with a header."""
    depth = _depth(lines[header - 1])
    numbers = range(header + 1, len(lines) + 1)
    return takewhile(lambda n: not lines[n - 1].strip() or _depth(lines[n - 1]) > depth, numbers)


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())


def _parse(
    id: str, value: _Value, place: Place, lines: Sequence[str]
) -> tuple[tuple[tuple[str, str], ...], ast.Module]:
    """Return an answer's prose and doctest, and the doctest's syntax tree."""
    if not _ID.match(id):
        problem = f"`{id}` names no question" if id else "an answer that names no question"
        raise AnswerError(place, problem, "write `Answers: <paper>.<question>`")
    is_text = griffe.DocstringSectionKind.text
    parts = tuple(("text" if kind is is_text else "code", part) for kind, part in value)
    code = "\n\n".join(part for kind, part in parts if kind == "code")
    if not code:
        hint = "show it with `>>>`, or answer in the card's prose"
        raise AnswerError(place, f"answer `{id}` has no doctest", hint)
    hint = "paste it into a Python shell"
    try:
        examples = doctest.DocTestParser().get_examples(code)
    except ValueError as error:
        _, number, problem = re.split(r"^line (\d+) of the .*? for <string> ", str(error), maxsplit=1)
        where = _place_within(code, int(number), place, lines)
        raise AnswerError(where, f"the doctest of `{id}` {problem}", hint) from None
    for example in examples:
        if example.options.get(doctest.SKIP):
            where = _place_within(code, example.lineno + 1, place, lines)
            raise AnswerError(where, f"the doctest of `{id}` skips an example", "an answer runs, or shows nothing")
    with contextlib.suppress(SyntaxError):
        return parts, _parsed("".join(example.source for example in examples))
    for example in examples:
        try:
            _parsed(example.source)
        except SyntaxError as error:
            where = _place_within(code, example.lineno + (error.lineno or 1), place, lines, error.offset or 1)
            raise AnswerError(where, f"the doctest of `{id}` is not Python: {error.msg}", hint) from None
    raise AnswerError(place, f"the doctest of `{id}` is not Python as a whole", hint)


def _place_within(code: str, number: int, place: Place, lines: Sequence[str], column: int = -3) -> Place:
    """Return where a line of a doctest stands in the file; where its answer starts if an escape hides it."""
    at, end = place.line, max(_body(place.line, lines), default=place.line)
    for wanted in code.split("\n")[:number]:
        later = (n for n in range(at, end) if lines[n].strip() == wanted.strip())
        if (found := next(later, None)) is None:
            return place
        at = found + 1
    return Place(place.file, at, _depth(lines[at - 1]) + len(">>> ") + column)
