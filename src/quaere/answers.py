"""Answers in the implementation's docstrings, read without importing it.

An answer is a section `Answers: <paper>.<question>` of a Google-style docstring, with prose and a doctest. This is the
one door to them: the engine reads through `read`, the API pages through `AnswersExtension`.
"""

from __future__ import annotations

import ast
import doctest
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import griffe

from quaere.errors import AnswerError, Place
from quaere.model import Answer, Module

_HEADER = re.compile(r"^(?P<indent>[ ]*)Answers:[ ]*(?P<id>\S.*?)?[ ]*$", re.MULTILINE)
_ID = re.compile(r"^[a-z][a-z0-9_]*\.[a-z0-9]+(-[a-z0-9]+)*$")
_TITLE = "Answers "


class AnswersExtension(griffe.Extension):
    """Show a section `Answers: <id>` as a titled *Examples* section, which griffe and mkdocstrings render right.

    Args:
        links: For each question's id, Markdown that stands before the answer, such as a link to the question.
    """

    def __init__(self, links: Mapping[str, str] | None = None) -> None:
        self.links = links or {}

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Rewrite the headers in the docstring of one object."""
        if obj.docstring:
            obj.docstring.value = _HEADER.sub(self._as_example, obj.docstring.value)

    def _as_example(self, header: re.Match[str]) -> str:
        indent, id = header["indent"], header["id"] or ""
        link = f"\n{indent}    {self.links[id]}\n" if id in self.links else ""
        return f"{indent}Examples: {_TITLE}{id}{link}"


def read(
    root: Path, package: str, versions: Mapping[str, str]
) -> tuple[tuple[Answer, ...], tuple[Module, ...], list[AnswerError]]:
    """Read the answers and the modules of a package.

    Args:
        root: The folder that holds the package.
        package: The package's name.
        versions: The versions that answers run on; they are part of each answer's key.

    Returns:
        The answers in the order of their modules and lines, the modules, and what is wrong with the docstrings.
    """
    faults: list[AnswerError] = []
    package_source = _Package.read(root, package, faults)
    answers = [answer for name in package_source.files for answer in _answers(name, package_source, versions, faults)]
    modules = (
        Module(name, file, (ast.get_docstring(package_source.trees[name]) or "").partition("\n")[0])
        for name, file in package_source.files.items()
    )
    return tuple(answers), tuple(modules), faults


@dataclass(frozen=True)
class _Package:
    """The package's modules by dotted name: file, text, syntax tree, and which modules of the package it imports."""

    files: Mapping[str, str]
    texts: Mapping[str, str]
    trees: Mapping[str, ast.Module]
    imports: dict[str, frozenset[str]]

    @classmethod
    def read(cls, root: Path, package: str, faults: list[AnswerError]) -> _Package:
        files, texts, trees = {}, {}, {}
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            file = path.relative_to(root).as_posix()
            text = path.read_text(encoding="utf-8", errors="replace")
            try:
                trees[name] = ast.parse(text)
            except SyntaxError as error:
                place = Place(file, error.lineno or 1, error.offset or 1)
                faults.append(AnswerError(place, f"not Python: {error.msg}"))
                continue
            files[name], texts[name] = file, text
        self = cls(files, texts, trees, {})
        self.imports.update((name, frozenset(self.imported(tree, name))) for name, tree in trees.items())
        return self

    def imported(self, tree: ast.AST, importer: str) -> set[str]:
        """Return the package's modules that some code names in its imports, each with the packages around it."""
        names: set[str] = set()
        for node in ast.walk(tree):
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
        prefixes = {".".join(name.split(".")[:n]) for name in names for n in range(1, name.count(".") + 2)}
        return prefixes & self.files.keys()

    def reached(self, tree: ast.AST) -> tuple[str, ...]:
        """Return all modules of the package that some code reaches through imports, however indirectly."""
        found: set[str] = set()
        waiting = self.imported(tree, "")
        while waiting:
            found.add(name := waiting.pop())
            waiting |= self.imports[name] - found
        return tuple(sorted(found))


def _answers(module: str, package: _Package, versions: Mapping[str, str], faults: list[AnswerError]) -> list[Answer]:
    """Return one module's answers in the order of their lines."""
    text, file = package.texts[module], package.files[module]
    # Parsing docstrings is what takes the time: a module without an answer or an example is passed over.
    if not re.search(r"^\s*(Answers:|>>>)", text, re.MULTILINE):
        return []
    answers = []
    for obj in _objects(griffe.visit(module, filepath=Path(file), code=text)):
        for place, id, value in _sections(obj, file, text.splitlines(), faults):
            try:
                parts, tree = _parse(id, value, place)
            except AnswerError as error:
                faults.append(error)
                continue
            reached = package.reached(tree)
            code = [part for kind, part in parts if kind == "code"]
            basis = [code, {name: package.texts[name] for name in reached}, dict(sorted(versions.items()))]
            key = hashlib.sha256(json.dumps(basis).encode()).hexdigest()
            answers.append(Answer(id, module, obj.path, place, parts, reached, key))
    return sorted(answers, key=lambda answer: answer.place)


def _objects(obj: griffe.Object) -> Iterator[griffe.Object]:
    """Yield an object and all that is defined in it."""
    yield obj
    for member in obj.members.values():
        if isinstance(member, griffe.Object):
            yield from _objects(member)


_Value = list[tuple[griffe.DocstringSectionKind, str]]


def _sections(
    obj: griffe.Object, file: str, lines: list[str], faults: list[AnswerError]
) -> Iterator[tuple[Place, str, _Value]]:
    """Yield the place, the name and the content of each section with an answer in one object's docstring."""
    if not (docstring := obj.docstring):
        return
    AnswersExtension().on_object(obj=obj)
    numbers = range(docstring.lineno or 1, (docstring.endlineno or len(lines)) + 1)
    headers = [(number, match) for number in numbers if (match := _HEADER.match(lines[number - 1]))]
    waiting = [(match["id"] or "", Place(file, number, len(match["indent"]) + 1)) for number, match in headers]
    for section in docstring.parse("google", trim_doctest_flags=False, warnings=False):
        is_examples = section.kind is griffe.DocstringSectionKind.examples
        if is_examples and (section.title or "").startswith(_TITLE):
            id = (section.title or "").removeprefix(_TITLE)
            number = next(index for index, (name, _) in enumerate(waiting) if name == id)
            yield waiting.pop(number)[1], id, section.value
        elif is_examples or re.search(r"^\s*>>>", str(section.value), re.MULTILINE):
            number = next((n for n in numbers if lines[n - 1].lstrip().startswith(">>>")), docstring.lineno or 1)
            problem, hint = "no answer holds this example, so nobody runs it", "move it into an `Answers:` section"
            faults.append(AnswerError(Place(file, number), problem, hint))
    for id, place in waiting:
        faults.append(AnswerError(place, f"answer `{id}` has no body", "indent its text and its doctest below it"))


def _parse(id: str, value: _Value, place: Place) -> tuple[tuple[tuple[str, str], ...], ast.Module]:
    """Return an answer's prose and doctest, and the doctest's syntax tree."""
    if not _ID.match(id):
        raise AnswerError(place, f"`{id}` names no question", "write `Answers: <paper>.<question>`")
    is_text = griffe.DocstringSectionKind.text
    parts = tuple(("text" if kind is is_text else "code", part) for kind, part in value)
    code = "\n\n".join(part for kind, part in parts if kind == "code")
    if not code:
        hint = "show it with `>>>`, or answer in the card's prose"
        raise AnswerError(place, f"answer `{id}` has no doctest", hint)
    try:
        examples = doctest.DocTestParser().get_examples(code)
        return parts, ast.parse("".join(example.source for example in examples))
    except (SyntaxError, ValueError) as error:
        problem = error.msg if isinstance(error, SyntaxError) else str(error)
        hint = "paste it into a Python shell"
        raise AnswerError(place, f"the doctest of `{id}` is not Python: {problem}", hint) from None
