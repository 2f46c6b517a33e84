"""Ask a question on a card, and answer it in prose or in code."""

from __future__ import annotations

import ast
import datetime
import re
from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

from quaere.authoring import edit, entries
from quaere.authoring.changes import Change, Changes
from quaere.content.model import Asked, Library, Paper
from quaere.errors import MisuseError, Place, nearest

_SMALL = frozenset(
    """
    a an the of to in on at by for from with and or as is are was were be been do does did it its this that these those
    there than then can could would should will not no so if into over per about any we you i they
    """.split()  # noqa: SIM905  (a list of quoted words would take a screen)
)
_WORDS, _LETTERS = 5, 40


def ask(
    library: Library,
    slug: str,
    question: str,
    *,
    id: str | None,
    asked: datetime.date,
    by: str | None = None,
    private: bool = False,
) -> Changes:
    """Ask a question on a card.

    Args:
        library: The knowledge base.
        slug: The card.
        question: What is asked, a line of Markdown.
        id: The question's id; made of its words if None.
        asked: When it was asked.
        by: Who asked it.
        private: Whether nobody else is shown it.

    Raises:
        MisuseError: There is no such card, the question is empty, or the id is taken or no id.
    """
    paper, question = find_paper(library, slug), " ".join(question.split())
    slug = paper.slug
    if not question:
        raise _misuse("the question is empty", "write it in quotes: quaere ask toy 'Why?'")
    taken = ids_of(library, paper)
    if id is None:
        id = id_of(question, taken)
    elif not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", id):
        raise _misuse(f"`{id}` is no id", "use lower-case words joined by hyphens")
    elif id in taken:
        raise _misuse(
            f"the card `{slug}` has, or had, a question or an answer `{id}` already",
            "choose another --id, or leave it out",
        )
    item = {"id": id, "ask": question, "asked": asked, **({"by": by} if by else {})}
    if private:
        item["private"] = True
    text = edit.append(paper.source, ("questions",), item, paper.file)
    return Changes.of(f"asked {slug}.{id}", [Change(paper.file, paper.source, text)])


def id_of(question: str, taken: Iterable[str]) -> str:
    """Make an id of a question's telling words; one that is taken gets a number.

    A question without a Latin letter is named by number: `question-2`.
    """
    taken = set(taken)
    plain = entries.without_accents(re.sub(r"\$[^$]*\$|['’]\w*", "", question)).casefold()
    words = re.findall(r"[a-z0-9]+", plain)
    telling = [word for word in words if word not in _SMALL] or words
    base = ""
    for word in telling[:_WORDS]:
        if base and len(base) + len(word) > _LETTERS:
            break
        base = f"{base}-{word}".strip("-")[:_LETTERS]
    if not base:
        return next(name for n in range(1, len(taken) + 2) if (name := f"question-{n}") not in taken)
    return free_id(base, taken)


def free_id(id: str, taken: Collection[str]) -> str:
    """Return an id, with a number behind it if it is taken."""
    return next(name for n in range(1, len(taken) + 2) if (name := id if n == 1 else f"{id}-{n}") not in taken)


def ids_of(library: Library, paper: Paper) -> set[str]:
    """Return the ids that mean something on a card: of its questions, today's and former ones, and of named answers."""
    named = (name.partition(".") for name in library.answering)
    ids = {id for slug, _, id in named if slug == paper.slug}
    return ids | {id for one in paper.card.questions for id in (one.id, *one.formerly)}


def answer(
    library: Library,
    id: str,
    prose: str,
    *,
    replaces: bool = False,
    adds: bool = False,
    by: str | None = None,
    day: datetime.date | None = None,
) -> Changes:
    """Answer a question in prose on its card.

    Args:
        library: The knowledge base.
        id: The question, `paper.question`.
        prose: Markdown.
        replaces: Whether it may take the place of an answer in prose.
        adds: Whether it stands beside the answers that are there.
        by: Who answers; then the answer stands among `answers`, with this and the day.
        day: When it is answered.

    Raises:
        MisuseError: There is no such question, the answer is empty, or there is one already.
    """
    asked, prose = find_question(library, id), prose.strip()
    id = asked.id
    if not prose:
        raise _misuse("the answer is empty", "nothing was changed")
    question, paper = asked.question, asked.paper
    prose = f"{prose}\n" if "\n" in prose else prose
    several, single = ("questions", asked.index, "answers"), ("questions", asked.index, "answer")
    if question.prose and not (replaces or adds):
        raise _misuse(f"`{id}` is answered already", "add another answer with --add, or write over it with --force")
    if replaces and question.answers:
        raise _misuse(f"`{id}` has several answers", "change them in the card")
    if by or (adds and question.prose):
        item = {"text": prose, **({"by": by, "answered": day} if by else {})}
        source = paper.source
        if replaces and question.answer is not None:
            source = edit.remove(source, single, paper.file)
        text = edit.append(source, several, item, paper.file)
    else:
        text = edit.put(paper.source, single, prose, paper.file)
    return Changes.of(f"answered {id}", [Change(paper.file, paper.source, text)])


def answer_in_code(
    library: Library, id: str, texts: dict[str, str], *, by: str | None = None, day: datetime.date | None = None
) -> Changes:
    """Write the skeleton of an answer into the module of the question's card; its doctest fails until it is written.

    Args:
        library: The knowledge base.
        id: The question, `paper.question`.
        texts: The text of each module's file, by path.
        by: Who answers; then the card names the answer among `answers`, with this and the day.
        day: When it is answered.

    Raises:
        MisuseError: There is no such question, it is answered in code already, or its module can't be extended.
    """
    asked = find_question(library, id)
    id = asked.id
    if asked.answer:
        place = asked.answer.place
        raise _misuse(f"`{id}` is answered in {place}", "change that answer")
    paper, package = asked.paper, library.settings.implementation
    module = library.module_of(paper)
    changes: list[Change] = []
    card = paper.source
    if module:
        file, before = module.file, texts[module.file]
    else:
        file, before = f"{package}/{paper.slug}.py", None
        if f"{package}/__init__.py" not in texts:
            changes.append(Change(f"{package}/__init__.py", None, ""))
        if paper.card.implementation is None:
            # Where the key is absent, the module that is called like the card is meant.
            if "implementation" in edit.fields(card):
                card = edit.remove(card, ("implementation",), paper.file)
        elif paper.card.implementation != paper.slug:
            raise _misuse(f"the card's module, `{paper.card.implementation}`, is not there", "write it first")
    if by:
        item = {"code": id, "by": by, "answered": day}
        card = edit.append(card, ("questions", asked.index, "answers"), item, paper.file)
    changes.append(Change(paper.file, paper.source, card))
    title = paper.reference.title
    head = before if before is not None else _docstring(f"{title}{'' if title.endswith(('.', '?', '!')) else '.'}")
    text = f"{head.rstrip()}\n" + ("" if re.search(r"^# Answers$", head, re.MULTILINE) else "\n\n# Answers\n")
    text += _skeleton(asked, f"{package}.{file[len(package) + 1 : -3].replace('/', '.')}", text)
    return Changes.of(f"wrote the skeleton of an answer to {id} in {file}", [*changes, Change(file, before, text)])


def _docstring(sentence: str) -> str:
    """Return a module's docstring. A title, which may be anybody's, must not end it and go on as code."""
    return '"""' + re.sub(r'\\|"(?="")', r"\\\g<0>", sentence) + '"""\n'


def _skeleton(asked: Asked, module: str, text: str) -> str:
    tree = ast.parse(text.removeprefix("\ufeff"))
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    base = re.sub(r"^(?=\d)", "_", asked.question.id.replace("-", "_"))
    name = next(name for n in range(len(names) + 2) if (name := base + "_" * n) not in names)
    # Its doctest fails, so that nothing counts as shown before it is.
    return f'''

def {name}() -> None:
    """
    Answers: {asked.id}
        Say here in a sentence what the code shows.

        >>> import {module}
        >>> "what the code shows"
        'what it should show'
    """
'''


def find_paper(library: Library, slug: str) -> Paper:
    """Return a card by its slug, today's or a former one.

    Raises:
        MisuseError: There is none.
    """
    return _found("paper", library.papers, library.today(slug), slug)


def find_question(library: Library, id: str) -> Asked:
    """Return a question by its full name, today's or a former one.

    Raises:
        MisuseError: There is none.
    """
    return _found("question", library.questions, library.today(id), id)


_T = TypeVar("_T")


def _found(what: str, known: Mapping[str, _T], today: str, name: str) -> _T:
    if today not in known:
        raise _misuse(f"there is no {what} `{name}`", nearest(name, known))
    return known[today]


def _misuse(problem: str, hint: str) -> MisuseError:
    return MisuseError(Place("", 0), problem, hint)
