"""Rename a card or a question, merge two cards of one paper, remove a card: with everything that names them."""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial

from quaere.authoring import amending, edit
from quaere.authoring.changes import Change, Changes
from quaere.authoring.questions import find_paper, find_question, free_id, ids_of
from quaere.authoring.sources.found import PARENTS, shown
from quaere.content import addresses
from quaere.content.answers import docstrings
from quaere.content.bibliography.bibtex import Bibliography
from quaere.content.model import SLUG, Library, Paper
from quaere.errors import MisuseError, Place

Texts = Callable[[str], "str | None"]
"""Returns the text of a file of the knowledge base by its path; None if there is none."""

_AUTHORS = frozenset({"note", "annote", "annotation", "comment", "abstract", "keywords"})
"""What the author may have written into an entry."""
_OF_PROJECT = ("mkdocs.yml", "pyproject.toml")


def rename_card(library: Library, old: str, new: str, texts: Texts) -> Changes:
    """Rename a card, its module, test, experiment and results, and all references; the old address leads on.

    Args:
        library: The knowledge base.
        old: The card's name.
        new: Its new name.
        texts: The files.

    Raises:
        MisuseError: There is no such card, or the new name is taken or no name.
    """
    paper = find_paper(library, old)
    old = paper.slug
    if not re.fullmatch(SLUG, new) or new == "index":
        raise _misuse(f"`{new}` is no slug", "use lower-case letters, digits and _, a letter first")
    if new in library.papers or new in library.unsound:
        raise _misuse(f"the card `{new}` is there already", "choose another name")
    if new in library.former_slugs:
        raise _misuse(f"`{new}` is a former name of `{library.former_slugs[new]}`", "choose another name")
    answers = {answer.id for answer in library.answers}
    if twice := [id for id in sorted(ids_of(library, paper)) if f"{new}.{id}" in answers]:
        raise _misuse(f"an answer is called `{new}.{twice[0]}` already", "choose another name")
    files = _Files(library, texts)
    files.move(paper.file, f"{library.settings.papers}/{new}.yml")
    for path in _own_files(library, paper, texts):
        files.move(path, _moved(library, path, old, new))
    moves_module = _has_module(library, paper)
    files.change(lambda path, text: _renamed(library, path, text, old, new, moves_module=moves_module))
    text = files.text(paper.file)
    if paper.card.implementation == old and re.search(r"^implementation\s*:", text, re.MULTILINE):
        text = edit.put(text, ("implementation",), new, paper.file)
    files.put(paper.file, edit.append(text, ("formerly",), old, paper.file))
    if library.module_of(paper) and paper.card.implementation == old:
        files.put(library.settings.renamed, _with_former_names(files.text(library.settings.renamed), library, old, new))
    return files.changes(f"renamed {old} to {new}")


def rename_question(library: Library, old: str, new: str, texts: Texts) -> Changes:
    """Give a question another id, and all references; the old address leads on.

    Args:
        library: The knowledge base.
        old: The question, `paper.question`.
        new: The new id, with or without the paper.
        texts: The files.

    Raises:
        MisuseError: There is no such question, or the new id is taken or no id.
    """
    asked = find_question(library, old)
    old = asked.id
    paper, new = asked.paper, new.removeprefix(f"{asked.paper.slug}.")
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", new):
        raise _misuse(f"`{new}` is no id", "use lower-case words joined by hyphens")
    if new in ids_of(library, paper):
        raise _misuse(f"the card `{paper.slug}` has, or had, a question or an answer `{new}` already", "choose another")
    files = _Files(library, texts)
    files.change(lambda path, text: _with_question(library, path, text, old, f"{paper.slug}.{new}"))
    text = edit.put(files.text(paper.file), ("questions", asked.index, "id"), new, paper.file)
    text = edit.append(text, ("questions", asked.index, "formerly"), asked.question.id, paper.file)
    files.put(paper.file, text)
    return files.changes(f"renamed {old} to {paper.slug}.{new}")


def merge(library: Library, kept: str, gone: str, texts: Texts) -> Changes:
    """Merge two cards of one paper: what the second says beyond the first is added to it, and the second goes.

    What both say in their own ways, such as the idea, goes into the notes; comments stand at the end. An entry of the
    bibliography that nothing else needs goes into the first card's in the same way, which keeps its key as another.

    Raises:
        MisuseError: One of them is not there, both are the same, the second has code of its own, or it is private.
    """
    one, other = find_paper(library, kept), find_paper(library, gone)
    kept, gone = one.slug, other.slug
    if kept == gone:
        raise _misuse("a card can't be merged with itself", "name two cards")
    if library.module_of(other) and other.card.implementation != one.card.implementation:
        raise _misuse(f"the card `{gone}` has a module of its own", f"merge the other way: quaere merge {gone} {kept}")
    imported = f"{library.settings.papers}/imported/"
    if files_of_gone := [path for path in _own_files(library, other, texts) if not path.startswith(imported)]:
        hint = f"merge the other way, quaere merge {gone} {kept}, or move what it holds"
        raise _misuse(f"the card `{gone}` has a file of its own: {files_of_gone[0]}", hint)
    if one.is_topic != other.is_topic:
        raise _misuse("one of them is a topic, and the other a paper", "ask the questions of one on the other")
    if other.card.private and not one.card.private:
        raise _misuse(f"the card `{gone}` is private, and `{kept}` is not", f"write `private: true` on `{kept}` first")
    claims = {claim.id for claim in one.card.claims}
    if twice := [claim.id for claim in other.card.claims if claim.id in claims and claim not in one.card.claims]:
        raise _misuse(f"both cards make a claim `{twice[0]}`, and not the same", "give one of them another id")
    files = _Files(library, texts)
    ids = ids_of(library, one)
    # Those of answers that a card names come after those of questions.
    named = [name.partition(".")[2] for name in library.answering if name.startswith(f"{gone}.")]
    names: dict[str, str] = {}
    for id in (*(question.id for question in other.card.questions), *named):
        names[id] = free_id(id, ids)
        ids.add(names[id])
        if names[id] != id:
            old, new = f"{gone}.{id}", f"{gone}.{names[id]}"
            files.change(partial(_with_question, library, old=old, new=new))
    files.change(lambda path, text: _renamed(library, path, text, gone, kept))
    source = edit.fields(files.text(other.file))
    text = files.text(one.file)
    for name in ("tags", "affiliations", "links", "builds_on", "departures", "claims", "quotes"):
        has = [*edit.fields(text).get(name, ())]
        for item in source.get(name, ()):
            is_own = item == kept or (isinstance(item, Mapping) and item.get("from") in (kept, gone))
            if item not in has and not is_own:
                text = edit.append(text, (name,), item, one.file)
                has.append(item)
    for item in source.get("questions", ()):
        # What a question here is called, or was, can't lead to another.
        formerly = [former for former in item.get("formerly", ()) if former not in ids]
        ids.update(formerly)
        added = {**item, "id": names.get(item["id"], item["id"]), "formerly": formerly}
        if not formerly:
            del added["formerly"]
        text = edit.append(text, ("questions",), added, one.file)
    for name in ("idea", "short", "reading", "status"):
        if source.get(name) and not edit.fields(text).get(name):
            text = edit.put(text, (name,), source[name], one.file)
    own = edit.fields(text)
    said, told = _merge_entries(files, library, one, other)
    if source.get("idea") not in (None, own.get("idea")):
        told.append(source["idea"])
    for name, value in source.get("extra", {}).items():
        if name not in own.get("extra", {}):
            is_first = "extra" not in edit.fields(text)
            text = edit.put(text, ("extra",) if is_first else ("extra", name), {name: value} if is_first else value)
        elif value != own["extra"][name]:
            told.append(f"`{name}`: {value}")
    if more := [part.rstrip() for part in (*told, source.get("notes", "")) if part]:
        notes = "\n\n".join([*filter(None, [own.get("notes", "").rstrip()]), *more])
        text = edit.put(text, ("notes",), f"{notes}\n" if "\n" in notes else notes, one.file)
    for former in dict.fromkeys((gone, *other.card.formerly)):
        text = edit.append(text, ("formerly",), former, one.file)
    lost = edit.comments(files.text(other.file)) - edit.comments(text)
    files.put(one.file, edit.with_comments(text, lost.elements()))
    files.remove(other.file)
    return files.changes(f"merged {gone} into {kept}{said}")


def _merge_entries(files: _Files, library: Library, one: Paper, other: Paper) -> tuple[str, list[str]]:
    """Merge the entry of a card that goes into that of the one that stays, unless something else needs it.

    Returns what is to be said, and what goes into the notes.
    """
    if one.is_topic or one.reference.key == other.reference.key:
        return "", []
    file, kept, gone = library.settings.bibliography, one.reference.key, other.reference.key
    book = Bibliography(files.text(file), file)
    written = amending.written(book)
    values = {key: book.values(part.entry) for key, part in written.items() if part.entry}
    is_needed = any(paper is not other and paper.reference.key == gone for paper in library.papers.values())
    named = {key.strip() for own in values.values() for name in PARENTS for key in own.get(name, "").split(",")}
    if is_needed or gone in named or not {kept, gone} <= values.keys():
        return f"; the entry {gone} stays, which something else needs", []
    source = written[kept].source
    if more := amending.missing(values[kept], values[gone], is_own=True):
        source = amending.with_fields(source, more)
    ids = [key.strip() for key in values[gone].get("ids", "").split(",") if key.strip()]
    source = amending.with_keys(source, [gone, *ids])
    files.put(file, amending.replaced(files.text(file), written, {kept: source, gone: ""}))
    otherwise = amending.otherwise(values[kept], values[gone])
    told = [f"`{name}`: {shown(value)}" for name, value in otherwise.items() if name in _AUTHORS]
    lost = [name for name in otherwise if name not in _AUTHORS]
    said = f", and the entry {gone} into {kept}"
    return said + (f"; not taken from {gone}: {', '.join(lost)}" if lost else ""), told


def remove(library: Library, slug: str, texts: Texts) -> Changes:
    """Remove a card, with its module, test, experiment, results and pictures; the entry of the bibliography stays.

    Raises:
        MisuseError: There is no such card, or something else names it or needs what goes with it.
    """
    paper = find_paper(library, slug)
    slug = paper.slug
    own = {paper.file, *_own_files(library, paper, texts)}
    files = _Files(library, texts)
    names, moves_module = (slug, *paper.card.formerly), _has_module(library, paper)
    answering = {
        asked.paper.file
        for asked in library.questions.values()
        if asked.paper is not paper and any(answer.place.file in own for answer in asked.running)
    }
    naming = sorted(
        path
        for path in files.paths
        if path not in own
        and (
            path in answering
            or any(
                _renamed(library, path, files.text(path), name, "_", moves_module=moves_module) != files.text(path)
                for name in names
            )
        )
    )
    if naming:
        listed = ", ".join(naming[:8]) + (f" and {len(naming) - 8} more" if len(naming) > 8 else "")
        raise _misuse(f"`{slug}` is named in {listed}", "take that out first, or `quaere merge` or `rename` the card")
    for path in own:
        files.remove(path)
    return replace(files.changes(f"removed {slug}"), removed=_own_pictures(library, names, files, own))


def naming(library: Library, question: str, texts: Texts) -> list[str]:
    """Return the files that name a question, `paper.question`, beside the card that asks it."""
    files = _Files(library, texts)
    return [
        path
        for path in files.paths
        if (text := files.text(path)) and _with_question(library, path, text, question, f"{question}-") != text
    ]


# Files


class _Files:
    """The files that can name a card or a question, as they are and as they will be."""

    def __init__(self, library: Library, texts: Texts) -> None:
        settings = library.settings
        self._texts, self._now, self._place = texts, dict[str, "str | None"](), dict[str, str]()
        self.paths = [
            *(paper.file for paper in library.papers.values()),
            *(module.file for module in library.modules),
            *(f"{settings.docs}/{path}" for path in library.docs),
            *(f"{settings.tests}/test_{name}.py" for name in library.tests),
            *(library.result_file(result) for results in library.results.values() for result in results),
            *(name for name in _OF_PROJECT if texts(name) is not None),
        ]

    def text(self, path: str) -> str:
        """Return a file's text as it is by now."""
        if path not in self._now:
            self._now[path] = self._texts(path)
        return self._now[path] or ""

    def put(self, path: str, text: str) -> None:
        """Change a file."""
        self.text(path)
        self._now[path] = text

    def move(self, path: str, to: str) -> None:
        """Move a file."""
        self.text(path)
        self._place[path] = to

    def remove(self, path: str) -> None:
        """Remove a file."""
        self.text(path)
        self._place[path] = ""

    def change(self, change: Callable[[str, str], str]) -> None:
        """Change all files."""
        for path in dict.fromkeys([*self.paths, *self._now]):
            if text := self.text(path):
                self._now[path] = change(path, text)

    def changes(self, said: str) -> Changes:
        """Return all changes."""
        made: list[Change] = []
        for path, text in self._now.items():
            before, to = self._texts(path), self._place.get(path, path)
            if to == path:
                made.append(Change(path, before, text))
            else:
                made.append(Change(path, before, None))
                made += [Change(to, self._texts(to), text)] if to else []
        return Changes.of(said, made)


def _own_files(library: Library, paper: Paper, texts: Texts) -> Iterator[str]:
    """Yield the files that are named after a card: its module, test, experiment, results, and what was imported."""
    settings, slug = library.settings, paper.slug
    if (module := library.module_of(paper)) and paper.card.implementation == slug:
        yield module.file
    if slug in library.experiments:
        yield library.experiments[slug].file
    for result in library.results.get(slug, ()):
        yield library.result_file(result)
    for path in (f"{settings.tests}/test_{slug}.py", f"{settings.papers}/imported/{slug}.yml"):
        if texts(path) is not None:
            yield path


def _has_module(library: Library, paper: Paper) -> bool:
    """Tell whether a module or an experiment is named after a card."""
    is_own = library.module_of(paper) is not None and paper.card.implementation == paper.slug
    return is_own or paper.slug in library.experiments


def _own_pictures(library: Library, names: Collection[str], files: _Files, own: Collection[str]) -> frozenset[str]:
    """Return the pictures and documents in the folder of a card that nothing else shows."""
    prefix = len(library.settings.papers) + 1
    found = {file: path for path, file in library.attachments.items() if file[prefix:].partition("/")[0] in names}
    others = "\n".join(files.text(path) for path in files.paths if path not in own) if found else ""
    return frozenset(file for file in found if file.rpartition("/")[2] not in others)


def _moved(library: Library, path: str, old: str, new: str) -> str:
    folder, _, name = path.rpartition("/")
    if name == "__init__.py":  # a module that is a folder
        return f"{folder.rpartition('/')[0]}/{new}/__init__.py"
    return f"{folder}/" + re.sub(rf"^(test_)?{old}(?=[.-])", rf"\g<1>{new}", name)


# References


def _renamed(library: Library, path: str, text: str, old: str, new: str, *, moves_module: bool = False) -> str:
    """Return a file's text with each reference to a card led to its new name."""
    package = library.settings.implementation
    if path in _OF_PROJECT:
        text = re.sub(rf"(?<![\w/.-]){re.escape(addresses.card(old))}(?!\w)", addresses.card(new), text)
    elif path.endswith(".json"):
        text = re.sub(rf'^(\s*"experiment":\s*)"{old}"', rf'\g<1>"{new}"', text, count=1, flags=re.MULTILINE)
        text = _with_links(text, "", old, new)
    elif path.endswith(".py"):
        text = _with_imports(text, package, old, new) if moves_module else text
        text = _in_docstrings(text, lambda docstring: _with_links(docstring, "", old, new))
        text = _in_names(text, lambda name: f"{new}.{name[len(old) + 1 :]}" if name.startswith(f"{old}.") else name)
    elif _is_card(library, path):
        text = _in_card(path, _with_links(text, "", old, new), old, new)
    else:
        text = _with_links(text, path.removeprefix(f"{library.settings.docs}/"), old, new)
        text = re.sub(rf"(<!--\s*quaere:[\w-]+\s+){old}(?=[.\s])", rf"\g<1>{new}", text)
    if moves_module:
        # Wherever a dotted name leads into the package, in doctests, texts and settings too.
        text = re.sub(rf"(?<![\w.])({package}(?:\.experiments)?)\.{old}(?![\w])", rf"\1.{new}", text)
    return text


def _with_links(text: str, page: str, old: str, new: str) -> str:
    """Lead links in Markdown to the page of a card to its new name; without a page, one in the folder of the cards."""
    text = re.sub(rf"\[\[\s*{old}(?=\s*[\]|#.])", f"[[{new}", text)

    def led(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page or addresses.card(old)), found[2]))
        return f"{found[1]}{found[2][: -len(old) - 3]}{new}.md" if target == addresses.card(old) else found[0]

    return re.sub(
        rf"(\]\(<?|^[ ]{{0,3}}\[[^\]\n]+\]:\s*<?)((?:[\w.%-]+/)*{old}\.md)(?=[)>#\s])", led, text, flags=re.MULTILINE
    )


def _in_docstrings(text: str, change: Callable[[str], str]) -> str:
    """Change the lines of a module's docstrings."""
    lines = text.split("\n")
    for first, last in docstrings(text):
        changed = change("\n".join(lines[first - 1 : last])).split("\n")
        if len(changed) == last - first + 1:
            lines[first - 1 : last] = changed
    return "\n".join(lines)


def _with_question(library: Library, path: str, text: str, old: str, new: str) -> str:
    """Return a file's text with each reference to a question, or an answer in code, led to its new name."""

    def link(text: str) -> str:
        return re.sub(rf"\[\[\s*{re.escape(old)}(?=\s*[\]|#])", f"[[{new}", text)

    if path.endswith(".py"):
        return _in_names(_in_docstrings(text, link), lambda name: new if name == old else name)
    text = link(text)
    if _is_card(library, path):
        text = _with_codes(path, text, lambda name: new if name == old else name)
    return re.sub(rf"(<!--\s*quaere:question\s+){re.escape(old)}(?=\s*-->)", rf"\g<1>{new}", text)


def _is_card(library: Library, path: str) -> bool:
    return any(paper.file == path for paper in library.papers.values())


def _in_card(path: str, text: str, old: str, new: str) -> str:
    value = edit.fields(text)
    for index, slug in enumerate(value.get("builds_on", ())):
        if slug == old:
            text = edit.put(text, ("builds_on", index), new, path)
    for index, departure in enumerate(value.get("departures", ())):
        if isinstance(departure, Mapping) and departure.get("from") == old:
            text = edit.put(text, ("departures", index, "from"), new, path)
    status = value.get("status")
    if isinstance(status, Mapping) and status.get("by") == old:
        text = edit.put(text, ("status", "by"), new, path)
    return _with_codes(path, text, lambda name: f"{new}.{name[len(old) + 1 :]}" if name.startswith(f"{old}.") else name)


def _with_codes(path: str, text: str, rename: Callable[[str], str]) -> str:
    """Rename the answers in code that a card names."""
    for index, question in enumerate(edit.fields(text).get("questions", ()) if "code:" in text else ()):
        for n, reply in enumerate(question.get("answers", ()) if isinstance(question, Mapping) else ()):
            if isinstance(reply, Mapping) and (name := reply.get("code")) and rename(name) != name:
                text = edit.put(text, ("questions", index, "answers", n, "code"), rename(name), path)
    return text


def _in_names(text: str, rename: Callable[[str], str]) -> str:
    """Rename the questions in lines `Answers: …` and `Asked: …`."""

    def line(found: re.Match[str]) -> str:
        return found[1] + re.sub(r"[\w.-]+", lambda name: rename(name[0]), found[2])

    return re.sub(r"^([ \t]*(?:\"\"\")?(?:Answers|Asked):[ \t]*)(\S.*)$", line, text, flags=re.MULTILINE)


def _with_imports(text: str, package: str, old: str, new: str) -> str:
    """Return code in which imports of a module name it anew, and in which all else stays as it is."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return text
    lines = text.split("\n")
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.ImportFrom)
            and node.level + (node.module == package)
            and not (node.module or "").startswith(old)
        ):
            _in_lines(
                lines,
                node,
                rf"(?<![\w.]){old}\b(\s+as\b)?",
                lambda found: f"{new}{found[1] or f' as {old}'}",
                node.names,
                old,
            )
    text = "\n".join(lines)
    return re.sub(rf"^(\s*from\s+\.+){old}(?=[\s.])", rf"\g<1>{new}", text, flags=re.MULTILINE)


def _in_lines(
    lines: list[str],
    node: ast.ImportFrom,
    pattern: str,
    put: Callable[[re.Match[str]], str],
    names: Iterable[ast.alias],
    old: str,
) -> None:
    for alias in names:
        if alias.name == old:
            at = alias.lineno - 1
            head, tail = lines[at][: alias.col_offset], lines[at][alias.col_offset :]
            lines[at] = head + re.sub(pattern, put, tail, count=1)


def _with_former_names(text: str, library: Library, old: str, new: str) -> str:
    package = library.settings.implementation
    return f"{text.rstrip()}\n{package}.{old} {package}.{new}\n".lstrip()


def _misuse(problem: str, hint: str) -> MisuseError:
    return MisuseError(Place("", 0), problem, hint)
