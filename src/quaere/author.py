"""The verbs that change an author's files: each shows its changes as a diff, or makes all of them."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import posixpath
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import unquote

import typer

from quaere import completion

# What a verb needs is imported inside it, so that `quaere --help` answers at once.
if TYPE_CHECKING:
    from quaere.authoring.changes import Changes
    from quaere.authoring.notes.joining import Conflict
    from quaere.authoring.notes.paper import Draft
    from quaere.authoring.notes.plan import Plan
    from quaere.authoring.sources.services import Services
    from quaere.cache import Cache
    from quaere.content.model import Library
    from quaere.errors import AuthorError
    from quaere.project import Project

Base = Annotated[Path, typer.Option("--project", help="A folder of the knowledge base.", exists=True, file_okay=False)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the changes as a diff, and make none.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Day = Annotated[
    datetime.datetime | None, typer.Option("--asked", formats=["%Y-%m-%d"], help="When it was asked; default: today.")
]
_By = Annotated[str | None, typer.Option("--by", help="Who asks or answers.")]
_NOTES = (".md", ".markdown")
_UNSAVED = ".quaere/answer.md"


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder; default: this one.", show_default=False)
    ] = Path(),
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Begin a knowledge base in a folder.

    What the folder lacks is made; what is there stays as it is.
    """
    from quaere.authoring import changes
    from quaere.authoring.init import begin
    from quaere.errors import Faults, MisuseError, Place, WriteError
    from quaere.terminal import Terminal

    root = Path(os.path.realpath(folder))
    if root.is_dir():
        changes.complete(root)  # of a command that was killed
    elif os.path.lexists(root):
        raise MisuseError(Place(str(folder), 0), "this is no folder", "name another")
    if not dry_run:
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WriteError.refused(root, error) from error
    with contextlib.nullcontext() if dry_run else changes.alone(root):
        begun = begin(root, datetime.date.today())
        if not dry_run:
            changes.apply(root, begun.changes)
    made, then = begun.changes, dict(begun.next)
    if root != Path.cwd():
        then = {
            f"cd {shlex.quote(os.path.relpath(root) if root.is_relative_to(Path.cwd()) else str(root))}": "",
            **then,
        }
    if as_json:
        _print_json({"said": made.said, "files": begun.about, "kept": begun.kept, "next": then, "diff": made.diff})
        return
    console = Terminal()
    if dry_run:
        console.print(made.diff, markup=False, soft_wrap=True, end="")
        return
    for title, told in (("made", begun.about), ("kept as it is", begun.kept), ("next", then)):
        if told:
            width = max(map(len, told))
            lines = (f"  {name.ljust(width)}  {text}".rstrip() for name, text in told.items())
            console.print("\n".join([title, *lines]), markup=False, soft_wrap=True)
    if not made.files:
        console.print(made.said)
    if faults := _wrong_in(root, reads_mkdocs="mkdocs.yml" in begun.kept):
        console.print(f"to mend first\n{Faults(faults)}", markup=False, soft_wrap=True)


def _wrong_in(root: Path, *, reads_mkdocs: bool) -> list[AuthorError]:
    """Return what is wrong with what was in a folder before it became a knowledge base."""
    base = _find(root)
    library, faults = base.check()
    # Without what builds a site, the build tells.
    with contextlib.suppress(ImportError):
        if reads_mkdocs:
            from quaere.site import defaults

            # The folder may be anybody's: nothing in it is run.
            faults += defaults.problems(root, library)
    return faults


def ask(
    paper: Annotated[str, typer.Argument(help="The paper.", autocompletion=completion.papers)],
    question: Annotated[str, typer.Argument(help="What is asked, in quotes.")],
    id: Annotated[str | None, typer.Option(help="The question's id; default: made of its words.")] = None,
    asked: _Day = None,
    by: _By = None,
    private: Annotated[bool, typer.Option("--private", help="Show it to nobody else.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    project: Base = Path(),
) -> None:
    """Ask a question on a card."""
    from quaere.authoring import questions

    base = _find(project)
    day = asked.date() if asked else datetime.date.today()

    def made(library: Library) -> Changes:
        return questions.ask(library, paper, question, id=id, asked=day, by=by, private=private)

    _done(base, made, dry_run, as_json)


def answer(
    question: Annotated[
        str, typer.Argument(help="The question, as `paper.question`.", autocompletion=completion.questions)
    ],
    text: Annotated[str | None, typer.Argument(help="The answer in Markdown; default: opens $EDITOR.")] = None,
    code: Annotated[bool, typer.Option("--code", help="Write the skeleton of an answer in code instead.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over an answer in prose.")] = False,
    add: Annotated[bool, typer.Option("--add", help="Answer beside the answers that are there.")] = False,
    by: _By = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    project: Base = Path(),
) -> None:
    """Answer a question on its card, or begin an answer in code."""
    from quaere.authoring import questions

    base = _find(project)

    def in_code(library: Library) -> Changes:
        texts = {module.file: text_of(base)(module.file) or "" for module in library.modules}
        return questions.answer_in_code(library, question, texts, by=by, day=datetime.date.today())

    if code:
        _done(base, in_code, dry_run, as_json)
        return
    former = None
    if is_edited := text is None:
        asked = questions.find_question(_library(base), question).question
        former, mark = None if add else asked.answer, f"<!-- {asked.ask} -->"
        text = _edit(former or f"\n\n{mark}\n").replace(mark, "")

    def in_prose(library: Library) -> Changes:
        # What was open in the editor may be written over, and nothing that somebody else wrote meanwhile.
        is_known = former is not None and questions.find_question(library, question).question.answer == former
        today = datetime.date.today()
        replaces = force or is_known
        return questions.answer(library, question, text or "", replaces=replaces, adds=add, by=by, day=today)

    with _kept(base, text if is_edited else ""):
        _done(base, in_prose, dry_run, as_json)


@contextlib.contextmanager
def _kept(base: Project, text: str | None) -> Iterator[None]:
    """Keep what somebody wrote in an editor where it can't be put on a card."""
    from quaere import atomic
    from quaere.errors import AuthorError

    try:
        yield
    except AuthorError as error:
        if text and text.strip():
            atomic.write(base.root / _UNSAVED, text)
            hint = "; ".join(filter(None, [error.hint, f"what you wrote is in {base.root / _UNSAVED}"]))
            raise type(error)(error.place, error.problem, hint) from None
        raise


def _edit(text: str) -> str:
    """Let somebody change a text in their editor."""
    from quaere.errors import MisuseError, Place

    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ("notepad" if sys.platform == "win32" else "vi")
    with tempfile.TemporaryDirectory(prefix="quaere-") as folder:
        file = Path(folder, "answer.md")
        file.write_text(text, encoding="utf-8")
        try:
            # Ctrl-C is for the editor, which would be ended with all that was written in it.
            with _deaf():
                subprocess.run([*shlex.split(editor), str(file)], check=True)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            problem, hint = (
                f"the editor `{editor}` has failed: {error}",
                "set $EDITOR, or write the answer as an argument",
            )
            raise MisuseError(Place("", 0), problem, hint) from error
        return file.read_text(encoding="utf-8")


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Hear no Ctrl-C; the programs that are started do."""
    former = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


def tag(
    paper: Annotated[str, typer.Argument(help="The paper.", autocompletion=completion.papers)],
    tags: Annotated[list[str] | None, typer.Argument(help="Tags to add.")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="A tag to remove; may be repeated.")] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    project: Base = Path(),
) -> None:
    """Add tags to a card, or remove some."""
    from quaere.authoring import cards

    base = _find(project)
    _done(base, lambda library: cards.tag(library, paper, tags or [], remove or []), dry_run, as_json)


def read(
    paper: Annotated[str, typer.Argument(help="The paper.", autocompletion=completion.papers)],
    state: Annotated[str, typer.Argument(help="to-read, reading or read.")] = "read",
    through: Annotated[str | None, typer.Option(help="The last part read, such as a page; empty: none.")] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    project: Base = Path(),
) -> None:
    """Note how far a paper has been read."""
    from quaere.authoring import cards

    base = _find(project)
    _done(base, lambda library: cards.read(library, paper, state, through), dry_run, as_json)


def quote(
    paper: Annotated[str, typer.Argument(help="The paper.", autocompletion=completion.papers)],
    text: Annotated[
        str | None, typer.Argument(help="The paper's words; - reads them from standard input; default: opens $EDITOR.")
    ] = None,
    page: Annotated[str | None, typer.Option(help="Where they stand, such as 4, 4–5 or §3.2.")] = None,
    note: Annotated[str | None, typer.Option(help="Your own words on them, in Markdown.")] = None,
    private: Annotated[bool, typer.Option("--private", help="Show them to nobody else.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    project: Base = Path(),
) -> None:
    """Quote a paper on its card, word for word."""
    from quaere.authoring import cards, questions

    base = _find(project)
    if is_edited := text is None:
        questions.find_paper(_library(base), paper)
        text = _edit("\n")
    elif text == "-":
        text = sys.stdin.buffer.read().decode("utf-8", errors="replace")

    def quoted(library: Library) -> Changes:
        return cards.quote(library, paper, text or "", page=page, note=note, private=private)

    with _kept(base, text if is_edited else ""):
        _done(base, quoted, dry_run, as_json)


def topic(
    title: Annotated[str, typer.Argument(help="The topic's title, in quotes.")],
    slug: Annotated[str | None, typer.Option(help="The card's name; default: made of the title's words.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag; may be repeated.")] = None,
    private: Annotated[bool, typer.Option("--private", help="Show it to nobody else.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    project: Base = Path(),
) -> None:
    """Begin a topic.

    It is a card for questions that belong to no single paper.
    """
    from quaere.authoring import cards

    base = _find(project)
    _done(
        base,
        lambda library: cards.begin_topic(library, title, slug=slug, tags=tag or [], private=private),
        dry_run,
        as_json,
    )


def rename(
    old: Annotated[
        str, typer.Argument(help="A paper, or a question as `paper.question`.", autocompletion=completion.names)
    ],
    new: Annotated[str, typer.Argument(help="Its new name.")],
    dry_run: DryRun = False,
    as_json: AsJson = False,
    project: Base = Path(),
) -> None:
    """Rename a card or a question.

    Its files and all that names it follow, and the old address leads on.
    """
    from quaere.authoring import renaming

    base = _find(project)
    change = renaming.rename_question if "." in old else renaming.rename_card
    _done(base, lambda library: change(library, old, new, text_of(base)), dry_run, as_json)


def merge(
    kept: Annotated[str, typer.Argument(help="The card that stays.", autocompletion=completion.papers)],
    gone: Annotated[
        str, typer.Argument(help="The card of the same paper that is added to it.", autocompletion=completion.papers)
    ],
    dry_run: DryRun = False,
    as_json: AsJson = False,
    project: Base = Path(),
) -> None:
    """Merge two cards of one paper."""
    from quaere.authoring import renaming

    base = _find(project)
    _done(base, lambda library: renaming.merge(library, kept, gone, text_of(base)), dry_run, as_json)


def remove(
    paper: Annotated[str, typer.Argument(help="The paper.", autocompletion=completion.papers)],
    dry_run: DryRun = False,
    as_json: AsJson = False,
    project: Base = Path(),
) -> None:
    """Remove a card that nothing else names.

    Its module, test and results go with it.
    """
    from quaere.authoring import renaming

    base = _find(project)
    _done(base, lambda library: renaming.remove(library, paper, text_of(base)), dry_run, as_json)


def migrate(
    dry_run: DryRun = False,
    as_json: AsJson = False,
    project: Base = Path(),
) -> None:
    """Lift all cards to today's version of their form.

    Look at the changes first, with --dry-run.
    """
    from quaere.authoring import migrating

    _done(_find(project), migrating.migrate, dry_run, as_json)


def import_notes(
    notes: Annotated[list[Path], typer.Argument(help="Files and folders of notes in Markdown.", exists=True)],
    asked: Annotated[
        datetime.datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="When questions were asked, where neither note nor git says."),
    ] = None,
    lines: Annotated[bool, typer.Option("--lines", help="List what has become of each line.")] = False,
    lookup: Annotated[
        bool, typer.Option("--lookup", help="Complete the entries from arXiv, Crossref and DataCite.")
    ] = False,
    form: Annotated[
        str | None, typer.Option("--format", help="The format of the notes, which a plugin brings.", show_default=False)
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    project: Base = Path(),
) -> None:
    """Import reading notes in Markdown.

    They become cards and entries of the bibliography.
    """
    from quaere.authoring import changes
    from quaere.authoring.notes.plan import plan

    base = _find(project)
    root, texts, files = _notes(notes, form)
    day, dates = asked.date() if asked else datetime.date.today(), _dates(root)
    look_up: Callable[[Sequence[Draft]], object] = len  # nothing is looked up
    if lookup:
        # Others are not kept waiting while services are asked.
        drafts: list[Draft] = []
        plan(
            texts,
            _library(base, may_be_new=True),
            text_of(base),
            files=files,
            asked=day,
            dates=dates,
            look_up=drafts.extend,
        )
        look_up = _complete(drafts)
    with contextlib.nullcontext() if dry_run else changes.alone(base.root):
        made = plan(
            texts, _library(base, may_be_new=True), text_of(base), files=files, asked=day, dates=dates, look_up=look_up
        )
        pictures = {f"{base.settings.papers}/{target}": root / source for source, target in made.pictures}
        apply(base, replace(made.changes, copies=pictures), dry_run)
    if as_json:
        _print_json(_told(made))
        return
    _show(made, lines=lines)
    if any(one.conflicts for one in made.cards):
        raise typer.Exit(1)


def schema(
    dry_run: DryRun = False,
    as_json: AsJson = False,
    private: Annotated[bool, typer.Option("--private", help="Also propose what cards call private.")] = False,
    project: Base = Path(),
) -> None:
    """Write the JSON Schema of the cards for editors.

    It holds the slugs, tags, keys and questions of the library, which an editor proposes.
    """
    from quaere.authoring import changes, schema
    from quaere.project import Project

    base = Project.find(project, shows_private=private)
    with contextlib.nullcontext() if dry_run else changes.alone(base.root):
        library, _ = base.read()
        made = schema.write(library, text_of(base)(f"{library.settings.papers}/{schema.NAME}"))
        if not dry_run:
            changes.apply(base.root, made)
    _tell(made, dry_run, as_json)


def _complete(drafts: Sequence[Draft]) -> Callable[[Sequence[Draft]], object]:
    """Complete what notes say of papers; return what gives the same to drafts of the same notes."""
    from functools import partial

    from quaere.authoring.notes import lookup
    from quaere.terminal import Terminal

    with _progress_of("papers") as tell:
        remarks = lookup.complete(drafts, _services(), tell)
    for remark in remarks:
        Terminal(stderr=True).print(f"remark: {remark}", markup=False, soft_wrap=True)
    return partial(lookup.recall, completed=drafts)


def _services() -> Services:
    from quaere.authoring.sources.services import Services
    from quaere.terminal import Terminal

    return Services(lambda said: Terminal(stderr=True).print(said, markup=False, soft_wrap=True))


@contextlib.contextmanager
def _progress_of(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show how many of something have been asked about, on a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from quaere.terminal import Terminal

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    console = Terminal(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _notes(paths: list[Path], form: str | None) -> tuple[Path, dict[str, str], list[str]]:
    """Return the folder around notes, their texts and the other files beside them, by paths from there."""
    from quaere.authoring.importers import Format
    from quaere.authoring.sources.texts import decoded
    from quaere.content.files import of_name
    from quaere.terminal import Terminal

    def read(data: bytes, name: str) -> None:
        text, remarks = decoded(data, name)
        # The card names the file, which gives its title where the note has none.
        if problem := of_name(name):
            remarks = [f"{name}: {problem[0]}, and it was left out: {problem[1]}"]
        elif "\0" in text:
            remarks = [f"{name}: this is no text, and was left out"]
        else:
            texts[name] = text
        for remark in remarks:
            Terminal(stderr=True).print(f"remark: {remark}", markup=False, soft_wrap=True)

    importer = Format(form) if form else None
    found = [Path(os.path.realpath(path)) for path in paths]
    root = Path(os.path.commonpath([path if path.is_dir() else path.parent for path in found]))
    texts: dict[str, str] = {}
    files: list[str] = []
    for path in found:
        if path.is_dir():
            for inner in sorted(_below(path)):
                name = inner.relative_to(root).as_posix()
                if importer and inner.name.endswith(importer.suffixes):
                    texts |= importer.texts(inner.read_bytes(), name)
                elif inner.suffix.lower() in _NOTES:
                    read(inner.read_bytes(), name)
                else:
                    files.append(name)
        elif importer:
            texts |= importer.texts(path.read_bytes(), path.relative_to(root).as_posix())
        else:
            name = path.relative_to(root).as_posix()
            read(path.read_bytes(), name)
            # What lies around a single file may be anything: only what it names is looked for.
            for target in re.findall(r"""(?:\]\(<?|!\[\[|src=["'])([^<>()|"'\]\n]+)""", texts.get(name, "")):
                beside = Path(os.path.normpath(path.parent / unquote(target.split(" ")[0])))
                if root in beside.parents and beside.is_file():
                    files.append(beside.relative_to(root).as_posix())
    return root, texts, files


def _below(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith(".") or path.is_symlink():
            continue
        if path.is_dir():
            yield from _below(path)
        elif path.is_file():
            yield path


def _dates(root: Path) -> dict[str, datetime.date]:
    """Return when git first saw each file below a folder; nothing without git."""
    command = ["git", "-C", str(root), "log", "--diff-filter=A", "--name-only", "--relative", "--format=%x00%as"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    dates: dict[str, datetime.date] = {}
    for commit in told.split("\0")[1:]:  # the newest first
        day, *names = commit.strip().split("\n")
        dates |= {name: datetime.date.fromisoformat(day) for name in names if name}
    return dates


def _told(made: Plan) -> dict[str, Any]:
    return {
        "cards": [
            {
                "slug": one.slug,
                "status": one.status,
                "file": one.draft.file,
                "line": one.draft.line,
                "title": one.draft.title,
                "questions": len(one.draft.questions),
                "quotes": len(one.draft.quotes),
                "missing": one.draft.missing,
                "conflicts": [conflict.field for conflict in one.conflicts],
            }
            for one in made.cards
        ],
        "lines": [{"file": one.file, "line": one.line, "to": one.to, "why": one.why} for one in made.fates],
        "changes": sorted(made.changes.files),
    }


def _show(made: Plan, *, lines: bool) -> None:
    """Show a plan as a table, and what has become of the lines."""
    from collections import Counter

    from rich.table import Table

    from quaere.terminal import Terminal

    table = Table(box=None, pad_edge=False)
    for column in ("card", "", "questions", "lacks", "from"):
        table.add_column(column)
    for one in made.cards:
        told = ", ".join([one.status, *map(_conflict, one.conflicts)])
        place = f"{one.draft.file}:{one.draft.line}"
        table.add_row(one.slug, told, str(len(one.draft.questions)), ", ".join(one.draft.missing), place)
    console = Terminal()
    console.print(table)
    if lines:
        for fate in made.fates:
            console.print(f"{fate.file}:{fate.line}: {fate.to or f'left out: {fate.why}'}", markup=False)
    counts = Counter(fate.to.split(".")[0] if fate.to else f"left out, {fate.why}" for fate in made.fates)
    console.print("\n".join(f"{count:6} lines: {to}" for to, count in counts.most_common()), markup=False)
    asked, quoted = (sum(len(getattr(one.draft, name)) for one in made.cards) for name in ("questions", "quotes"))
    said = f"{len(made.cards)} papers, {asked} questions, {quoted} quotes, {len(made.fates)} lines"
    console.print(f"{said}, {len(made.pictures)} pictures")


def _conflict(conflict: Conflict) -> str:
    if conflict.is_gone:
        return f"{conflict.field} is gone from the notes, and was changed on the card"
    return f"{conflict.field} was changed on both sides"


def _find(folder: Path) -> Project:
    from quaere.project import Project

    # They change files as they are written, with all that is private in them.
    return Project.find(folder, shows_private=True)


def _library(base: Project, *, may_be_new: bool = False, cache: Cache | None = None) -> Library:
    """Return the library, if all that could be changed can be read; of one that is new, the bibliography may lack."""
    from quaere.errors import BibError, Faults

    library, faults = base.read(cache=cache)
    if may_be_new and not (base.root / base.settings.bibliography).exists():
        faults = [one for one in faults if not isinstance(one, BibError)]
    if faults:
        raise Faults(faults)
    return library


def text_of(base: Project) -> Callable[[str], str | None]:
    """Return a function from the path of a file of the knowledge base to its text; None if there is none."""

    def text(path: str) -> str | None:
        file = base.root / posixpath.normpath(path)
        return file.read_bytes().decode() if file.is_file() else None

    return text


def _done(base: Project, make: Callable[[Library], Changes], dry_run: bool, as_json: bool) -> None:
    """Make changes of the library as it is when no other command changes it, and show them."""
    from quaere import stamp
    from quaere.authoring import changes
    from quaere.cache import Cache

    # The cards that do not change are read once.
    cache = Cache(base.root / stamp.CACHE, is_read_only=True)
    with contextlib.nullcontext() if dry_run else changes.alone(base.root):
        made = make(_library(base, cache=cache))
        apply(base, made, dry_run)
    _tell(made, dry_run, as_json)
    if made.files and not dry_run:
        _warn(base, made, cache)


def apply(base: Project, made: Changes, dry_run: bool) -> None:
    """Make changes, unless a card could not be read then: no other verb would work until it is mended by hand.

    Raises:
        MisuseError: There is such a card.
    """
    from quaere.authoring import changes
    from quaere.content.cards import faults_of
    from quaere.errors import MisuseError, Place

    for change in made.files.values():
        if posixpath.dirname(change.file) == base.settings.papers and change.after is not None:
            for fault in faults_of(change.after.encode(), change.file):
                problem = f"this can't stand on the card {change.file}: {fault.problem}"
                raise MisuseError(Place(""), problem, fault.hint)
    if not dry_run:
        changes.apply(base.root, made)


def _warn(base: Project, made: Changes, cache: Cache) -> None:
    """Tell what the checks find in files that were changed, such as a link in an answer that leads nowhere."""
    from quaere.errors import Faults
    from quaere.terminal import Terminal

    if faults := [one for one in base.check(cache=cache)[1] if one.place.file in made.files]:
        Terminal(stderr=True).print(f"to mend\n{Faults(faults)}", markup=False, soft_wrap=True)


def _tell(made: Changes, dry_run: bool, as_json: bool) -> None:
    from quaere.terminal import Terminal

    if as_json:
        _print_json({"said": made.said, "files": sorted({*made.files, *made.removed}), "diff": made.diff})
    else:
        Terminal().print(made.diff if dry_run else made.said, markup=False, soft_wrap=True, end="" if dry_run else "\n")


def _print_json(value: Mapping[str, Any]) -> None:
    from quaere.errors import visible

    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(visible(json.dumps(value, indent=2, ensure_ascii=not is_utf8), json.dumps))
