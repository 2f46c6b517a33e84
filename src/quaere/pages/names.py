"""The names in a module's source: where each is defined, in this module or in another one of the implementation.

Nothing is imported. What can't be told from the source alone, such as the type of a result, gets no link.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from quaere.pages.source import parse

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_DEEPEST = 20


@dataclass(frozen=True)
class Names:
    """What a module defines and imports.

    Attributes:
        module: The module's dotted name.
        defined: The line and the column of each name, with the classes around it: `Transformer.encode`.
        bases: The bases of each class, as they are written.
        types: The class of an attribute that is made by calling it: `Transformer.embedding` → `Embedding`.
        imports: What each imported name stands for, as a dotted name.
    """

    module: str
    defined: dict[str, tuple[int, int]] = field(default_factory=dict)
    bases: dict[str, tuple[str, ...]] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """A name that a module defines; an empty name is the module itself."""

    module: str
    name: str


@dataclass(frozen=True)
class Reference:
    """A use of a name: where it stands in the source, what stands there, and what it is the name of."""

    line: int
    column: int
    text: str
    place: Place


def of_source(module: str, is_package: bool, text: str) -> Names:
    """Return the names of a module; none if Python can't read it."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    tree = parse(text)
    return read(module, is_package, tree, text.split("\n")) if tree else Names(module)


def read(module: str, is_package: bool, tree: ast.Module, lines: Sequence[str]) -> Names:
    """Return the names of a module."""
    names = Names(module)
    collected = _Collected(names, is_package, lines)
    collected.statements(tree.body, "")
    return names


@dataclass
class _Collected:
    """What `read` writes into."""

    names: Names
    is_package: bool
    lines: Sequence[str]

    def statements(self, body: list[ast.stmt], around: str) -> None:
        waiting = [*reversed(body)]
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.Import | ast.ImportFrom):
                if not around:
                    self.names.imports.update(imported(node, self.names.module, self.is_package))
            elif isinstance(node, _Function):
                self._define(around + node.name, *_after_keyword(node, self.lines))
                if around:
                    self._attributes(node, around)
            elif isinstance(node, ast.ClassDef):
                self._define(around + node.name, *_after_keyword(node, self.lines))
                self.names.bases[around + node.name] = tuple(filter(None, map(dotted, node.bases)))
                self.statements(node.body, f"{around}{node.name}.")
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                self._assign(node, around, "")
            else:
                inner = [one for part in ("finalbody", "orelse", "body") for one in reversed(getattr(node, part, []))]
                waiting += [one for one in inner if isinstance(one, ast.stmt)]
                for handler in getattr(node, "handlers", ()):
                    waiting += reversed(handler.body)

    def _attributes(self, method: _Function, around: str) -> None:
        """Note what a method sets of its object."""
        own = [*method.args.posonlyargs, *method.args.args][:1]
        if not own:
            return
        for node in ast.walk(method):
            if isinstance(node, ast.Assign | ast.AnnAssign):
                self._assign(node, around, own[0].arg)

    def _assign(self, node: ast.Assign | ast.AnnAssign, around: str, own: str) -> None:
        """Note the targets of an assignment: attributes of `own`, or names."""
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple):
                values = node.value.elts if isinstance(node.value, ast.Tuple) else []
                same = len(values) == len(target.elts)
                pairs = [(one, values[n] if same else None) for n, one in enumerate(target.elts)]
            for one, value in pairs:
                if own and isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name) and one.value.id == own:
                    name, place = one.attr, end_of(one, self.lines)
                elif not own and isinstance(one, ast.Name):
                    name, place = one.id, (one.lineno, column(self.lines, one.lineno, one.col_offset))
                else:
                    continue
                if around + name in self.names.defined:
                    continue
                self._define(around + name, *place)
                kind = dotted(value.func) if isinstance(value, ast.Call) else None
                if isinstance(node, ast.AnnAssign):
                    kind = annotated(node.annotation) or kind
                if kind:
                    self.names.types[around + name] = kind

    def _define(self, name: str, line: int, at: int) -> None:
        self.names.defined.setdefault(name, (line, at))


def imported(node: ast.Import | ast.ImportFrom, module: str, is_package: bool) -> Iterator[tuple[str, str]]:
    """Yield the names that an import brings, each with what it stands for."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield (alias.asname, alias.name) if alias.asname else (alias.name.partition(".")[0],) * 2
        return
    base = origin(node, module, is_package)
    for alias in node.names:
        if alias.name != "*":
            yield alias.asname or alias.name, f"{base}.{alias.name}"


def origin(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    """Return the dotted name of the module that names are imported from."""
    if not node.level:
        return node.module or ""
    around = module.split(".")
    around = around[: max(0, len(around) - node.level + is_package)]
    return ".".join([*around, *([node.module] if node.module else [])])


def dotted(node: ast.AST | None) -> str:
    """Return an expression that is a dotted name; empty if it is another."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def annotated(node: ast.AST | None) -> str:
    """Return the class that an annotation names, the first of a union; empty if it names none."""
    while isinstance(node, ast.BinOp):
        node = node.left
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value if all(part.isidentifier() for part in node.value.split(".")) else ""
    return dotted(node)


def column(lines: Sequence[str], line: int, offset: int) -> int:
    """Return the column in characters of an offset in bytes, which Python counts in."""
    text = lines[line - 1]
    return offset if text.isascii() else len(text.encode(errors="surrogatepass")[:offset].decode(errors="replace"))


def end_of(node: ast.Attribute, lines: Sequence[str]) -> tuple[int, int]:
    """Return where the name of an attribute starts."""
    line = node.end_lineno or node.lineno
    return line, column(lines, line, node.end_col_offset or 0) - len(node.attr)


def _after_keyword(node: _Function | ast.ClassDef, lines: Sequence[str]) -> tuple[int, int]:
    """Return where the name of a definition starts."""
    line, start = node.lineno, column(lines, node.lineno, node.col_offset)
    return line, max(0, lines[line - 1].find(node.name, start + len("def" if isinstance(node, _Function) else "class")))


@dataclass(frozen=True)
class Known:
    """The names of all modules, by which a dotted name is looked up."""

    of: Callable[[str], Names | None]

    def place(self, full: str, depth: int = 0) -> Place | None:
        """Return what a dotted name stands for: a module, or what one defines or hands on."""
        parts = full.split(".")
        for count in range(len(parts), 0, -1):
            module = ".".join(parts[:count])
            if names := self.of(module):
                return self.within(names, parts[count:], depth) if parts[count:] else Place(module, "")
        return None

    def within(self, names: Names, parts: list[str], depth: int = 0) -> Place | None:
        """Return what a dotted name stands for within a module."""
        if depth > _DEEPEST:
            return None
        first = parts[0]
        if first not in names.defined:
            full = names.imports.get(first)
            return self.place(".".join([full, *parts[1:]]), depth + 1) if full else None
        place = Place(names.module, first)
        for part in parts[1:]:
            found = self.member(place, part, depth + 1)
            if found is None:
                return None
            place = found
        return place

    def member(self, of: Place, name: str, depth: int = 0) -> Place | None:
        """Return a member of a class, its own or that of a base."""
        names = self.of(of.module)
        if names is None or depth > _DEEPEST:
            return None
        if f"{of.name}.{name}" in names.defined:
            return Place(of.module, f"{of.name}.{name}")
        for base in names.bases.get(of.name, ()):
            around = self.within(names, base.split("."), depth + 1)
            if around and around != of and (found := self.member(around, name, depth + 1)):
                return found
        return None

    def type_of(self, place: Place) -> Place | None:
        """Return the class of an attribute or a constant."""
        names = self.of(place.module)
        kind = names.types.get(place.name) if names else None
        return self._class(self.within(names, kind.split("."))) if names and kind else None

    def _class(self, place: Place | None) -> Place | None:
        names = self.of(place.module) if place else None
        return place if place and names and place.name in names.bases else None

    def is_class(self, place: Place | None) -> bool:
        """Tell whether a place is that of a class."""
        return self._class(place) is not None


@dataclass(frozen=True)
class _Of:
    """What an expression stands for: a place, or an object of the class there."""

    place: Place
    is_object: bool = False


_Scope = dict[str, _Of | None]


@dataclass
class References:
    """The uses of known names in a module.

    Args:
        names: The module's own names.
        known: The names of all modules.
        lines: The module's source.
        is_package: Whether other modules are below it.
    """

    names: Names
    known: Known
    lines: Sequence[str]
    is_package: bool
    found: list[Reference] = field(default_factory=list)
    _scopes: list[_Scope] = field(default_factory=list)

    def read(self, tree: ast.Module) -> list[Reference]:
        """Return all references, in no order; fewer if the code nests too deep."""
        try:
            for node in tree.body:
                self._visit(node, "")
        except RecursionError:
            pass
        return self.found

    def _visit(self, node: ast.AST, around: str) -> None:
        """Note the references in a piece of code; `around` is the class that it stands in."""
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                for part in (*node.decorator_list, *_annotations(node), *_defaults(node.args)):
                    self._visit(part, "")
                self._function(node, node.body, around)
            case ast.Lambda():
                for part in _defaults(node.args):
                    self._visit(part, "")
                self._function(node, [node.body], "")
            case ast.ClassDef():
                for part in (*node.decorator_list, *node.bases, *(one.value for one in node.keywords)):
                    self._visit(part, "")
                # Within a function it is none of those that are known.
                inner = "" if self._scopes else f"{around}.{node.name}".lstrip(".")
                for statement in node.body:
                    self._visit(statement, inner)
            case ast.Import() | ast.ImportFrom():
                self._import(node)
            case ast.Name():
                if isinstance(node.ctx, ast.Load) and (of := self._name(node.id)) and not of.is_object:
                    self._note(node.lineno, column(self.lines, node.lineno, node.col_offset), node.id, of.place)
            case ast.Attribute():
                self._visit(node.value, "")
                if place := self._attribute(node):
                    self._note(*end_of(node, self.lines), node.attr, place)
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                self._scopes.append(dict.fromkeys(_bound(one.target for one in node.generators)))
                for child in ast.iter_child_nodes(node):
                    self._visit(child, "")
                self._scopes.pop()
            case _:
                for child in ast.iter_child_nodes(node):
                    self._visit(child, around if isinstance(child, ast.stmt | ast.ExceptHandler) else "")

    def _function(self, node: _Function | ast.Lambda, body: list[ast.stmt] | list[ast.expr], around: str) -> None:
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        scope: _Scope = dict.fromkeys(_bound(body))
        for one in every:
            scope[one.arg] = self._object(annotated(one.annotation))
        for rest in (arguments.vararg, arguments.kwarg):
            if rest:
                scope[rest.arg] = None
        if around and every and not _is_static(node):
            of = Place(self.names.module, around)
            scope[every[0].arg] = _Of(of, is_object=not _is_of_class(node))
        self._scopes.append(scope)
        for statement in body:
            match statement:
                case ast.Import() | ast.ImportFrom():
                    for name, full in imported(statement, self.names.module, self.is_package):
                        place = self.known.place(full)
                        scope[name] = _Of(place) if place else None
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=called)):
                    scope[name] = self._object(dotted(called))
            self._visit(statement, "")
        self._scopes.pop()

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            full = alias.name
            if isinstance(node, ast.ImportFrom):
                full = f"{origin(node, self.names.module, self.is_package)}.{alias.name}"
            if place := self.known.place(full):
                at = column(self.lines, alias.lineno, alias.col_offset)
                self._note(alias.lineno, at, alias.name, place)
        if isinstance(node, ast.ImportFrom) and node.module:
            place = self.known.place(origin(node, self.names.module, self.is_package))
            at = self.lines[node.lineno - 1].find(node.module, column(self.lines, node.lineno, node.col_offset) + 4)
            if place and at >= 0:
                self._note(node.lineno, at, node.module, place)

    def _note(self, line: int, at: int, text: str, place: Place) -> None:
        is_definition = place.module == self.names.module and self.names.defined.get(place.name) == (line, at)
        if not is_definition:
            self.found.append(Reference(line, at, text, place))

    def _object(self, name: str) -> _Of | None:
        """Return what an object of a class stands for that is given by its dotted name."""
        if not name:
            return None
        first, *rest = name.split(".")
        of = self._name(first)
        for part in rest:
            of = self._member(of, part)
        return _Of(of.place, is_object=True) if of and not of.is_object and self.known.is_class(of.place) else None

    def _name(self, name: str) -> _Of | None:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        place = self.known.within(self.names, [name])
        return _Of(place) if place else None

    def _member(self, of: _Of | None, name: str) -> _Of | None:
        if of is None:
            return None
        if not of.place.name:
            place = self.known.place(f"{of.place.module}.{name}")
        else:
            around = of.place if of.is_object or self.known.is_class(of.place) else self.known.type_of(of.place)
            place = self.known.member(around, name) if around else None
        return _Of(place) if place else None

    def _attribute(self, node: ast.Attribute) -> Place | None:
        of = self._of(node)
        return of.place if of else None

    def _of(self, node: ast.expr) -> _Of | None:
        if isinstance(node, ast.Name):
            return self._name(node.id)
        if isinstance(node, ast.Attribute):
            return self._member(self._of(node.value), node.attr)
        if isinstance(node, ast.Call):
            return self._object(dotted(node.func))
        return None


def _annotations(node: _Function) -> Iterator[ast.expr]:
    arguments = node.args
    rest = [one for one in (arguments.vararg, arguments.kwarg) if one]
    for one in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *rest]:
        if one.annotation:
            yield one.annotation
    if node.returns:
        yield node.returns


def _defaults(arguments: ast.arguments) -> Iterator[ast.expr]:
    yield from arguments.defaults
    yield from (one for one in arguments.kw_defaults if one)


def _bound(nodes: Iterator[ast.AST] | list[ast.stmt] | list[ast.expr]) -> Iterator[str]:
    """Yield the names that some code binds, without those that are bound in functions and classes inside it."""
    waiting: list[ast.AST] = list(nodes)
    while waiting:
        node = waiting.pop()
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
                continue
            case ast.Lambda() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                continue
            case ast.Import() | ast.ImportFrom():
                yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield name
        waiting += ast.iter_child_nodes(node)


def _is_static(node: _Function | ast.Lambda) -> bool:
    return any(dotted(one) == "staticmethod" for one in getattr(node, "decorator_list", ()))


def _is_of_class(node: _Function | ast.Lambda) -> bool:
    return any(dotted(one) == "classmethod" for one in getattr(node, "decorator_list", ()))
